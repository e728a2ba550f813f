//! What the journals say, and when: who owns what, which steps finish, how long nothing does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use skep_broker::{Bucket, Journal as _, JournalReader, Registry as _};
use skep_nats::Nats;
use skep_protocol::{
    Batch, Event, Member, MemberPhase, PartitionCount, PartitionId, Record, RunId, Seq, StepPath,
    decode,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{LOOK_EVERY, now};
use crate::error::Error;

/// Follows all journals for as long as it lives.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    /// Runs that ended, by partition.
    ended: BTreeMap<PartitionId, Arc<AtomicU64>>,
    changed: watch::Sender<()>,
    _followers: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    partitions: BTreeMap<PartitionId, Journal>,
    steps: usize,
    lost: usize,
    /// Steps whose attempt was lost with its agent, until another attempt completes.
    missing: BTreeSet<(RunId, StepPath)>,
    /// When the last of them was begun elsewhere.
    rescued: Option<Duration>,
}

#[derive(Default)]
struct Journal {
    owner: String,
    /// When a step finished last.
    last: Option<Duration>,
    /// When one had, at the last change of the owner; until the next one does.
    standing: Option<Duration>,
    /// For how long nothing finished over the first change of the owner since the fault.
    gap: Option<Duration>,
}

impl Watch {
    pub(super) async fn start(nats: &Nats) -> Result<Self, Error> {
        let (seen, changed) = (Arc::new(Mutex::new(Seen::default())), watch::Sender::new(()));
        let mut ended = BTreeMap::new();
        let mut followers = JoinSet::new();
        for partition in PartitionCount::DEFAULT.all() {
            let messages = nats.follow(partition, Seq::new(1)).await?;
            let of_partition: &Arc<AtomicU64> = ended.entry(partition).or_default();
            let told = (Arc::clone(&seen), Arc::clone(of_partition));
            followers.spawn(follow(partition, messages, told, changed.clone()));
        }
        Ok(Self { seen, ended, changed, _followers: followers })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }

    /// Waits for news.
    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn owned_by(&self, name: &str) -> Vec<PartitionId> {
        let seen = self.seen();
        let owned = seen.partitions.iter().filter(|(_, journal)| journal.owner == name);
        owned.map(|(partition, _)| *partition).collect()
    }

    /// Forgets earlier gaps.
    pub(super) fn begin(&self, partitions: &[PartitionId]) {
        let mut seen = self.seen();
        for partition in partitions {
            let journal = seen.partitions.entry(*partition).or_default();
            (journal.standing, journal.gap) = (None, None);
        }
    }

    /// Waits until each of the partitions has gone on under another owner.
    pub(super) async fn gaps(&self, partitions: &[PartitionId]) -> Vec<(PartitionId, Duration)> {
        let mut news = self.news();
        loop {
            let gaps: Option<Vec<_>> = {
                let seen = self.seen();
                let gap = |id: &PartitionId| Some((*id, seen.partitions.get(id)?.gap?));
                partitions.iter().map(gap).collect()
            };
            if let Some(gaps) = gaps {
                return gaps;
            }
            // The sender is in `self`.
            let _ = news.changed().await;
        }
    }

    /// Waits until nothing is missing that was lost with an agent; returns when the last of it was
    /// begun elsewhere.
    pub(super) async fn rescued(&self) -> Option<Duration> {
        let mut news = self.news();
        loop {
            {
                let mut seen = self.seen();
                if seen.missing.is_empty() {
                    return seen.rescued.take();
                }
            }
            // The sender is in `self`.
            let _ = news.changed().await;
        }
    }

    /// Returns the count of runs of a partition that ended; it goes on.
    pub(super) fn ended_runs(&self, partition: PartitionId) -> Arc<AtomicU64> {
        self.ended.get(&partition).map(Arc::clone).unwrap_or_default()
    }

    pub(super) fn steps(&self) -> usize {
        self.seen().steps
    }

    pub(super) fn lost(&self) -> usize {
        self.seen().lost
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(
    partition: PartitionId,
    mut messages: JournalReader,
    (seen, ended): (Arc<Mutex<Seen>>, Arc<AtomicU64>),
    changed: watch::Sender<()>,
) {
    while let Some(Ok(message)) = messages.next().await {
        let Ok(batch) = Batch::read(&message.bytes) else { continue };
        let at = now();
        let mut seen = locked(&seen);
        batch.records.iter().for_each(|record| seen.take_in(partition, record, at));
        drop(seen);
        let ends = batch.records.iter().filter(|record| ends_run(record));
        ended.fetch_add(ends.count() as u64, Ordering::Relaxed);
        changed.send_replace(());
    }
}

fn ends_run(record: &Record) -> bool {
    matches!(record, Record::Run(record) if record.event.ends_run())
}

impl Seen {
    fn take_in(&mut self, partition: PartitionId, record: &Record, at: Duration) {
        let journal = self.partitions.entry(partition).or_default();
        match record {
            Record::OwnerChanged(change) => {
                journal.owner = change.coordinator.to_string();
                journal.standing = journal.standing.or(journal.last);
            }
            Record::WorkflowAdded(_) => {}
            Record::Run(record) => {
                if let Event::AttemptLost { step, .. } = &record.event {
                    self.lost += 1;
                    self.missing.insert((record.run, step.clone()));
                }
                if let Event::AttemptCompleted(done) = &record.event {
                    self.steps += 1;
                    if self.missing.remove(&(record.run, done.step.clone())) {
                        let begun = at.saturating_sub(Duration::from_millis(done.duration_ms));
                        self.rescued = self.rescued.max(Some(begun));
                    }
                    if let Some(since) = journal.standing.take() {
                        journal.gap = journal.gap.or_else(|| Some(at.saturating_sub(since)));
                    }
                    journal.last = Some(at);
                }
            }
        }
    }
}

/// Waits until each of the coordinators serves something, and another one follows it closely.
pub(super) async fn until_shared(nats: &Nats, names: &[&str]) -> Result<(), Error> {
    loop {
        let mut members = Vec::new();
        for name in names {
            let entry = nats.get(Bucket::Coordinators, name).await?;
            members.extend(entry.and_then(|entry| decode::<Member>(&entry.value).ok()));
        }
        let each_owns = members.len() == names.len()
            && members.iter().all(|m| m.phase == MemberPhase::Serving && !m.owns.is_empty());
        let is_backed = |partition: PartitionId| {
            let owners = members.iter().filter(|member| member.owns.contains(&partition)).count();
            let warm = |m: &&Member| m.warm.contains(&partition) && !m.owns.contains(&partition);
            owners == 1 && members.iter().any(|member| warm(&member))
        };
        if each_owns && PartitionCount::DEFAULT.all().all(is_backed) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
