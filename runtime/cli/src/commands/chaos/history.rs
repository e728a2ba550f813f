//! Everything that is known of a run of chaos once it is over: what the client asked for, what the
//! agents did, what the journals say.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use skep_protocol::{AttemptId, Event, PartitionId, Record, RunId, RunRecord, Seq, Timestamp};

use super::deeds::Deed;
use super::kinds::Kind;

/// The label of all runs of chaos; its value tells one chaos from another.
pub(super) const LABEL: &str = "skep-chaos";

/// A run that the client asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) run: RunId,
    pub(super) kind: &'static Kind,
    /// Whether anybody ever answered that it is started.
    pub(super) acknowledged: bool,
    /// Whether its end was asked for.
    pub(super) cancelled: bool,
}

/// One journal, from its first message on.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    pub(super) partition: PartitionId,
    pub(super) messages: Vec<(Seq, Bytes)>,
}

/// One record, and who wrote it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) partition: PartitionId,
    pub(super) seq: Seq,
    pub(super) epoch: u64,
    pub(super) record: Record,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) asked: Vec<Asked>,
    pub(super) deeds: Vec<Deed>,
    pub(super) journals: Vec<Journal>,
    /// The records of the journals, as far as they can be read.
    pub(super) entries: Vec<Entry>,
    /// When the first fault could happen, and when all was mended.
    pub(super) broken: (Timestamp, Timestamp),
    /// The runs that a query showed as stuck.
    pub(super) seen_stuck: BTreeSet<RunId>,
    /// What clients were told that no client should be.
    pub(super) surprises: Vec<String>,
    /// The value of the label of its runs.
    pub(super) label: String,
    /// How many tasks an agent may perform at a time.
    pub(super) slots: usize,
}

impl History {
    /// Returns the events of all runs, journal by journal.
    pub(super) fn events(&self) -> impl Iterator<Item = &RunRecord> {
        self.entries.iter().filter_map(|entry| match &entry.record {
            Record::Run(record) => Some(record),
            Record::OwnerChanged(_) | Record::WorkflowAdded(_) => None,
        })
    }

    /// Returns the runs that were asked for, by id.
    pub(super) fn by_run(&self) -> BTreeMap<RunId, &Asked> {
        self.asked.iter().map(|asked| (asked.run, asked)).collect()
    }

    /// Returns the runs of this chaos: those that were asked for, and those that they started.
    pub(super) fn ours(&self) -> BTreeSet<RunId> {
        let mut ours: BTreeSet<RunId> = self.asked.iter().map(|asked| asked.run).collect();
        let mut children: BTreeMap<RunId, RunId> = BTreeMap::new();
        for record in self.events() {
            if let Event::RunStarted(started) = &record.event
                && let Some(parent) = &started.parent
            {
                children.insert(record.run, parent.run);
            }
        }
        loop {
            let before = ours.len();
            let known = children.iter().filter(|(_, parent)| ours.contains(parent));
            let known: Vec<RunId> = known.map(|(child, _)| *child).collect();
            ours.extend(known);
            if ours.len() == before {
                return ours;
            }
        }
    }

    /// Returns the attempts whose completion was applied: by whom, and when.
    pub(super) fn completed(&self) -> BTreeMap<AttemptId, (&str, Timestamp)> {
        let completed = self.events().filter_map(|record| {
            let Event::AttemptCompleted(event) = &record.event else { return None };
            let (step, attempt) = (event.step.clone(), event.attempt);
            let id = AttemptId { run: record.run, step, attempt };
            Some((id, (event.agent.as_str(), record.at)))
        });
        completed.collect()
    }

    /// Returns the last lines of the journal about a run, for people.
    pub(super) fn tail_of(&self, run: RunId, lines: usize) -> Vec<String> {
        let of_run = self.events().filter(|record| record.run == run);
        let told = of_run.map(|record| {
            format!("{} {}", record.at, serde_json::to_string(&record.event).unwrap_or_default())
        });
        let told: Vec<String> = told.collect();
        told[told.len().saturating_sub(lines)..].to_vec()
    }
}

/// Returns the step as a whole, if this is one of its items.
pub(super) fn whole(step: &str) -> &str {
    let last = step.rfind('/').map_or(0, |slash| slash + 1);
    step[last..].find('[').map_or(step, |bracket| &step[..last + bracket])
}
