//! Maps and lists in brackets.

use super::{Reader, within_depth};
use crate::parse::{Data, Key, Node};

impl Reader<'_> {
    /// Reads a map or a list in brackets. Its lines start in a column, or further to the right.
    pub(super) fn flow(&mut self, least: usize, depth: usize) -> Option<Node> {
        within_depth(depth)?;
        let span = self.span(self.at, self.at + 1);
        let data = match self.byte() {
            b'[' => Data::List(self.flow_list(least, depth)?),
            _ => Data::Map(self.flow_map(least, depth)?),
        };
        Some(Node { span, data })
    }

    fn flow_list(&mut self, least: usize, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        while self.goes_on(b']', items.is_empty(), least)? {
            items.push(self.flow_value(least, depth)?);
        }
        Some(items)
    }

    fn flow_map(&mut self, least: usize, depth: usize) -> Option<Vec<(Key, Node)>> {
        let mut entries = Vec::new();
        while self.goes_on(b'}', entries.is_empty(), least)? {
            let key = self.scalar_in_flow()?;
            // As in JSON, nothing needs to stand between a quoted key and its value.
            if self.byte() != b':' || !(key.is_quoted() || self.is_blank(1)) {
                return None;
            }
            self.at += 1;
            self.flow_gap(least)?;
            entries.push((key.key()?, self.flow_value(least, depth)?));
        }
        Some(entries)
    }

    fn flow_value(&mut self, least: usize, depth: usize) -> Option<Node> {
        match self.byte() {
            b'[' | b'{' => self.flow(least, depth + 1),
            _ => self.scalar_in_flow()?.value(self.text),
        }
    }

    /// Goes from the bracket, or from the end of what was read last, to what comes next. Tells
    /// whether that is anything but the closing bracket, behind which it then goes.
    fn goes_on(&mut self, close: u8, is_first: bool, least: usize) -> Option<bool> {
        if !is_first {
            self.flow_gap(least)?;
            if self.byte() != b',' {
                return self.closes(close).then_some(false);
            }
        }
        self.at += 1;
        self.flow_gap(least)?;
        Some(!(is_first && self.closes(close)))
    }

    fn closes(&mut self, close: u8) -> bool {
        let closes = self.byte() == close;
        self.at += usize::from(closes);
        closes
    }

    fn flow_gap(&mut self, least: usize) -> Option<()> {
        (!self.gap()? || self.column() >= least).then_some(())
    }
}
