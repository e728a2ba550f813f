//! How far each journal was read.

use std::sync::Arc;

use skep_protocol::{PartitionCount, PartitionId, Seq};
use tokio::sync::{Notify, mpsc, watch};

use super::Work;

/// How far each journal was read, and how much of that is stored.
#[derive(Debug, Clone)]
pub(crate) struct Positions(Arc<[Journal]>);

#[derive(Debug)]
struct Journal {
    position: watch::Sender<Position>,
    /// Somebody waits for what was not read yet.
    wanted: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    seq: Seq,
    /// Up to here, nothing has to be read again after a crash.
    stored: Seq,
    /// Whether more may come.
    goes_on: bool,
}

impl Positions {
    pub(super) fn new(partitions: PartitionCount) -> Self {
        let start = Position { seq: Seq::ZERO, stored: Seq::ZERO, goes_on: true };
        let journal = |_| Journal { position: watch::Sender::new(start), wanted: Notify::new() };
        Self(partitions.all().map(journal).collect())
    }

    pub(crate) fn of(&self, partition: PartitionId) -> Seq {
        self.at(partition).map_or(Seq::ZERO, |position| position.borrow().seq)
    }

    pub(super) fn reached(&self, partition: PartitionId, seq: Seq) {
        if let Some(position) = self.at(partition) {
            position.send_modify(|position| position.seq = seq);
        }
    }

    /// Returns up to where a journal is not needed any more.
    pub(crate) fn stored(&self, partition: PartitionId) -> Seq {
        self.at(partition).map_or(Seq::ZERO, |position| position.borrow().stored)
    }

    pub(super) fn is_stored(&self, partition: PartitionId, seq: Seq) {
        if let Some(position) = self.at(partition) {
            // Nobody waits for this.
            position.send_if_modified(|position| {
                position.stored = seq;
                false
            });
        }
    }

    /// Keeps nothing of what was read but how far that was.
    pub(super) async fn only(&self, read: Option<mpsc::Receiver<Work>>) {
        let Some(mut read) = read else { return };
        while let Some(work) = read.recv().await {
            if let Work::Entry(entry) = work {
                let (partition, seq) = entry.reached();
                self.reached(partition, seq);
                self.is_stored(partition, seq);
            }
        }
    }

    /// Nothing more of the journal is read, or stored.
    pub(super) fn stopped(&self, partition: PartitionId) {
        if let Some(position) = self.at(partition) {
            position.send_modify(|position| position.goes_on = false);
        }
    }

    /// Waits until a message is known; not for one that never will be.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn until(&self, partition: PartitionId, seq: Seq) {
        let Some(journal) = self.journal(partition) else { return };
        let mut position = journal.position.subscribe();
        if position.borrow().seq < seq {
            journal.wanted.notify_one();
        }
        // The sender is in `self`.
        let _ = position.wait_for(|position| position.seq >= seq || !position.goes_on).await;
    }

    /// Waits until somebody waits for what was not read yet.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn wanted(&self, partition: PartitionId) {
        match self.journal(partition) {
            Some(journal) => journal.wanted.notified().await,
            None => std::future::pending().await,
        }
    }

    fn at(&self, partition: PartitionId) -> Option<&watch::Sender<Position>> {
        self.journal(partition).map(|journal| &journal.position)
    }

    fn journal(&self, partition: PartitionId) -> Option<&Journal> {
        self.0.get(usize::from(partition.get()))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn what_will_never_be_known_is_not_waited_for() {
        let positions = Positions::new(PartitionCount::DEFAULT);
        let partition = PartitionId::new(1);
        let waits = |seq| positions.until(partition, Seq::new(seq)).now_or_never().is_none();
        assert!(!waits(0));
        assert!(waits(1));
        positions.reached(partition, Seq::new(2));
        assert!(!waits(1) && !waits(2));
        assert!(waits(3));
        positions.stopped(partition);
        assert!(!waits(3));
        assert_eq!(positions.of(partition), Seq::new(2));
        assert_eq!(positions.stored(partition), Seq::ZERO);
        positions.is_stored(partition, Seq::new(1));
        assert_eq!(positions.stored(partition), Seq::new(1));
    }
}
