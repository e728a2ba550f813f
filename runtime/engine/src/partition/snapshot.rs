//! The droppable cache of a journal: the whole state as versioned JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use skep_protocol::{Hash, PartitionId, RunId, StepPath, StoredText, WorkflowAdded, encode};

use super::Partition;
use super::late::Attempts;
use super::memory::{Ended, Notice};
use crate::error::RestoreError;
use crate::plan::Plan;
use crate::run::standing::Index;
use crate::run::{Run, RunState};

/// The version that this program writes. In version 1, steps to which nothing had happened were
/// written like all others.
const VERSION: u32 = 2;

/// The state of a partition at a moment, to be written while the partition goes on: they share the
/// runs, of which the partition copies those that change meanwhile.
#[derive(Debug)]
pub struct Frozen(Written<Live>);

impl Frozen {
    /// Appends the state as versioned JSON to bytes that have room for it, or grow.
    pub fn write_onto(&self, bytes: &mut Vec<u8>) {
        serde_json::to_writer(bytes, &self.0).expect("a state has a JSON form");
    }

    /// Returns the hash of what [`write_onto`](Self::write_onto) appends.
    pub(super) fn digest(&self) -> Hash {
        Hash::of_json(&self.0)
    }
}

#[derive(Debug, Serialize)]
struct Written<R> {
    v: u32,
    partition: PartitionId,
    epoch: u64,
    workflows: Vec<Definition>,
    runs: Vec<R>,
    notices: BTreeMap<RunId, Notice>,
    finished: Vec<(RunId, Ended)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    done_over: Vec<(RunId, RunId)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    late: Vec<(RunId, StepPath, Attempts)>,
}

/// A live run; its state is what is written.
#[derive(Debug)]
struct Live(Arc<Run>);

impl Serialize for Live {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.state.serialize(serializer)
    }
}

/// A definition; its digest and its text are what is written.
#[derive(Debug)]
struct Definition(Hash, Arc<Plan>);

impl Serialize for Definition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = StoredText::new(self.1.workflow().source().to_owned());
        (self.0, text).serialize(serializer)
    }
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct Read<'a> {
    partition: PartitionId,
    epoch: u64,
    workflows: Vec<(Hash, StoredText)>,
    /// One after the other is read: none takes more than it has to for longer than that.
    #[serde(borrow)]
    runs: Vec<&'a RawValue>,
    notices: BTreeMap<RunId, Notice>,
    finished: Vec<(RunId, Ended)>,
    #[serde(default)]
    done_over: Vec<(RunId, RunId)>,
    #[serde(default)]
    late: Vec<(RunId, StepPath, Attempts)>,
}

/// Takes the state of a partition, in about the time that it takes to count its runs.
pub(super) fn freeze(partition: &Partition) -> Frozen {
    let runs = partition.runs.values();
    Frozen(written(partition, runs.map(|run| Live(Arc::clone(run))).collect()))
}

fn written<R>(partition: &Partition, runs: Vec<R>) -> Written<R> {
    let late = partition.late.all();
    Written {
        v: VERSION,
        partition: partition.id,
        epoch: partition.epoch,
        workflows: partition.workflows.all().map(|(at, plan)| Definition(at, plan)).collect(),
        runs,
        notices: partition.notices.clone(),
        finished: partition.finished.all().collect(),
        done_over: partition.done_over.all().collect(),
        late: late.map(|(run, step, attempts)| (run, step.clone(), attempts.clone())).collect(),
    }
}

/// Reads a state back.
pub(super) fn restore(id: PartitionId, bytes: &[u8]) -> Result<Partition, RestoreError> {
    let mut partition = read(id, bytes, |partition, run, _| {
        partition.index.weight += run.weight();
        partition.runs.insert(run.id(), Arc::new(run));
        Ok(())
    })?;
    partition.look_at_everything();
    Ok(partition)
}

/// Checks that a state is read back as it is, with one run in memory at a time.
pub(super) fn check(id: PartitionId, bytes: &[u8]) -> Result<(), RestoreError> {
    let different = RestoreError::Inconsistent("it is read back as another state");
    let mut runs = Vec::new();
    let partition = read(id, bytes, |partition, run, text| {
        partition.index = Index::default();
        runs.push(text);
        if *encode(&run.state) == *text.get().as_bytes() {
            Ok(())
        } else {
            Err(RestoreError::Inconsistent("a run is read back as another one"))
        }
    })?;
    let same = Hash::of_json(&written(&partition, runs)) == Hash::of(bytes);
    if same { Ok(()) } else { Err(different) }
}

/// Reads a state, and hands over each run with its text.
fn read<'a>(
    id: PartitionId,
    bytes: &'a [u8],
    mut take_in: impl FnMut(&mut Partition, Run, &'a RawValue) -> Result<(), RestoreError>,
) -> Result<Partition, RestoreError> {
    let version: Version = serde_json::from_slice(bytes).map_err(RestoreError::Undecodable)?;
    if version.v > VERSION {
        return Err(RestoreError::Version { found: version.v, known: VERSION });
    }
    let read: Read<'_> = serde_json::from_slice(bytes).map_err(RestoreError::Undecodable)?;
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
    for text in read.runs {
        let mut state: RunState =
            serde_json::from_str(text.get()).map_err(RestoreError::Undecodable)?;
        let plan = partition.workflows.begin(state.started.digest);
        let (plan, last) = plan.ok_or(RestoreError::Inconsistent("a run has no definition"))?;
        state.started.share(last);
        let mut run = Run::new(id, plan, state);
        run.derive(&mut partition.index).map_err(RestoreError::Inconsistent)?;
        take_in(&mut partition, run, text)?;
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
    Ok(partition)
}
