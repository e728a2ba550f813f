//! The droppable cache of a journal: the whole state as versioned JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use skep_protocol::{Hash, PartitionId, RunId, StepPath, StoredText, WorkflowAdded, encode};

use super::Partition;
use super::late::Attempts;
use super::memory::{Ended, Notice};
use crate::error::RestoreError;
use crate::run::{Run, RunState};

/// The version that this program writes.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    partition: PartitionId,
    epoch: u64,
    workflows: Vec<(Hash, StoredText)>,
    runs: Vec<&'a RunState>,
    notices: &'a BTreeMap<RunId, Notice>,
    finished: Vec<(RunId, Ended)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    done_over: Vec<(RunId, RunId)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    late: Vec<(RunId, &'a StepPath, &'a Attempts)>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct Read {
    partition: PartitionId,
    epoch: u64,
    workflows: Vec<(Hash, StoredText)>,
    runs: Vec<RunState>,
    notices: BTreeMap<RunId, Notice>,
    finished: Vec<(RunId, Ended)>,
    #[serde(default)]
    done_over: Vec<(RunId, RunId)>,
    #[serde(default)]
    late: Vec<(RunId, StepPath, Attempts)>,
}

pub(super) fn take(partition: &Partition) -> Bytes {
    let stored = |(digest, text): (Hash, &str)| (digest, StoredText::new(text.to_owned()));
    encode(&Written {
        v: VERSION,
        partition: partition.id,
        epoch: partition.epoch,
        workflows: partition.workflows.texts().map(stored).collect(),
        runs: partition.runs.values().map(|run| &run.state).collect(),
        notices: &partition.notices,
        finished: partition.finished.all().collect(),
        done_over: partition.done_over.all().collect(),
        late: partition.late.all().collect(),
    })
}

pub(super) fn restore(id: PartitionId, bytes: &[u8]) -> Result<Partition, RestoreError> {
    let version: Version = serde_json::from_slice(bytes).map_err(RestoreError::Undecodable)?;
    if version.v > VERSION {
        return Err(RestoreError::Version { found: version.v, known: VERSION });
    }
    let read: Read = serde_json::from_slice(bytes).map_err(RestoreError::Undecodable)?;
    if read.partition != id {
        return Err(RestoreError::Foreign);
    }
    let mut partition = Partition::new(id);
    partition.epoch = read.epoch;
    let mut digests = Vec::new();
    for (digest, source) in read.workflows {
        let added = WorkflowAdded { digest, source };
        if partition.workflows.read(&added).map_err(RestoreError::Workflow)? {
            digests.push(digest);
        }
    }
    for state in read.runs {
        let plan = partition.workflows.begin(state.started.digest);
        let plan = plan.ok_or(RestoreError::Inconsistent("a run has no definition"))?;
        let mut run = Run::new(id, plan, state);
        run.derive(&mut partition.index).map_err(RestoreError::Inconsistent)?;
        partition.runs.insert(run.id(), Box::new(run));
    }
    // Which definitions are out of use is known only by now.
    for digest in digests {
        partition.workflows.settle(digest);
    }
    partition.notices = read.notices;
    for (run, ended) in read.finished {
        partition.finished.push(run, ended);
    }
    for (of, by) in read.done_over {
        partition.done_over.note(of, by);
    }
    for (run, step, attempts) in read.late {
        partition.late.push(run, step, attempts);
    }
    partition.look_at_everything();
    Ok(partition)
}
