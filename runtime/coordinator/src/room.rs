//! The memory that all partitions share: how much their runs take together, and how much they may;
//! and who takes a snapshot, which takes as much again.
//!
//! What they take is counted, not measured: it falls as soon as runs end, whatever the allocator
//! keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use skep_protocol::limits::MAX_RUN_DEPTH;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room that all partitions share.
#[derive(Debug)]
pub(crate) struct Room {
    /// Where it is full for runs that nobody waits for, in bytes.
    most: usize,
    taken: AtomicUsize,
    /// Whose turn it is to take a snapshot: each takes as much as its partition does.
    snapshot: Arc<Semaphore>,
}

impl Room {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let (taken, snapshot) = (AtomicUsize::new(0), Arc::new(Semaphore::new(1)));
        Arc::new(Self { most, taken, snapshot })
    }

    /// Waits for the right to take a snapshot; whoever asked first has it first.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn snapshot(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.snapshot).acquire_owned().await.expect("nobody closes it")
    }

    /// Returns whether there is room for another run below so many others. With each level there is more
    /// of it, up to twice as much: the deepest ones always find room, so that those that wait for
    /// them end and make room.
    pub(crate) fn is_there(&self, levels: u32) -> bool {
        let levels = levels.min(MAX_RUN_DEPTH) as usize;
        let more = self.most / MAX_RUN_DEPTH as usize * levels;
        self.taken.load(Ordering::Relaxed) < self.most.saturating_add(more)
    }
}

/// What one partition takes of it, for as long as it is served.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<Room>,
    taken: usize,
}

impl Share {
    pub(crate) const fn new(room: Arc<Room>) -> Self {
        Self { room, taken: 0 }
    }

    /// Says how much the partition takes.
    pub(crate) fn takes(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.taken, bytes);
        // It wraps around, and the sum comes out right.
        self.room.taken.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    /// See [`Room::is_there`].
    pub(crate) fn has_room(&self, levels: u32) -> bool {
        self.room.is_there(levels)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.takes(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_share_the_room_and_leave_it() {
        let room = Room::new(160);
        let (mut one, mut other) = (Share::new(Arc::clone(&room)), Share::new(Arc::clone(&room)));
        assert!(one.has_room(0));
        one.takes(100);
        other.takes(60);
        assert!(!one.has_room(0) && one.has_room(1));
        one.takes(111);
        assert!(!one.has_room(1) && one.has_room(MAX_RUN_DEPTH));
        drop(other);
        assert!(one.has_room(0));
        one.takes(400);
        assert!(!one.has_room(u32::MAX));
        one.takes(3);
        assert_eq!(room.taken.load(Ordering::Relaxed), 3);
    }
}
