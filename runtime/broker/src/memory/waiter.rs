//! Those who wait, and those who may go on.

/// Names one who may have to wait; unique within one part of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(u64);

/// The waiters for whom something may have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ready(Vec<Waiter>);

impl Ready {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Takes the waiters out, in the order in which they were named.
    pub fn drain(&mut self) -> impl Iterator<Item = Waiter> {
        self.0.drain(..)
    }

    /// Returns whether nobody was named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, waiter: Waiter) {
        self.0.push(waiter);
    }

    pub(super) fn extend(&mut self, waiters: impl IntoIterator<Item = Waiter>) {
        self.0.extend(waiters);
    }
}

/// Mints the names of one part.
#[derive(Debug, Default)]
pub(super) struct Mint(u64);

impl Mint {
    pub(super) fn waiter(&mut self) -> Waiter {
        self.0 += 1;
        Waiter(self.0)
    }
}
