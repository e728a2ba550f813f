//! Journals: ordered, fenced, trimmed from the front.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use skep_protocol::{PartitionId, Seq, Timestamp};

use super::waiter::{Mint, Ready, Waiter};
use crate::journal::{AppendError, JournalMessage};

/// A reader was overtaken by a trim: what it would read next is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overtaken {
    /// What it would have read.
    pub expected: Seq,
    /// The first message there is.
    pub first: Seq,
}

/// The journal of each partition.
#[derive(Debug)]
pub struct Journals {
    max_message: usize,
    journals: BTreeMap<PartitionId, Messages>,
    readers: BTreeMap<Waiter, Reader>,
    mint: Mint,
}

/// Never empty once something was appended: a trim keeps the last message.
#[derive(Debug, Default)]
struct Messages {
    /// How many were trimmed.
    trimmed: u64,
    kept: VecDeque<Bytes>,
    /// When the last one was appended.
    appended: Timestamp,
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Reader {
    partition: PartitionId,
    next: Seq,
}

impl Messages {
    fn first(&self) -> Seq {
        Seq::new(self.trimmed + 1)
    }

    fn last(&self) -> Seq {
        Seq::new(self.trimmed + self.kept.len() as u64)
    }
}

impl Journals {
    /// Creates empty journals whose messages have at most `max_message` bytes.
    pub fn new(max_message: usize) -> Self {
        Self {
            max_message,
            journals: BTreeMap::new(),
            readers: BTreeMap::new(),
            mint: Mint::default(),
        }
    }

    /// Appends if the journal ends at `expected`; see [`Journal::append`](crate::Journal::append).
    ///
    /// # Errors
    /// [`AppendError::Conflict`] or [`AppendError::TooLarge`].
    pub fn append(
        &mut self,
        partition: PartitionId,
        expected: Seq,
        message: Bytes,
        ready: &mut Ready,
    ) -> Result<Seq, AppendError> {
        if message.len() > self.max_message {
            return Err(AppendError::TooLarge { size: message.len(), limit: self.max_message });
        }
        let journal = self.journals.entry(partition).or_default();
        let last = journal.last();
        if last != expected {
            return Err(AppendError::Conflict { expected, last });
        }
        journal.kept.push_back(message);
        ready.extend(journal.waiting.drain(..));
        Ok(journal.last())
    }

    /// Returns the last message.
    pub fn last(&self, partition: PartitionId) -> Option<JournalMessage> {
        let journal = self.journals.get(&partition)?;
        let bytes = journal.kept.back()?.clone();
        Some(JournalMessage { seq: journal.last(), bytes })
    }

    /// Notes when the last message was appended.
    pub fn appended(&mut self, partition: PartitionId, now: Timestamp) {
        if let Some(journal) = self.journals.get_mut(&partition) {
            journal.appended = now;
        }
    }

    /// Returns how long ago the last message was appended; zero if there is none.
    pub fn age(&self, partition: PartitionId, now: Timestamp) -> Duration {
        let journal = self.journals.get(&partition).filter(|journal| !journal.kept.is_empty());
        journal.map_or(Duration::ZERO, |journal| now.since(journal.appended))
    }

    /// Returns the position of the first message that was not trimmed.
    pub fn first(&self, partition: PartitionId) -> Seq {
        self.journals.get(&partition).map_or(Seq::ZERO.next(), Messages::first)
    }

    /// Drops the messages before `first_kept`, but never the last one.
    pub fn trim(&mut self, partition: PartitionId, first_kept: Seq) {
        let Some(journal) = self.journals.get_mut(&partition) else { return };
        let first_kept = first_kept.min(journal.last());
        while journal.first() < first_kept {
            journal.kept.pop_front();
            journal.trimmed += 1;
        }
    }

    /// Opens a reader at `from`, or at the first message there is.
    pub fn follow(&mut self, partition: PartitionId, from: Seq) -> Waiter {
        let next = from.max(self.first(partition));
        let reader = self.mint.waiter();
        self.readers.insert(reader, Reader { partition, next });
        reader
    }

    /// Reads on, up to `max` messages; with nothing to read, `reader` waits.
    ///
    /// # Errors
    /// [`Overtaken`] if what is to be read next was trimmed.
    pub fn read(&mut self, reader: Waiter, max: usize) -> Result<Vec<JournalMessage>, Overtaken> {
        let Some(Reader { partition, next }) = self.readers.get_mut(&reader) else {
            return Ok(Vec::new());
        };
        let journal = self.journals.entry(*partition).or_default();
        let first = journal.first();
        if *next < first {
            return Err(Overtaken { expected: *next, first });
        }
        let skip = usize::try_from(next.get() - first.get()).unwrap_or(usize::MAX);
        if skip >= journal.kept.len() {
            if !journal.waiting.contains(&reader) {
                journal.waiting.push(reader);
            }
            return Ok(Vec::new());
        }
        let mut messages = Vec::with_capacity(max.min(journal.kept.len() - skip));
        for bytes in journal.kept.range(skip..).take(max) {
            messages.push(JournalMessage { seq: *next, bytes: bytes.clone() });
            *next = next.next();
        }
        Ok(messages)
    }

    /// Closes a reader.
    pub fn close(&mut self, reader: Waiter) {
        let Some(Reader { partition, .. }) = self.readers.remove(&reader) else { return };
        if let Some(journal) = self.journals.get_mut(&partition) {
            journal.waiting.retain(|waiter| *waiter != reader);
        }
    }
}
