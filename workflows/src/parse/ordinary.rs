//! The YAML that ordinary definitions are written in: maps and lists, nested by indentation or in
//! brackets, and scalars that stand in one line or below `|` and `>`.
//!
//! It becomes a tree at once, without tokens and events in between. Whatever else a text holds
//! (anchors, aliases, tags, directives, documents, tabs, values that are left out, other scalars
//! over several lines, and all that is wrong) makes the reader give up; the library then reads the
//! text from its start. What YAML means, and what is said of that which is none, is its word
//! alone: the tests hold each tree from here against the one from there.

mod flow;
mod lines;
mod scalar;
#[cfg(test)]
mod tests;

use super::{Data, Key, Node};
use crate::diagnostic::Span;
use crate::limits;

/// Reads a text, unless it holds more than ordinary YAML.
pub(super) fn read(text: &str) -> Option<Node> {
    if !is_ordinary(text) {
        return None;
    }
    let mut reader = Reader { text, at: 0, line: 0 };
    reader.gap()?;
    let root = reader.block(0, 1)?;
    reader.is_end().then_some(root)
}

/// Tells whether every character is a line feed or one that can be seen, with nothing that YAML
/// looks upon in a way of its own.
fn is_ordinary(text: &str) -> bool {
    // Without an early end, so that many bytes are looked at in one step.
    let odd = text
        .bytes()
        .fold(false, |odd, byte| odd | (byte < b' ' && byte != b'\n') | (byte == b'\x7f'));
    let beyond =
        |c: char| c.is_control() && c != '\n' || matches!(c, '\u{feff}' | '\u{fffe}'..='\u{ffff}');
    !odd && (text.is_ascii() || !text.contains(beyond))
}

/// What is left of a text. A method that gives `None` has met what is not ordinary.
struct Reader<'a> {
    text: &'a str,
    /// Where the next byte is.
    at: usize,
    /// Where its line starts.
    line: usize,
}

impl Reader<'_> {
    /// Reads a value that is the first of its line, or stands after `- `, and goes on to what
    /// follows. Its parent wants it in a column, or further to the right.
    fn block(&mut self, least: usize, depth: usize) -> Option<Node> {
        let column = self.column();
        if column < least {
            return None;
        }
        match self.byte() {
            b'-' if self.is_blank(1) => self.list(column, depth),
            b'[' | b'{' | b'|' | b'>' => self.value(least, depth),
            _ => {
                let scalar = self.scalar()?;
                if self.byte() == b':' {
                    return self.map(scalar.key()?, column, depth);
                }
                let value = scalar.value(self.text)?;
                self.end_line()?;
                Some(value)
            }
        }
    }

    /// Reads a value that stands after its key in the same line, and goes on to what follows.
    fn value(&mut self, least: usize, depth: usize) -> Option<Node> {
        let value = match self.byte() {
            b'[' | b'{' => self.flow(least, depth),
            b'|' | b'>' => self.lines(least),
            _ => self.scalar()?.value(self.text),
        }?;
        self.end_line()?;
        Some(value)
    }

    fn list(&mut self, column: usize, depth: usize) -> Option<Node> {
        let span = self.span(self.at, self.at);
        let (_, items) = self.items(column, depth)?;
        Some(Node { span, data: Data::List(items) })
    }

    /// Reads a list that stands no further to the right than the key that it belongs to: it is
    /// said to start where its first item does.
    fn list_of_key(&mut self, column: usize, depth: usize) -> Option<Node> {
        let (first, items) = self.items(column, depth)?;
        Some(Node { span: self.span(first?, first?), data: Data::List(items) })
    }

    /// Reads the items of a list, and tells where the first starts if it is in the line of its `-`.
    fn items(&mut self, column: usize, depth: usize) -> Option<(Option<usize>, Vec<Node>)> {
        within_depth(depth)?;
        let (mut first, mut items) = (None, Vec::new());
        while self.is_item(column) {
            self.at += 1;
            if !self.gap()? && items.is_empty() {
                first = Some(self.at);
            }
            items.push(self.block(column + 1, depth + 1)?);
        }
        Some((first, items))
    }

    /// Reads a map of which the first key was read.
    fn map(&mut self, first: Key, column: usize, depth: usize) -> Option<Node> {
        within_depth(depth)?;
        let span = Span { len: 0, ..first.span };
        let (mut entries, mut key) = (Vec::new(), first);
        loop {
            if self.byte() != b':' || !self.is_blank(1) {
                return None;
            }
            self.at += 1;
            let value = if !self.gap()? {
                self.value(column + 1, depth + 1)
            } else if self.is_item(column) {
                self.list_of_key(column, depth + 1)
            } else {
                self.block(column + 1, depth + 1)
            };
            entries.push((key, value?));
            if self.is_end() || self.column() < column {
                return Some(Node { span, data: Data::Map(entries) });
            }
            if self.column() > column {
                return None;
            }
            key = self.scalar()?.key()?;
        }
    }

    /// Tells whether an item of a list in this column is next.
    fn is_item(&self, column: usize) -> bool {
        self.byte() == b'-' && self.is_blank(1) && self.column() == column
    }

    /// Goes on to the next line that holds anything; nothing but a remark may be left in this one.
    fn end_line(&mut self) -> Option<()> {
        let was_ended = self.column() == 0;
        (self.gap()? || was_ended || self.is_end()).then_some(())
    }

    /// Goes on to what is neither a space nor the end of a line nor a remark, and tells whether it
    /// stands in another line.
    fn gap(&mut self) -> Option<bool> {
        let before = self.line;
        loop {
            match self.byte() {
                b' ' => self.at += 1,
                b'\n' => self.next_line(),
                b'#' if self.at > self.line && self.text.as_bytes()[self.at - 1] != b' ' => {
                    return None;
                }
                b'#' => self.at = self.line_end(),
                _ => return Some(self.line > before),
            }
        }
    }

    /// Goes behind the end of the line, which is next.
    fn next_line(&mut self) {
        self.at += 1;
        self.line = self.at;
    }

    /// Returns where the line ends.
    fn line_end(&self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        self.at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
    }

    fn column(&self) -> usize {
        self.at - self.line
    }

    fn is_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Returns the next byte; at the end, one that no ordinary text holds.
    fn byte(&self) -> u8 {
        self.byte_at(self.at)
    }

    fn byte_at(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or_default()
    }

    /// Tells whether nothing stands so many bytes further.
    fn is_blank(&self, further: usize) -> bool {
        matches!(self.byte_at(self.at + further), b' ' | b'\n' | 0)
    }

    fn span(&self, from: usize, to: usize) -> Span {
        Span { offset: from as u32, len: (to - from) as u32 }
    }
}

/// Gives up where the values of a list or a map may be too deep; the library tells where.
fn within_depth(depth: usize) -> Option<()> {
    (depth < limits::DEPTH).then_some(())
}
