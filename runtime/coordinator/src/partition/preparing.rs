//! What is being looked at before it can be decided.

/// Definitions, starts and orders that may be looked at at the same time, and their size in bytes.
const MOST: usize = 512;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Definitions, starts and orders that are being looked at.
#[derive(Debug, Default)]
pub(crate) struct Preparing {
    count: usize,
    bytes: usize,
}

impl Preparing {
    /// Returns whether one more may be looked at, whatever its size.
    pub(crate) const fn has_room(&self) -> bool {
        self.count < MOST && self.bytes < MOST_BYTES
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn begin(&mut self, size: usize) {
        self.count += 1;
        self.bytes += size;
    }

    pub(crate) const fn done(&mut self, size: usize) {
        self.count -= 1;
        self.bytes -= size;
    }
}
