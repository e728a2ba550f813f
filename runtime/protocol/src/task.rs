//! Coordinator → agent: the work of one attempt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::Answer;
use crate::ids::{AttemptId, RunId, StepPath};
use crate::partition::PartitionId;
use crate::payload::Payload;
use crate::time::Timestamp;

/// What the fencing token rises by with each epoch: more than there are attempts of a step.
/// Numbers of 2^29 epochs are exact in any JSON reader.
const EPOCH: u64 = 1 << 24;

/// The work item that an agent receives for one attempt.
///
/// A task is a hint: it can be derived again from the journal, may come twice, and is worth nothing
/// once its attempt has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The version of the format.
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// The number of the attempt: it never falls.
    pub attempt: u32,
    /// Rises with each attempt of the step and, beyond those, of its compensation, and with each
    /// coordinator that sends one: what keeps the highest one it saw turns away a late attempt.
    pub fencing_token: u64,
    /// Whether to ask before it is begun, as about any task from the queue: it was sent before, and
    /// somebody else may have begun it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ask: bool,
    /// The run in which the step was first attempted, if this one does that one over: the step
    /// goes on under its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<RunId>,
    /// What the agent is asked to do.
    pub capability: String,
    /// The name of the workflow.
    pub workflow: String,
    /// Where reports go.
    pub partition: PartitionId,
    /// The rendered `with` of the step.
    pub input: Payload,
    /// What an earlier attempt left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Payload>,
    /// How long the handler may run, in milliseconds.
    pub timeout_ms: u64,
    /// When the whole step has to be over, by the clock of the coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// How long it was until then when the task was sent, in milliseconds: who counts from the
    /// receipt needs no clock that agrees with the coordinator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_in_ms: Option<u64>,
    /// 0 to 9; 9 goes first.
    pub priority: u8,
    /// The labels that the step wants its agent to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Task {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = 1;

    /// Returns the attempt that the task is for.
    pub fn id(&self) -> AttemptId {
        AttemptId { run: self.run, step: self.step.clone(), attempt: self.attempt }
    }

    /// Returns the task that a message names although nothing else of it can be read; none if it
    /// names none.
    pub fn named_by(message: &[u8], capability: &str) -> Option<Self> {
        let Named { run, step, attempt, partition } = serde_json::from_slice(message).ok()?;
        Some(Self {
            v: Self::VERSION,
            run,
            step,
            attempt,
            fencing_token: 0,
            ask: false,
            origin: None,
            capability: capability.to_owned(),
            workflow: String::new(),
            partition,
            input: Payload::null(),
            checkpoint: None,
            timeout_ms: 0,
            deadline: None,
            deadline_in_ms: None,
            priority: 0,
            labels: BTreeMap::new(),
        })
    }

    /// Returns a fencing token lifted above those of every earlier epoch of the partition, in which
    /// the same attempt may have been sent to somebody else.
    pub const fn fenced(token: u64, epoch: u64) -> u64 {
        let attempts = token & EPOCH.wrapping_sub(1);
        epoch.saturating_mul(EPOCH).saturating_add(attempts)
    }

    /// Takes down how long it is until the deadline; it is sent now.
    pub fn sent(&mut self, now: Timestamp) {
        let left = self.deadline.map(|deadline| deadline.since(now).as_millis());
        self.deadline_in_ms = left.map(|left| u64::try_from(left).unwrap_or(u64::MAX));
    }

    /// Returns the idempotency key of the step that this compensation makes good, if it is one.
    pub fn compensates(&self) -> Option<String> {
        self.step.compensated().map(|step| format!("{}/{step}", self.key_of()))
    }

    /// Returns the key under which a handler makes its side effects idempotent: the same for every
    /// attempt of the step, and in a run that does this one over.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}", self.key_of(), self.step)
    }

    fn key_of(&self) -> RunId {
        self.origin.unwrap_or(self.run)
    }
}

/// What a task is known by, in every format.
#[derive(Debug, Deserialize)]
struct Named {
    run: RunId,
    step: StepPath,
    attempt: u32,
    partition: PartitionId,
}

/// Tasks that share one message to one agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskBatch {
    /// The tasks; at most [`MAX_SHARED`](crate::limits::MAX_SHARED).
    pub tasks: Vec<Task>,
}

/// What an agent answers to a [`TaskBatch`]: everything not refused is held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The tasks that it does not take, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<(AttemptId, Refusal)>,
    /// Why the message could not be read; then it takes none of the tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl Answer for Delivery {
    fn unreadable(cause: String) -> Self {
        Self { refused: Vec::new(), unreadable: Some(cause) }
    }
}

impl From<Vec<(AttemptId, Refusal)>> for Delivery {
    fn from(refused: Vec<(AttemptId, Refusal)>) -> Self {
        Self { refused, unreadable: None }
    }
}

/// Why an agent does not take a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// All its slots are taken.
    Busy,
    /// It is draining.
    Draining,
    /// It does not offer the capability.
    UnknownCapability,
}
