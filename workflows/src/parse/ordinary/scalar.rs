//! Scalars in one line, plain or quoted.

use std::borrow::Cow;

use compact_str::CompactString;

use super::Reader;
use crate::diagnostic::Span;
use crate::parse::{Data, Key, Node, is_number, scalar};

/// Keys that are longer are for the library, which looks for their colon only so far.
const KEY_BYTES: u32 = 1000;

/// A scalar and how it is written.
pub(super) struct Scalar<'a> {
    text: Cow<'a, str>,
    span: Span,
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Quoted,
}

impl Scalar<'_> {
    pub(super) fn is_quoted(&self) -> bool {
        self.style == Style::Quoted
    }

    /// Returns the scalar as a value, unless the library may take it for one with a tag.
    pub(super) fn value(self, source: &str) -> Option<Node> {
        let data = if !self.may_be_other_than_text() {
            Data::Text(CompactString::new(&self.text))
        } else if scalar::is_tagged(source, self.span) {
            return None;
        } else {
            scalar::plain(&self.text)
        };
        Some(Node { span: self.span, data })
    }

    fn may_be_other_than_text(&self) -> bool {
        let is = |word| self.text.eq_ignore_ascii_case(word);
        let looks = match self.text.as_bytes().first() {
            Some(b'0'..=b'9' | b'+' | b'-' | b'.' | b'~') => true,
            Some(b'n' | b'N') => is("null"),
            Some(b't' | b'T') => is("true"),
            Some(b'f' | b'F') => is("false"),
            _ => false,
        };
        looks && self.style == Style::Plain
    }

    /// Returns the scalar as a key, unless it may be a number or nothing.
    pub(super) fn key(self) -> Option<Key> {
        let text = CompactString::new(&self.text);
        let ordinary = self.span.len <= KEY_BYTES
            && !is_number(&text)
            && !(text == "~" || text.eq_ignore_ascii_case("null"));
        ordinary.then_some(Key { text, span: self.span })
    }
}

impl<'a> Reader<'a> {
    /// Reads a scalar. If it is plain and a key, its colon is next.
    pub(super) fn scalar(&mut self) -> Option<Scalar<'a>> {
        match self.byte() {
            b'"' => self.double_quoted(),
            b'\'' => self.single_quoted(),
            _ => self.plain(|_| false),
        }
    }

    /// The same, within brackets.
    pub(super) fn scalar_in_flow(&mut self) -> Option<Scalar<'a>> {
        match self.byte() {
            b'"' => self.double_quoted(),
            b'\'' => self.single_quoted(),
            _ => self.plain(|byte| matches!(byte, b',' | b'[' | b']' | b'{' | b'}')),
        }
    }

    fn plain(&mut self, is_bracket: impl Fn(u8) -> bool) -> Option<Scalar<'a>> {
        if !self.starts_plain() {
            return None;
        }
        let from = self.at;
        self.at += 1;
        loop {
            match self.byte() {
                0 | b'\n' => break,
                b':' if self.is_blank(1) => break,
                // What a colon before a bracket means is not for here to say.
                b':' if is_bracket(self.byte_at(self.at + 1)) => return None,
                b'#' if self.byte_at(self.at - 1) == b' ' => break,
                byte if is_bracket(byte) => break,
                _ => self.at += 1,
            }
        }
        let text = self.text[from..self.at].trim_end_matches(' ');
        let to = from + text.len();
        let ends = match self.byte() {
            // A key and its colon stand together.
            b':' => to == self.at,
            b'[' | b'{' => false,
            _ => true,
        };
        let span = self.span(from, from + text.trim_end().len());
        ends.then_some(Scalar { text: Cow::Borrowed(text), span, style: Style::Plain })
    }

    fn starts_plain(&self) -> bool {
        let next = self.byte_at(self.at + 1);
        match self.byte() {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80.. => true,
            b'_' | b'$' | b'/' | b'+' | b'~' | b'(' | b'<' | b'=' => true,
            b'-' => next.is_ascii_alphanumeric() || next == b'.',
            b'.' => next != b'.',
            _ => false,
        }
    }

    fn single_quoted(&mut self) -> Option<Scalar<'a>> {
        let (from, mut text) = (self.at, Cow::Borrowed(""));
        loop {
            let start = self.at + 1;
            let len = self.text[start..].bytes().position(|byte| matches!(byte, b'\'' | b'\n'))?;
            self.at = start + len;
            if self.byte() == b'\n' {
                return None;
            }
            text += &self.text[start..self.at];
            self.at += 1;
            if self.byte() != b'\'' {
                let span = self.span(from, self.at);
                return Some(Scalar { text, span, style: Style::Quoted });
            }
            text += "'";
        }
    }

    fn double_quoted(&mut self) -> Option<Scalar<'a>> {
        let (from, mut text) = (self.at, Cow::Borrowed(""));
        self.at += 1;
        loop {
            let start = self.at;
            let is_end = |byte| matches!(byte, b'"' | b'\\' | b'\n');
            self.at += self.text[start..].bytes().position(is_end)?;
            text += &self.text[start..self.at];
            let byte = self.byte();
            self.at += 1;
            match byte {
                b'"' => {
                    let span = self.span(from, self.at);
                    return Some(Scalar { text, span, style: Style::Quoted });
                }
                b'\\' => text.to_mut().push(self.escaped()?),
                _ => return None,
            }
        }
    }

    /// Reads what follows a backslash: the escapes of JSON that make a character that can be seen,
    /// a line feed or a tab.
    fn escaped(&mut self) -> Option<char> {
        let byte = self.byte();
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'n' => '\n',
            b't' => '\t',
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4)?;
                self.at += 4;
                let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
                char::from_u32(code).filter(|c| !c.is_control())?
            }
            _ => return None,
        })
    }
}
