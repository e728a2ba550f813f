//! The state of one step, and how it may change.

mod stored;

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use skep_protocol::{
    AgentId, CancelReason, Failure, Payload, RunId, StepStatus, Timestamp, WaitingFor,
};

use super::began::Began;
use super::deed::{Before, Deed};
use super::tally::Tally;
use super::tried::FailedBefore;
use super::{NodeId, ScopeId};
use crate::rare::{Blank, Rare};

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
        waiting_for: Box<WaitingFor>,
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

/// The step inside its run: a step of the workflow, or one item of a `for_each`. There are many of
/// them; what most never have is behind a pointer, and read as if it were here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepState {
    /// The position in the workflow.
    pub(crate) step: u32,
    /// The scope that it lives in.
    pub(crate) scope: ScopeId,
    /// For an item: the `for_each` step and the index.
    pub(crate) item_of: Option<(NodeId, u32)>,
    pub(crate) phase: Phase,
    pub(crate) needs: Tally,
    /// The number of the last attempt; it never falls.
    pub(crate) attempt: u32,
    /// Attempts under the policy of the step since it (last) began.
    pub(crate) tries: u32,
    /// When it (last) began.
    pub(crate) began: Began,
    /// Steps of its scope that still may read its output.
    pub(crate) readers: u16,
    /// Its output was dropped, or never kept.
    pub(crate) released: bool,
    /// Reports recorded as ignored.
    pub(crate) ignored: u8,
    pub(crate) input: Option<Payload>,
    pub(crate) output: Option<Payload>,
    /// Who reported last.
    pub(crate) reporter: Option<(AgentId, u32)>,
    pub(crate) seldom: Rare<Seldom>,
}

/// What a step does not have that completes at its first attempt, of whose begin nobody told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seldom {
    /// For a compensation: what it makes good.
    pub(crate) compensates: Option<NodeId>,
    /// How often it started over with what is around it.
    pub(crate) round: u32,
    /// Its attempts are used up, and its fallback performs it.
    pub(crate) fallback: bool,
    /// Attempts lost to infrastructure since it (last) began.
    pub(crate) losses: u32,
    /// How often its task was given back since it (last) began.
    pub(crate) releases: u32,
    /// Whose attempts failed in this run, however often it began anew since.
    pub(crate) failed_before: FailedBefore,
    /// When the first attempt began of those that its policy counts, or the first round of a group,
    /// as far as is known; the later for every pause since.
    pub(crate) first: Option<Timestamp>,
    /// Before then it does not begin.
    pub(crate) not_before: Timestamp,
    /// Why it is to end.
    pub(crate) stop: Option<CancelReason>,
    pub(crate) checkpoint: Option<Payload>,
    pub(crate) failure: Option<Box<Failure>>,
    /// The run in which it was first attempted, under whose key it goes on.
    pub(crate) origin: Option<RunId>,
    pub(crate) inner: Option<Box<Inner>>,
    /// What it did, or may have done.
    pub(crate) deed: Option<Box<Deed>>,
    /// How it completed the last time, if it started over since then.
    pub(crate) before: Option<Box<Before>>,
}

impl Blank for Seldom {
    const BLANK: &'static Self = &Self {
        compensates: None,
        round: 0,
        fallback: false,
        losses: 0,
        releases: 0,
        failed_before: FailedBefore { own: false, fallback: false },
        first: None,
        not_before: Timestamp::EPOCH,
        stop: None,
        checkpoint: None,
        failure: None,
        origin: None,
        inner: None,
        deed: None,
        before: None,
    };
}

impl Deref for StepState {
    type Target = Seldom;

    fn deref(&self) -> &Seldom {
        &self.seldom
    }
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

    /// Returns the name of the signal that is waited for.
    pub(crate) fn signal(&self) -> Option<&str> {
        let Self::Waiting { waiting_for, .. } = self else { return None };
        if let WaitingFor::Signal(name) = &**waiting_for { Some(name) } else { None }
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
            phase: Phase::Pending,
            needs: Tally::default(),
            attempt: 0,
            tries: 0,
            began: Began::NOT,
            readers: 0,
            released: false,
            ignored: 0,
            input: None,
            output: None,
            reporter: None,
            seldom: Rare::default(),
        }
    }

    /// Sets the step back to its beginning; the numbers and what is inside stay.
    pub(crate) fn reset(&mut self) {
        let fresh = Self::pending(self.step, self.scope, self.item_of);
        let old = std::mem::replace(self, fresh);
        let completed = old.phase == Phase::Completed && !old.released;
        let items = old.inner.as_ref().map_or(0, |inner| inner.used);
        self.attempt = old.attempt;
        self.ignored = old.ignored;
        self.reporter = old.reporter;
        self.seldom = old.seldom;
        if let Some(seldom) = self.seldom.there() {
            seldom.reset();
        }
        if completed {
            self.seldom.before = Some(Box::new(Before { output: old.output, items }));
        }
    }

    /// Drops what the step only needs until it is over.
    pub(super) fn drop_needed(&mut self) {
        self.input = None;
        if let Some(seldom) = self.seldom.there() {
            (seldom.checkpoint, seldom.stop) = (None, None);
        }
    }
}

impl Seldom {
    fn reset(&mut self) {
        (self.fallback, self.losses, self.releases) = (false, 0, 0);
        (self.first, self.not_before) = (None, Timestamp::EPOCH);
        self.stop = None;
        self.checkpoint = None;
        self.failure = None;
    }
}
