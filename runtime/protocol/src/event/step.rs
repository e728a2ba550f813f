//! What the events of a step carry.

use serde::{Deserialize, Serialize};

use crate::ids::{Hash, RunId, StepPath};
use crate::payload::Payload;
use crate::query::StepStatus;
use crate::time::Timestamp;

/// See [`Event::StepExpanded`](super::Event::StepExpanded).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepExpanded {
    /// The step with the `for_each`.
    pub step: StepPath,
    /// The items, in order.
    pub items: Vec<Payload>,
    /// The index of the first of them: many or large items come in several events.
    #[serde(default)]
    pub offset: u32,
    /// How many items there are over all events.
    pub total: u32,
}

/// See [`Event::StepKept`](super::Event::StepKept).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepKept {
    /// The step.
    pub step: StepPath,
    /// How it ended; pending if it runs again.
    pub status: StepStatus,
    /// The number of its last attempt: those to come go on from there.
    #[serde(default)]
    pub attempt: u32,
    /// It did something, or may have, that was not made good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deed: bool,
    /// The run under whose idempotency key it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<RunId>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// The item, if it is that of a `for_each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<Payload>,
    /// How many items it has, if it is a `for_each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u32>,
}

/// See [`Event::WaitStarted`](super::Event::WaitStarted).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitStarted {
    /// The step.
    pub step: StepPath,
    /// What ends the wait, apart from time.
    pub waiting_for: WaitingFor,
    /// When the wait ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a waiting step waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// Time only.
    Time,
    /// A signal of this name.
    Signal(String),
}

/// See [`Event::ChildStarted`](super::Event::ChildStarted).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildStarted {
    /// The step.
    pub step: StepPath,
    /// Which try of the step.
    pub attempt: u32,
    /// When the child may start: later than at once after a failed try.
    pub not_before: Timestamp,
    /// The id of the child, derived from run, step and attempt.
    pub child: RunId,
    /// The digest of its definition.
    pub digest: Hash,
    /// Its inputs.
    pub inputs: Payload,
}

/// Why a step will not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its `if` is false.
    Condition,
    /// A step that it needs did not complete.
    Upstream(StepPath),
    /// Too few of its `needs` succeeded for its `join`.
    Join,
    /// Its `wait_for` ran out of time with `on_timeout: skip`.
    SignalTimeout,
    /// The run stops.
    Stopping,
}

/// Why a step was stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The run was cancelled.
    RunCancelled,
    /// Another step failed and the run (or the group) stops.
    Stopping,
    /// The `deadline` of the step or of an enclosing group passed.
    Deadline,
    /// The `timeout` of one try of a sub-workflow passed.
    Timeout,
    /// The supervision of its group starts it again.
    Restart,
}
