//! Follows the journals while faults happen: which runs are over, which are stuck.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use skep_broker::{Journal as _, JournalReader};
use skep_nats::Nats;
use skep_protocol::{Batch, Event, PartitionCount, Record, RunId, RunRecord, Seq, StepPath};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::error::Error;

/// Follows all journals for as long as it lives.
pub(super) struct Watch {
    seen: Arc<Seen>,
    _followers: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    runs: Mutex<Runs>,
    changed: Notify,
}

#[derive(Default)]
struct Runs {
    over: BTreeSet<RunId>,
    stuck: BTreeMap<RunId, StepPath>,
}

impl Watch {
    pub(super) async fn start(nats: &Nats, partitions: PartitionCount) -> Result<Self, Error> {
        let (seen, mut followers) = (Arc::new(Seen::default()), JoinSet::new());
        for partition in partitions.all() {
            let messages = nats.follow(partition, Seq::new(1)).await?;
            followers.spawn(follow(messages, Arc::clone(&seen)));
        }
        Ok(Self { seen, _followers: followers })
    }

    /// Waits until a run is over.
    pub(super) async fn over(&self, run: RunId) {
        loop {
            // Whoever asks for news before it looks misses none.
            let news = self.seen.changed.notified();
            if self.seen.runs().over.contains(&run) {
                return;
            }
            news.await;
        }
    }

    /// Returns the runs that are stuck, and where.
    pub(super) fn stuck(&self) -> Vec<(RunId, StepPath)> {
        let runs = self.seen.runs();
        runs.stuck.iter().map(|(run, step)| (*run, step.clone())).collect()
    }
}

impl Seen {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What cannot be read here is found by the checks.
async fn follow(mut messages: JournalReader, seen: Arc<Seen>) {
    while let Some(Ok(message)) = messages.next().await {
        let Ok(batch) = Batch::read(&message.bytes) else { continue };
        for record in batch.records {
            if let Record::Run(record) = record {
                seen.runs().take_in(record);
            }
        }
        seen.changed.notify_waiters();
    }
}

impl Runs {
    fn take_in(&mut self, record: RunRecord) {
        let RunRecord { run, event, .. } = record;
        if event.ends_run() {
            self.over.insert(run);
            self.stuck.remove(&run);
        } else if let Event::RunStuck { step, .. } = event {
            self.stuck.insert(run, step);
        } else if matches!(event, Event::CompensationSkipped { .. } | Event::RunResumed { .. }) {
            self.stuck.remove(&run);
        }
    }
}
