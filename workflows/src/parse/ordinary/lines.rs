//! Scalars whose lines stand below `|` and `>`.

use super::Reader;
use crate::parse::{Data, Node};

impl<'a> Reader<'a> {
    /// Reads `|` or `>` and the lines below, and goes on to the line after them.
    pub(super) fn lines(&mut self, least: usize) -> Option<Node> {
        let is_folded = self.byte() == b'>';
        let is_stripped = self.byte_at(self.at + 1) == b'-';
        self.at += 1 + usize::from(is_stripped);
        if self.byte() != b'\n' {
            return None;
        }
        self.next_line();
        let indent = self.spaces();
        // Below the root, no column is too far left: that is for the library.
        if indent < least || least == 0 {
            return None;
        }
        let from = self.at + indent;
        let mut text = self.line(indent, is_folded)?.to_owned();
        let mut to = from + text.len();
        loop {
            let empty = self.empty_lines(indent);
            if self.spaces() < indent {
                break;
            }
            let start = self.at + indent;
            let line = self.line(indent, is_folded)?;
            match is_folded {
                true if empty > 0 => return None,
                true => text.push(' '),
                false => text.extend(std::iter::repeat_n('\n', empty + 1)),
            }
            text += line;
            to = start + line.len();
        }
        if !is_stripped {
            text.push('\n');
        }
        let seen = self.text[from..to].trim_end();
        Some(Node { span: self.span(from, from + seen.len()), data: Data::Text(text.into()) })
    }

    /// Reads what stands in a line behind the indentation. What is only spaces, has no end, or
    /// cannot be folded as it stands, is not ordinary.
    fn line(&mut self, indent: usize, is_folded: bool) -> Option<&'a str> {
        let start = self.at + indent;
        self.at = start;
        self.at = self.line_end();
        let line = &self.text[start..self.at];
        let is_apart = line.starts_with(' ') || line.ends_with(' ');
        if self.is_end() || line.trim_matches(' ').is_empty() || is_folded && is_apart {
            return None;
        }
        self.next_line();
        Some(line)
    }

    /// Goes past lines that hold nothing beyond the indentation, and counts them.
    fn empty_lines(&mut self, indent: usize) -> usize {
        let mut count = 0;
        loop {
            let spaces = self.spaces();
            if spaces > indent || self.byte_at(self.at + spaces) != b'\n' {
                return count;
            }
            self.at += spaces;
            self.next_line();
            count += 1;
        }
    }

    fn spaces(&self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        rest.iter().take_while(|byte| **byte == b' ').count()
    }
}
