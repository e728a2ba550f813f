//! What happened to a run: the facts of its journal, in the past tense.
//!
//! An event carries everything that was decided, so that applying it needs no decision: the input
//! of an attempt is rendered, its `not_before` includes the jitter, the items of a `for_each` are
//! evaluated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::ChildOutcome;
use crate::failure::Failure;
use crate::ids::{AgentId, Hash, RunId, SignalId, StepPath};
use crate::payload::Payload;
use crate::time::Timestamp;

/// One fact about one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The run exists; its inputs were accepted.
    RunStarted(Box<RunStarted>),
    /// No step starts until the run is resumed; what is in flight goes on.
    RunPaused {
        /// Who or what asked for it.
        by: String,
    },
    /// The run goes on.
    RunResumed {
        /// Who or what asked for it.
        by: String,
    },
    /// Somebody asked for the end of the run. Nothing is dispatched from here on.
    CancelRequested {
        /// Why, for people.
        reason: String,
    },
    /// The run ended well.
    RunCompleted {
        /// The rendered `outputs` of the workflow.
        outputs: Payload,
    },
    /// The run ended badly.
    RunFailed {
        /// The failure that decided it.
        failure: Failure,
    },
    /// The run ended because it was cancelled.
    RunCancelled {},
    /// The parent of this run has recorded how it ended.
    ParentNotified {},
    /// A signal arrived; it is kept until a step asks for it.
    SignalReceived {
        /// Its name.
        name: String,
        /// Its id: a second signal with the same id is dropped.
        id: SignalId,
        /// What it carries.
        payload: Payload,
    },
    /// A step will not run.
    StepSkipped {
        /// The step.
        step: StepPath,
        /// Why.
        reason: SkipReason,
    },
    /// A `for_each` was evaluated: one inner step per item exists from here on.
    StepExpanded(StepExpanded),
    /// The inner steps of a group (or of one item of a group) exist from here on.
    GroupStarted {
        /// The group.
        step: StepPath,
    },
    /// A group starts over as a unit.
    GroupRestarted {
        /// The group.
        step: StepPath,
        /// How often it was started, this time included: 2, 3, …
        round: u32,
        /// When its steps may start.
        not_before: Timestamp,
    },
    /// A durable timer or the wait for a signal began.
    WaitStarted(WaitStarted),
    /// A sub-workflow is owed: the run `child` is to be started.
    ChildStarted(Box<ChildStarted>),
    /// An attempt is owed: its task is to be offered once `not_before` has come.
    AttemptScheduled(AttemptScheduled),
    /// An agent was seen to hold the attempt. Recorded only for attempts that last.
    AttemptTaken {
        /// The step.
        step: StepPath,
        /// The attempt.
        attempt: u32,
        /// Who holds it.
        agent: AgentId,
    },
    /// The agent gave the attempt back untouched; it is owed again, under the same number.
    AttemptReleased {
        /// The step.
        step: StepPath,
        /// The attempt.
        attempt: u32,
        /// Who had it.
        agent: AgentId,
    },
    /// The attempt left something for the next one, should there be one.
    CheckpointSaved {
        /// The step.
        step: StepPath,
        /// The attempt.
        attempt: u32,
        /// What it left.
        checkpoint: Payload,
    },
    /// The attempt, and with it its step, completed.
    AttemptCompleted(AttemptCompleted),
    /// The attempt failed. What follows (another attempt, the step's failure) is its own event.
    AttemptFailed(AttemptFailed),
    /// The attempt was lost with its agent: infrastructure failed, not the step.
    AttemptLost {
        /// The step.
        step: StepPath,
        /// The attempt.
        attempt: u32,
        /// Who held it.
        agent: Option<AgentId>,
        /// What was seen, for people.
        cause: String,
    },
    /// A report arrived that changes nothing.
    ReportIgnored(ReportIgnored),
    /// A step that is not performed by an agent completed: a group, a `for_each`, a wait, a
    /// sub-workflow.
    StepCompleted {
        /// The step.
        step: StepPath,
        /// Its output; none for a group or a `for_each`, whose output is that of its inner steps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Payload>,
        /// The signal that ended its wait; no other wait takes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<SignalId>,
    },
    /// A step that is not over at once (a group, a `for_each`, a sub-workflow) is to end: what is
    /// inside stops, and then the step does.
    StepStopping {
        /// The step.
        step: StepPath,
        /// Why.
        reason: CancelReason,
    },
    /// The step failed for good: its retries are used up.
    StepFailed {
        /// The step.
        step: StepPath,
        /// The failure that decided it.
        failure: Failure,
    },
    /// The step was stopped before its end.
    StepCancelled {
        /// The step.
        step: StepPath,
        /// Why.
        reason: CancelReason,
    },
}

/// See [`Event::RunStarted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The name of the workflow.
    pub workflow: String,
    /// Its version, if the definition names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of its definition: the run stays with it, whatever is applied later.
    pub digest: Hash,
    /// The inputs, defaults filled in.
    pub inputs: Payload,
    /// The sub-workflows, pinned: name as written → digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pinned: BTreeMap<String, Hash>,
    /// The run that started this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// How deep this run is nested: 0 without a parent.
    #[serde(default)]
    pub depth: u32,
    /// Free words to find the run by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The step that a run was started for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// Which try of the step.
    pub attempt: u32,
}

/// See [`Event::StepExpanded`].
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

/// See [`Event::WaitStarted`].
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

/// See [`Event::ChildStarted`].
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

/// See [`Event::AttemptScheduled`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptScheduled {
    /// The step.
    pub step: StepPath,
    /// The number of the attempt.
    pub attempt: u32,
    /// When its task may be offered.
    pub not_before: Timestamp,
    /// The rendered `with`; only on the first attempt, the others have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
}

/// See [`Event::AttemptCompleted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptCompleted {
    /// The step.
    pub step: StepPath,
    /// The attempt.
    pub attempt: u32,
    /// Who performed it.
    pub agent: AgentId,
    /// What came out.
    pub output: Payload,
    /// How long the handler ran, by the agent's clock.
    pub duration_ms: u64,
}

/// See [`Event::AttemptFailed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailed {
    /// The step.
    pub step: StepPath,
    /// The attempt.
    pub attempt: u32,
    /// Who performed it; nobody if it never was taken, or if a child run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Why.
    pub failure: Failure,
}

/// See [`Event::ReportIgnored`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportIgnored {
    /// The step it spoke of.
    pub step: StepPath,
    /// The attempt it spoke of.
    pub attempt: u32,
    /// Who sent it.
    pub agent: AgentId,
    /// Why it changes nothing.
    pub reason: IgnoreReason,
}

/// Why a report changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IgnoreReason {
    /// The same attempt was reported before.
    Duplicate,
    /// The attempt was given up on and another one took its place, or its step ended.
    Stale,
    /// The run has no such step or never scheduled such an attempt.
    Unknown,
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
}

impl Event {
    /// Returns whether the run is over with this event.
    pub fn ends_run(&self) -> bool {
        matches!(
            self,
            Self::RunCompleted { .. } | Self::RunFailed { .. } | Self::RunCancelled { .. }
        )
    }

    /// Returns the step that the event is about.
    pub fn step(&self) -> Option<&StepPath> {
        match self {
            Self::StepSkipped { step, .. }
            | Self::GroupStarted { step }
            | Self::GroupRestarted { step, .. }
            | Self::AttemptTaken { step, .. }
            | Self::AttemptReleased { step, .. }
            | Self::CheckpointSaved { step, .. }
            | Self::AttemptLost { step, .. }
            | Self::StepStopping { step, .. }
            | Self::StepCompleted { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepCancelled { step, .. } => Some(step),
            Self::StepExpanded(event) => Some(&event.step),
            Self::WaitStarted(event) => Some(&event.step),
            Self::ChildStarted(event) => Some(&event.step),
            Self::AttemptScheduled(event) => Some(&event.step),
            Self::AttemptCompleted(event) => Some(&event.step),
            Self::AttemptFailed(event) => Some(&event.step),
            Self::ReportIgnored(event) => Some(&event.step),
            Self::RunStarted(_)
            | Self::RunPaused { .. }
            | Self::RunResumed { .. }
            | Self::CancelRequested { .. }
            | Self::RunCompleted { .. }
            | Self::RunFailed { .. }
            | Self::RunCancelled {}
            | Self::ParentNotified {}
            | Self::SignalReceived { .. } => None,
        }
    }

    /// Returns what a parent run learns from this event, if it ends the run.
    pub fn child_outcome(&self) -> Option<ChildOutcome> {
        match self {
            Self::RunCompleted { outputs } => Some(ChildOutcome::Completed(outputs.clone())),
            Self::RunFailed { failure } => Some(ChildOutcome::Failed(failure.clone())),
            Self::RunCancelled {} => Some(ChildOutcome::Cancelled {}),
            Self::RunStarted(_)
            | Self::RunPaused { .. }
            | Self::RunResumed { .. }
            | Self::CancelRequested { .. }
            | Self::ParentNotified {}
            | Self::SignalReceived { .. }
            | Self::StepSkipped { .. }
            | Self::StepExpanded(_)
            | Self::GroupStarted { .. }
            | Self::GroupRestarted { .. }
            | Self::WaitStarted(_)
            | Self::ChildStarted(_)
            | Self::AttemptScheduled(_)
            | Self::AttemptTaken { .. }
            | Self::AttemptReleased { .. }
            | Self::CheckpointSaved { .. }
            | Self::AttemptCompleted(_)
            | Self::AttemptFailed(_)
            | Self::AttemptLost { .. }
            | Self::ReportIgnored(_)
            | Self::StepCompleted { .. }
            | Self::StepStopping { .. }
            | Self::StepFailed { .. }
            | Self::StepCancelled { .. } => None,
        }
    }
}
