//! Reports left for the next owner of a partition.

use std::collections::BTreeMap;
use std::ops::Bound;

use skep_protocol::{PartitionId, ReportBatch};

use super::blobs::Full;
use super::waiter::{Mint, Ready, Waiter};

/// Reports as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where they were left.
    pub partition: PartitionId,
    /// Their number: rises with every batch left there.
    pub number: u64,
    /// The reports.
    pub batch: ReportBatch,
}

/// What a reader comes across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Reports.
    Kept(Kept),
    /// All that had been left when the reader was opened was read.
    CaughtUp,
}

/// Reports by the durable way, kept until they are confirmed.
#[derive(Debug)]
pub struct DurableReports {
    max_kept: usize,
    shelves: BTreeMap<PartitionId, Shelf>,
    readers: BTreeMap<Waiter, Reader>,
    mint: Mint,
}

#[derive(Debug, Default)]
struct Shelf {
    left: u64,
    kept: BTreeMap<u64, ReportBatch>,
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Reader {
    partition: PartitionId,
    /// The number of the last one read.
    read: u64,
    /// The number of the last one left when it was opened, until it was told that it read that.
    end: Option<u64>,
}

impl DurableReports {
    /// Creates empty shelves; each partition keeps at most `max_kept` batches.
    pub fn new(max_kept: usize) -> Self {
        let (shelves, readers) = (BTreeMap::new(), BTreeMap::new());
        Self { max_kept, shelves, readers, mint: Mint::default() }
    }

    /// Leaves reports.
    ///
    /// # Errors
    /// [`Full`] if too many wait to be confirmed.
    pub fn leave(
        &mut self,
        partition: PartitionId,
        batch: ReportBatch,
        ready: &mut Ready,
    ) -> Result<(), Full> {
        let shelf = self.shelves.entry(partition).or_default();
        if shelf.kept.len() >= self.max_kept {
            return Err(Full);
        }
        shelf.left += 1;
        shelf.kept.insert(shelf.left, batch);
        ready.extend(shelf.waiting.drain(..));
        Ok(())
    }

    /// Opens a reader at the oldest reports that were not confirmed.
    pub fn open(&mut self, partition: PartitionId) -> Waiter {
        let reader = self.mint.waiter();
        let end = Some(self.shelves.get(&partition).map_or(0, |shelf| shelf.left));
        self.readers.insert(reader, Reader { partition, read: 0, end });
        reader
    }

    /// Reads on; with nothing there, `reader` waits.
    pub fn read(&mut self, reader: Waiter) -> Option<Read> {
        let Reader { partition, read, end } = self.readers.get_mut(&reader)?;
        let shelf = self.shelves.entry(*partition).or_default();
        let mut unread = shelf.kept.range((Bound::Excluded(*read), Bound::Unbounded));
        let next = unread.next();
        if end.is_some_and(|end| next.is_none_or(|(number, _)| *number > end)) {
            *end = None;
            return Some(Read::CaughtUp);
        }
        if let Some((number, batch)) = next {
            *read = *number;
            let kept = Kept { partition: *partition, number: *number, batch: batch.clone() };
            return Some(Read::Kept(kept));
        }
        if !shelf.waiting.contains(&reader) {
            shelf.waiting.push(reader);
        }
        None
    }

    /// Forgets reports.
    pub fn confirm(&mut self, partition: PartitionId, number: u64) {
        if let Some(shelf) = self.shelves.get_mut(&partition) {
            shelf.kept.remove(&number);
        }
    }

    /// Closes a reader.
    pub fn close(&mut self, reader: Waiter) {
        let Some(Reader { partition, .. }) = self.readers.remove(&reader) else { return };
        if let Some(shelf) = self.shelves.get_mut(&partition) {
            shelf.waiting.retain(|waiter| *waiter != reader);
        }
    }
}
