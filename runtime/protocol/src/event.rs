//! What happened to a run: the facts of its journal, in the past tense.
//!
//! An event carries everything that was decided, so that applying it needs no decision: the input
//! of an attempt is rendered, its `not_before` includes the jitter, the items of a `for_each` are
//! evaluated.

mod attempt;
mod run;
mod step;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{AgentId, SignalId, StepPath};
use crate::payload::Payload;
use crate::query::RunStatus;
use crate::time::Timestamp;

pub use attempt::{AttemptCompleted, AttemptFailed, AttemptScheduled, IgnoreReason, ReportIgnored};
pub use run::{Parent, RetryOf, RunStarted};
pub use step::{
    CancelReason, ChildStarted, SkipReason, StepExpanded, StepKept, WaitStarted, WaitingFor,
};

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
    /// The run goes on; compensations that failed for good are tried again.
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
    /// The run ended because it was cancelled; what it did was made good, as far as its definition
    /// says how.
    RunCancelled {},
    /// Nothing is in flight any more, and what was done is made good from here on.
    UnwindStarted {
        /// Why the run failed; none if it was cancelled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// The run failed, and what it did was made good.
    RunCompensated {
        /// The failure that decided it.
        failure: Failure,
    },
    /// A compensation failed for good: an operator has to have it tried again, or to skip it.
    RunStuck {
        /// The compensation.
        step: StepPath,
        /// Why it failed.
        failure: Failure,
    },
    /// A compensation that failed for good counts as done.
    CompensationSkipped {
        /// The compensation.
        step: StepPath,
        /// Who asked for it.
        by: String,
    },
    /// A step that failed for good, and its run with it, is of no interest any more. Comes after
    /// the end of the run.
    DeadLetterDropped {
        /// The step.
        step: StepPath,
        /// Who says so.
        by: String,
    },
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
    /// What the run that this one does over did: a step is as it was there, and does not run; or it
    /// runs again, and goes on counting its attempts. Comes before any step begins.
    StepKept(Box<StepKept>),
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
    /// A step of a supervised group failed: steps of the group start again. Those of them that are
    /// under way stop first.
    RestartDecided {
        /// The group.
        step: StepPath,
        /// The step that failed.
        failed: StepPath,
    },
    /// A step of a supervised group is as it was before it began; only the numbers of its attempts
    /// go on.
    StepRestarted {
        /// The step.
        step: StepPath,
        /// When it may start, if it said so when it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
    },
    /// A step of a supervised group failed once more than its supervision bears: the group stops,
    /// and then fails.
    RestartsExhausted {
        /// The group.
        step: StepPath,
        /// The step that failed.
        failed: StepPath,
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
        /// No agent can have begun the attempt that it ends.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        untouched: bool,
    },
    /// The step was stopped before its end.
    StepCancelled {
        /// The step.
        step: StepPath,
        /// Why.
        reason: CancelReason,
        /// No agent can have begun the attempt that it ends.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        untouched: bool,
    },
}

impl Event {
    /// Returns whether the run is over with this event.
    pub fn ends_run(&self) -> bool {
        self.ending().is_some()
    }

    /// Returns the step that the event is about.
    pub fn step(&self) -> Option<&StepPath> {
        match self {
            Self::StepSkipped { step, .. }
            | Self::RunStuck { step, .. }
            | Self::CompensationSkipped { step, .. }
            | Self::DeadLetterDropped { step, .. }
            | Self::GroupStarted { step }
            | Self::GroupRestarted { step, .. }
            | Self::RestartDecided { step, .. }
            | Self::StepRestarted { step, .. }
            | Self::RestartsExhausted { step, .. }
            | Self::AttemptTaken { step, .. }
            | Self::AttemptReleased { step, .. }
            | Self::CheckpointSaved { step, .. }
            | Self::AttemptLost { step, .. }
            | Self::StepStopping { step, .. }
            | Self::StepCompleted { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepCancelled { step, .. } => Some(step),
            Self::StepKept(event) => Some(&event.step),
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
            | Self::UnwindStarted { .. }
            | Self::RunCompensated { .. }
            | Self::ParentNotified {}
            | Self::SignalReceived { .. } => None,
        }
    }

    /// Returns whether a step ends with an attempt under way that no agent can have begun.
    pub const fn leaves_untouched(&self) -> bool {
        matches!(
            self,
            Self::StepFailed { untouched: true, .. } | Self::StepCancelled { untouched: true, .. }
        )
    }

    /// Returns how the run ended, if it ended with this event.
    pub const fn ending(&self) -> Option<RunStatus> {
        match self {
            Self::RunCompleted { .. } => Some(RunStatus::Completed),
            Self::RunFailed { .. } => Some(RunStatus::Failed),
            Self::RunCancelled {} => Some(RunStatus::Cancelled),
            Self::RunCompensated { .. } => Some(RunStatus::Compensated),
            Self::UnwindStarted { .. }
            | Self::RunStuck { .. }
            | Self::CompensationSkipped { .. }
            | Self::DeadLetterDropped { .. }
            | Self::RunStarted(_)
            | Self::RunPaused { .. }
            | Self::RunResumed { .. }
            | Self::CancelRequested { .. }
            | Self::ParentNotified {}
            | Self::SignalReceived { .. }
            | Self::StepKept(_)
            | Self::StepSkipped { .. }
            | Self::StepExpanded(_)
            | Self::GroupStarted { .. }
            | Self::GroupRestarted { .. }
            | Self::RestartDecided { .. }
            | Self::StepRestarted { .. }
            | Self::RestartsExhausted { .. }
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
