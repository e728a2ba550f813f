//! Who waits for something to happen to which run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use skep_protocol::{Record, RunId};
use tokio::sync::watch;

use super::fold::Entry;

type Followed = BTreeMap<RunId, watch::Sender<()>>;

/// The runs that somebody waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Followers(Arc<Mutex<Followed>>);

impl Followers {
    /// Waits for what is stored of the run from here on.
    pub(super) fn follow(&self, run: RunId) -> News {
        let mut followed = self.lock();
        let changed = followed.entry(run).or_insert_with(|| watch::Sender::new(())).subscribe();
        News { run, changed, followers: self.clone() }
    }

    /// Wakes whoever waits for a run that the entries tell of.
    pub(super) fn tell(&self, entries: &[Entry]) {
        let followed = self.lock();
        if followed.is_empty() {
            return;
        }
        let mut runs = BTreeSet::new();
        for entry in entries {
            match entry {
                Entry::Message { batch, .. } => runs.extend(batch.records.iter().filter_map(run)),
                // What it tells of is not known in here.
                Entry::Gap(_) => runs.extend(followed.keys().copied()),
            }
        }
        for changed in runs.iter().filter_map(|run| followed.get(run)) {
            changed.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.0.lock().expect("no holder panics")
    }
}

const fn run(record: &Record) -> Option<RunId> {
    match record {
        Record::Run(record) => Some(record.run),
        Record::OwnerChanged(_) | Record::WorkflowAdded(_) => None,
    }
}

/// Sees what is stored of one run.
#[derive(Debug)]
pub(crate) struct News {
    run: RunId,
    changed: watch::Receiver<()>,
    followers: Followers,
}

impl News {
    /// Waits until more of the run was stored than when this was called last, or made.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn arrived(&mut self) {
        if self.changed.changed().await.is_err() {
            // The sender is there for as long as this is.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let mut followed = self.followers.lock();
        if followed.get(&self.run).is_some_and(|changed| changed.receiver_count() == 1) {
            followed.remove(&self.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use skep_protocol::{Batch, Event, Hash, PartitionId, RunRecord, Seq, Timestamp};

    use super::*;

    fn entry(run: RunId) -> Entry {
        let event = Event::RunCancelled {};
        let records = vec![Record::Run(RunRecord { run, at: Timestamp::EPOCH, event })];
        let partition = PartitionId::new(0);
        let batch = Batch { v: 1, partition, epoch: 1, previous: Hash::ZERO, records };
        Entry::Message { partition, seq: Seq::new(1), batch }
    }

    #[tokio::test]
    async fn only_the_followers_of_a_run_that_changed_are_woken() {
        let (one, other) = (RunId::from_key("w", "1"), RunId::from_key("w", "2"));
        let followers = Followers::default();
        let (mut of_one, mut again) = (followers.follow(one), followers.follow(one));
        let mut of_other = followers.follow(other);
        followers.tell(&[entry(one)]);
        assert!(of_one.arrived().now_or_never().is_some());
        assert!(of_one.arrived().now_or_never().is_none());
        assert!(again.arrived().now_or_never().is_some());
        assert!(of_other.arrived().now_or_never().is_none());
        drop((of_one, of_other));
        assert_eq!(followers.lock().keys().collect::<Vec<_>>(), [&one]);
        followers.tell(&[entry(one)]);
        assert!(again.arrived().now_or_never().is_some());
        drop(again);
        assert!(followers.lock().is_empty());
    }
}
