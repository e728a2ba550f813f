//! What the journals say, read from outside: every message, its chain checked.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use skep_broker::Journal as _;
use skep_nats::Nats;
use skep_protocol::{Batch, Event, Hash, PartitionCount, Record, RunId, RunRecord, Seq, StepPath};

/// What became of one step, by the journal.
#[derive(Debug, Default)]
pub(crate) struct StepFacts {
    /// The attempts that were scheduled.
    pub(crate) scheduled: Vec<u32>,
    /// The attempts that completed; there must never be a second one.
    pub(crate) completed: Vec<u32>,
}

/// Reads every partition to its present end.
pub(crate) async fn read_all(nats: &Nats) -> Result<Vec<RunRecord>> {
    let mut all = Vec::new();
    for partition in PartitionCount::DEFAULT.all() {
        let Some(last) = nats.last(partition).await? else { continue };
        let mut messages = nats.follow(partition, Seq::new(1)).await?;
        let mut previous = Hash::ZERO;
        let mut due = Seq::new(1);
        while due <= last.seq {
            let message = messages.next().await.context("the journal ended early")??;
            ensure!(message.seq == due, "message {due} of partition {partition} is missing");
            let batch = Batch::decode(&message.bytes, message.seq, partition, previous)?;
            previous = Hash::of(&message.bytes);
            due = due.next();
            all.extend(batch.records.into_iter().filter_map(|record| match record {
                Record::Run(record) => Some(record),
                Record::OwnerChanged(_) | Record::WorkflowAdded(_) => None,
            }));
        }
    }
    Ok(all)
}

/// Sorts the facts by run and step.
pub(crate) fn by_step(records: &[RunRecord]) -> Result<BTreeMap<(RunId, StepPath), StepFacts>> {
    let mut steps: BTreeMap<_, StepFacts> = BTreeMap::new();
    for RunRecord { run, event, .. } in records {
        let Some(step) = event.step() else { continue };
        let facts = steps.entry((*run, step.clone())).or_default();
        if let Event::AttemptScheduled(event) = event {
            let open = facts.completed.is_empty();
            ensure!(open, "{run} {step}: scheduled after it completed");
            facts.scheduled.push(event.attempt);
        } else if let Event::AttemptCompleted(event) = event {
            facts.completed.push(event.attempt);
        }
    }
    Ok(steps)
}
