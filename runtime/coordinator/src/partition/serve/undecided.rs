//! What was asked and cannot be decided before a large value was looked up.

use std::collections::BTreeMap;

use skep_engine::Input;
use skep_protocol::Hash;

use super::Origin;

/// So many inputs may wait; with more, nothing is asked any more until some are decided.
const MOST: usize = 1_024;

/// Inputs that wait for large values.
#[derive(Default)]
pub(super) struct Undecided {
    by_value: BTreeMap<Hash, Vec<(Input, Origin)>>,
    count: usize,
}

impl Undecided {
    pub(super) const fn has_room(&self) -> bool {
        self.count < MOST
    }

    pub(super) fn push(&mut self, value: Hash, input: Input, origin: Origin) {
        self.by_value.entry(value).or_default().push((input, origin));
        self.count += 1;
    }

    pub(super) fn is_awaited(&self, value: &Hash) -> bool {
        self.by_value.contains_key(value)
    }

    /// Returns what waited for a value that is there.
    pub(super) fn take(&mut self, value: &Hash) -> Vec<(Input, Origin)> {
        let inputs = self.by_value.remove(value).unwrap_or_default();
        self.count -= inputs.len();
        inputs
    }
}
