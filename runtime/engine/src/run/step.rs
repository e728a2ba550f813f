//! The state of one step, and how it may change.

use serde::{Deserialize, Serialize};
use skep_protocol::{
    AgentId, CancelReason, Failure, Payload, RunId, StepStatus, Timestamp, WaitingFor,
};

use super::deed::{Before, Deed};
use super::tally::Tally;
use super::tried::FailedBefore;
use super::{NodeId, ScopeId};

/// Where a step of a run is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It has not started.
    Pending,
    /// An attempt is owed and nobody is known to hold it.
    Scheduled {
        /// Its task goes out no earlier.
        not_before: Timestamp,
        /// Since when it waits for an agent.
        queued: Timestamp,
    },
    /// An agent holds the attempt.
    Taken {
        /// Who.
        agent: AgentId,
        /// Since when.
        since: Timestamp,
    },
    /// The last attempt came to nothing; what follows is not decided yet.
    Retrying(Setback),
    /// A sub-workflow runs for it.
    Child {
        /// The run.
        child: RunId,
        /// It starts no earlier.
        not_before: Timestamp,
    },
    /// It waits for time or a signal.
    Waiting {
        /// What for.
        waiting_for: WaitingFor,
        /// The end of the wait.
        until: Option<Timestamp>,
    },
    /// Its items are under way.
    Expanded(Progress),
    /// Its inner steps are under way.
    Group {
        /// How often they were started.
        round: u32,
    },
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It did not run.
    Skipped {
        /// A failure lies behind it.
        tainted: bool,
    },
    /// It was stopped.
    Cancelled,
}

/// What came in the way of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Setback {
    /// It failed.
    Failed,
    /// It was lost with its agent.
    Lost,
}

/// How far a `for_each` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// How many items there are.
    pub(crate) total: u32,
    /// How many of them are known.
    pub(crate) known: u32,
    /// How many may be under way or over.
    pub(crate) admitted: u32,
    /// How many are over.
    pub(crate) ended: u32,
    /// How many of these did not complete.
    pub(crate) failed: u32,
}

/// The step inside its run: a step of the workflow, or one item of a `for_each`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepState {
    /// The position in the workflow.
    pub(crate) step: u32,
    /// The scope that it lives in.
    pub(crate) scope: ScopeId,
    /// For an item: the `for_each` step and the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item_of: Option<(NodeId, u32)>,
    /// For a compensation: what it makes good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compensates: Option<NodeId>,
    pub(crate) phase: Phase,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) needs: Tally,
    /// The number of the last attempt; it never falls.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) attempt: u32,
    /// How often it started over with what is around it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) round: u32,
    /// Attempts under the policy of the step since it (last) began.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) tries: u32,
    /// Its attempts are used up, and its fallback performs it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) fallback: bool,
    /// Attempts lost to infrastructure since it (last) began.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) losses: u32,
    /// How often its task was given back since it (last) began.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) releases: u32,
    /// Whose attempts failed in this run, however often it began anew since.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) failed_before: FailedBefore,
    /// When the first attempt began of those that its policy counts, or the first round of a group,
    /// as far as is known; the later for every pause since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<Timestamp>,
    /// Before then it does not begin.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) not_before: Timestamp,
    /// When it (last) began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) began: Option<Timestamp>,
    /// Why it is to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop: Option<CancelReason>,
    /// Steps of its scope that still may read its output.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) readers: u32,
    /// Its output was dropped, or never kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) released: bool,
    /// Reports recorded as ignored.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) ignored: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Payload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Box<Failure>>,
    /// Who reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reporter: Option<(AgentId, u32)>,
    /// The run in which it was first attempted, under whose key it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inner: Option<Box<Inner>>,
    /// What it did, or may have done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deed: Option<Box<Deed>>,
    /// How it completed the last time, if it started over since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Box<Before>>,
}

/// What is inside a step; kept when a group starts over, so that attempt numbers go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inner {
    /// The items of a `for_each`; those beyond `used` are left from an earlier round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) items: Vec<NodeId>,
    /// How many of the items are in use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) used: usize,
    /// The scope of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<ScopeId>,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Phase {
    /// Returns the word for what is in the open.
    pub(crate) fn status(&self) -> StepStatus {
        match self {
            Self::Pending => StepStatus::Pending,
            Self::Scheduled { .. } | Self::Retrying(_) => StepStatus::Scheduled,
            Self::Taken { .. } | Self::Child { .. } | Self::Expanded(_) | Self::Group { .. } => {
                StepStatus::Running
            }
            Self::Waiting { .. } => StepStatus::Waiting,
            Self::Completed => StepStatus::Completed,
            Self::Failed => StepStatus::Failed,
            Self::Skipped { .. } => StepStatus::Skipped,
            Self::Cancelled => StepStatus::Cancelled,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Scheduled { .. } => "scheduled",
            Self::Taken { .. } => "taken",
            Self::Retrying(_) => "retrying",
            Self::Child { .. } => "child",
            Self::Waiting { .. } => "waiting",
            Self::Expanded(_) => "expanded",
            Self::Group { .. } => "group",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn is_final(&self) -> bool {
        self.status().is_final()
    }

    /// Returns who holds the current attempt, as far as is known.
    pub(crate) fn taker(&self) -> Option<&AgentId> {
        if let Self::Taken { agent, .. } = self { Some(agent) } else { None }
    }

    /// Returns how far the items are, if they are under way.
    pub(crate) fn progress(&self) -> Option<Progress> {
        if let Self::Expanded(progress) = self { Some(*progress) } else { None }
    }

    /// Returns whether an event may lead from this phase to `to`: the table of transitions.
    ///
    /// What is over stays over; only the start-over of a group sets its inner steps back to
    /// pending, and that is no transition of theirs.
    pub(crate) fn may_become(&self, to: &Self) -> bool {
        let to = Kind::of(to);
        match Kind::of(self) {
            Kind::Pending => !matches!(to, Kind::Pending | Kind::Taken | Kind::Cancelled),
            Kind::Scheduled => matches!(
                to,
                Kind::Taken
                    | Kind::Scheduled
                    | Kind::Retrying
                    | Kind::Completed
                    | Kind::Failed
                    | Kind::Cancelled
            ),
            Kind::Taken => matches!(
                to,
                Kind::Scheduled | Kind::Retrying | Kind::Completed | Kind::Failed | Kind::Cancelled
            ),
            Kind::Retrying => {
                matches!(to, Kind::Scheduled | Kind::Child | Kind::Failed | Kind::Cancelled)
            }
            Kind::Child => {
                matches!(to, Kind::Retrying | Kind::Completed | Kind::Failed | Kind::Cancelled)
            }
            Kind::Waiting => {
                matches!(to, Kind::Completed | Kind::Failed | Kind::Skipped | Kind::Cancelled)
            }
            Kind::Expanded => {
                matches!(to, Kind::Expanded | Kind::Completed | Kind::Failed | Kind::Cancelled)
            }
            Kind::Group => {
                matches!(to, Kind::Group | Kind::Completed | Kind::Failed | Kind::Cancelled)
            }
            Kind::Completed | Kind::Failed | Kind::Skipped | Kind::Cancelled => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pending,
    Scheduled,
    Taken,
    Retrying,
    Child,
    Waiting,
    Expanded,
    Group,
    Completed,
    Failed,
    Skipped,
    Cancelled,
}

impl Kind {
    fn of(phase: &Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Scheduled { .. } => Self::Scheduled,
            Phase::Taken { .. } => Self::Taken,
            Phase::Retrying(_) => Self::Retrying,
            Phase::Child { .. } => Self::Child,
            Phase::Waiting { .. } => Self::Waiting,
            Phase::Expanded(_) => Self::Expanded,
            Phase::Group { .. } => Self::Group,
            Phase::Completed => Self::Completed,
            Phase::Failed => Self::Failed,
            Phase::Skipped { .. } => Self::Skipped,
            Phase::Cancelled => Self::Cancelled,
        }
    }
}

impl StepState {
    /// Returns a step that has not started.
    pub(crate) fn pending(step: u32, scope: ScopeId, item_of: Option<(NodeId, u32)>) -> Self {
        Self {
            step,
            scope,
            item_of,
            compensates: None,
            phase: Phase::Pending,
            needs: Tally::default(),
            attempt: 0,
            round: 0,
            tries: 0,
            fallback: false,
            losses: 0,
            releases: 0,
            failed_before: FailedBefore::default(),
            first: None,
            not_before: Timestamp::EPOCH,
            began: None,
            stop: None,
            readers: 0,
            released: false,
            ignored: 0,
            input: None,
            checkpoint: None,
            output: None,
            failure: None,
            reporter: None,
            origin: None,
            inner: None,
            deed: None,
            before: None,
        }
    }

    /// Sets the step back to its beginning; the numbers and what is inside stay.
    pub(crate) fn reset(&mut self) {
        let fresh = Self::pending(self.step, self.scope, self.item_of);
        let old = std::mem::replace(self, fresh);
        self.attempt = old.attempt;
        self.round = old.round;
        self.failed_before = old.failed_before;
        self.ignored = old.ignored;
        self.reporter = old.reporter;
        self.origin = old.origin;
        let completed = old.phase == Phase::Completed && !old.released;
        let items = old.inner.as_ref().map_or(0, |inner| inner.used);
        let before = completed.then(|| Box::new(Before { output: old.output, items }));
        self.before = before.or(old.before);
        self.inner = old.inner;
        self.deed = old.deed;
        self.compensates = old.compensates;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_stored_as_it_was() {
        let stored = r#"{"step":0,"scope":0,"phase":"pending","attempt":2,"fallback":true}"#;
        let step: StepState = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&step).unwrap(), stored);
    }
}
