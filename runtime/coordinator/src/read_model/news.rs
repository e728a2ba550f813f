//! Who waits for something to happen to which run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use skep_protocol::RunId;
use tokio::sync::watch;

use super::entry::{Entry, run_of};

type Followed = BTreeMap<RunId, watch::Sender<()>>;

/// The runs that somebody waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Followers(Arc<Mutex<Followed>>);

impl Followers {
    /// Waits for what becomes known of the run from here on.
    pub(super) fn follow(&self, run: RunId) -> News {
        let mut followed = self.lock();
        let changed = followed.entry(run).or_insert_with(|| watch::Sender::new(())).subscribe();
        News { run, changed, followers: self.clone() }
    }

    /// Returns whether nobody waits for anything.
    pub(super) fn are_none(&self) -> bool {
        self.lock().is_empty()
    }

    /// Returns the runs of which an entry tells, and for which somebody waits.
    pub(super) fn told_by(&self, entry: &Entry) -> BTreeSet<RunId> {
        let followed = self.lock();
        if followed.is_empty() {
            return BTreeSet::new();
        }
        match entry {
            Entry::Message(message) => {
                let runs = message.records.iter().filter_map(run_of);
                runs.filter(|run| followed.contains_key(run)).collect()
            }
            // What it tells of is not known in here.
            Entry::Gap(_) => followed.keys().copied().collect(),
        }
    }

    /// Wakes whoever waits for one of the runs.
    pub(super) fn tell(&self, runs: &BTreeSet<RunId>) {
        if runs.is_empty() {
            return;
        }
        let followed = self.lock();
        for changed in runs.iter().filter_map(|run| followed.get(run)) {
            changed.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.0.lock().expect("no holder panics")
    }
}

/// Sees what becomes known of one run.
#[derive(Debug)]
pub(crate) struct News {
    run: RunId,
    changed: watch::Receiver<()>,
    followers: Followers,
}

impl News {
    /// Waits until more of the run is known than when this was called last, or made.
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
    use skep_protocol::{Event, PartitionId, Record, RunRecord, Seq, Texts, Timestamp};

    use super::*;
    use crate::read_model::entry::Message;

    fn entry(run: RunId) -> Entry {
        let event = Event::RunCancelled {};
        let records = vec![Record::Run(RunRecord { run, at: Timestamp::EPOCH, event })];
        let (partition, seq) = (PartitionId::new(0), Seq::new(1));
        let texts = Texts::find("{\"records\":[]}".into()).unwrap();
        Entry::Message(Message { partition, seq, records, texts })
    }

    #[tokio::test]
    async fn only_the_followers_of_a_run_that_changed_are_woken() {
        let (one, other) = (RunId::from_key("w", "1"), RunId::from_key("w", "2"));
        let followers = Followers::default();
        let (mut of_one, mut again) = (followers.follow(one), followers.follow(one));
        let mut of_other = followers.follow(other);
        followers.tell(&followers.told_by(&entry(one)));
        assert!(of_one.arrived().now_or_never().is_some());
        assert!(of_one.arrived().now_or_never().is_none());
        assert!(again.arrived().now_or_never().is_some());
        assert!(of_other.arrived().now_or_never().is_none());
        drop((of_one, of_other));
        assert_eq!(followers.lock().keys().collect::<Vec<_>>(), [&one]);
        followers.tell(&followers.told_by(&entry(one)));
        assert!(again.arrived().now_or_never().is_some());
        drop(again);
        assert!(followers.lock().is_empty());
    }
}
