//! The memory that all partitions share: how much their runs take together, and how much they may;
//! and who takes a snapshot, which takes as much again.
//!
//! What they take is counted, not measured: it falls as soon as runs end, whatever the allocator
//! keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What large values may take that are being looked up, in KiB.
const VALUES_KIB: usize = 256 * 1024;

/// The room that all partitions share.
#[derive(Debug)]
pub(crate) struct Room {
    /// Where it is full for runs that nobody waits for, in bytes.
    most: usize,
    taken: AtomicUsize,
    /// Whose turn it is to take a snapshot: each takes as much as its partition does.
    snapshot: Arc<Semaphore>,
    /// For large values on their way to the engine, in KiB.
    values: Arc<Semaphore>,
}

impl Room {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let (taken, snapshot) = (AtomicUsize::new(0), Arc::new(Semaphore::new(1)));
        Arc::new(Self { most, taken, snapshot, values: Arc::new(Semaphore::new(VALUES_KIB)) })
    }

    /// Waits for the right to take a snapshot; whoever asked first has it first.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn snapshot(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.snapshot).acquire_owned().await.expect("nobody closes it")
    }

    /// Waits for room for a large value of so many bytes; one that is larger than all of it waits
    /// until it is alone.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn value(&self, size: u64) -> OwnedSemaphorePermit {
        let kib = usize::try_from(size.div_ceil(1024)).unwrap_or(usize::MAX).min(VALUES_KIB);
        let kib = u32::try_from(kib).expect("it has an upper bound");
        Arc::clone(&self.values).acquire_many_owned(kib).await.expect("nobody closes it")
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

    /// Returns whether there is room for another run that nobody waits for.
    pub(crate) fn has_room(&self) -> bool {
        self.room.taken.load(Ordering::Relaxed) < self.room.most
    }

    /// Returns whether there is room for what can wait for longest: twice as much.
    pub(crate) fn has_spare_room(&self) -> bool {
        self.room.taken.load(Ordering::Relaxed) / 2 < self.room.most
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.takes(0);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn partitions_share_the_room_and_leave_it() {
        let room = Room::new(160);
        let (mut one, mut other) = (Share::new(Arc::clone(&room)), Share::new(Arc::clone(&room)));
        assert!(one.has_room());
        one.takes(100);
        other.takes(60);
        assert!(!one.has_room() && one.has_spare_room());
        one.takes(260);
        assert!(!one.has_spare_room() && !other.has_spare_room());
        drop(other);
        assert!(!one.has_room() && one.has_spare_room());
        one.takes(3);
        assert!(one.has_room());
        assert_eq!(room.taken.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn values_wait_until_others_are_decided_about() {
        let room = Room::new(1);
        let some = room.value(100 * 1024 * 1024).await;
        let huge = room.value(u64::MAX);
        tokio::pin!(huge);
        assert!((&mut huge).now_or_never().is_none());
        drop(some);
        let huge = huge.await;
        assert!(room.value(1).now_or_never().is_none());
        drop(huge);
        assert!(room.value(1).now_or_never().is_some());
    }
}
