//! Questions to a coordinator, answered from the read model and from live state.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec::Answer;
use crate::event::{CancelReason, Parent, SkipReason};
use crate::failure::Failure;
use crate::ids::{AgentId, Hash, RunId, StepPath};
use crate::letter::{DeadLetter, LetterFilter};
use crate::payload::Payload;
use crate::record::RunRecord;
use crate::time::Timestamp;
use crate::view::{AgentView, BreakerView, ClusterAgents, ClusterBreakers};
use crate::waiting::{PausedView, WaitingView};

/// A question; it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// Which runs are there?
    Runs(RunFilter),
    /// How is this run?
    Run {
        /// The run.
        run: RunId,
        /// Steps of which it is told in any case what they wait for, down to the causes; of others
        /// it is left out where too many wait. An older coordinator makes no difference.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<StepPath>,
    },
    /// What happened to this run?
    History {
        /// The run.
        run: RunId,
        /// Only entries with a higher number; 0 for all.
        after: u64,
        /// At most so many.
        limit: u32,
        /// With nothing to tell, wait so long for something to happen, in milliseconds.
        wait_ms: u64,
    },
    /// Which dead letters are there?
    Letters(LetterFilter),
    /// Which agents are there?
    Agents {
        /// As all coordinators know them, and not only the one that answers. An older one tells of
        /// itself all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        everywhere: bool,
    },
    /// Which circuit breakers are there?
    Breakers {
        /// As all coordinators know them, and not only the one that answers. An older one tells of
        /// itself all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        everywhere: bool,
    },
    /// Which definitions are registered by name?
    Workflows {},
}

impl Query {
    /// Asks how a run is, and for none of its steps above others.
    pub const fn run(run: RunId) -> Self {
        Self::Run { run, steps: Vec::new() }
    }
}

/// Which runs a list is to hold, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFilter {
    /// Only those in one of these states; empty for all.
    #[serde(default)]
    pub status: Vec<RunStatus>,
    /// Only those of this workflow.
    #[serde(default)]
    pub workflow: Option<String>,
    /// Only those started by this run.
    #[serde(default)]
    pub parent: Option<RunId>,
    /// Only those that no other run started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub top: bool,
    /// Only those that have all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Only those that come after this one in a list: started before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RunId>,
    /// At most so many; 0 means 100.
    #[serde(default)]
    pub limit: u32,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryReply {
    /// To [`Query::Runs`].
    Runs(Vec<RunSummary>),
    /// To [`Query::Run`].
    Run(Box<RunDetail>),
    /// To [`Query::History`].
    History(Vec<HistoryEntry>),
    /// To [`Query::Letters`].
    Letters(Vec<DeadLetter>),
    /// To [`Query::Agents`]: as the coordinator knows them that answers.
    Agents(Vec<AgentView>),
    /// To [`Query::Agents`] with `everywhere`.
    ClusterAgents(ClusterAgents),
    /// To [`Query::Breakers`]: those of the coordinator that answers.
    Breakers(Vec<BreakerView>),
    /// To [`Query::Breakers`] with `everywhere`.
    ClusterBreakers(ClusterBreakers),
    /// To [`Query::Workflows`]: name, version, digest.
    Workflows(Vec<(String, Option<String>, Hash)>),
    /// There is no such run.
    NotFound {},
    /// The answer could not be found out.
    Failed {
        /// Why.
        message: String,
    },
}

impl Answer for QueryReply {
    fn unreadable(cause: String) -> Self {
        Self::Failed { message: format!("the question cannot be read: {cause}") }
    }
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// At least one step is in the hands of the swarm.
    Running,
    /// Only timers and signals are awaited.
    Waiting,
    /// Somebody paused it.
    Paused,
    /// It stops or makes good what it did.
    Unwinding,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It failed and what it did was made good.
    Compensated,
    /// A compensation failed for good.
    Stuck,
}

impl RunStatus {
    /// Returns whether the run is over.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Compensated)
    }

    /// Returns the word used in files and on terminals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Unwinding => "unwinding",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Compensated => "compensated",
            Self::Stuck => "stuck",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Its dependencies are not met yet.
    Pending,
    /// An attempt is scheduled: waiting for its time or for an agent.
    Scheduled,
    /// An agent works on it, or its inner steps do.
    Running,
    /// It waits for time or for a signal.
    Waiting,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It did not run.
    Skipped,
    /// It was stopped.
    Cancelled,
}

impl StepStatus {
    /// Returns whether the step is over.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped | Self::Cancelled)
    }

    /// Returns the word used in files, expressions and on terminals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its id.
    pub run: RunId,
    /// The name of its workflow.
    pub workflow: String,
    /// The digest of its definition.
    pub digest: Hash,
    /// Its state.
    pub status: RunStatus,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What it was started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Steps known so far, and those that are over: those of the definition's top level, all items
    /// of a `for_each` that began, the steps inside a group as they begin. A group and a `for_each`
    /// count besides what is inside.
    pub steps: u32,
    /// See `steps`.
    pub steps_ended: u32,
    /// Free words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The run that this one does over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
}

/// Everything about one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDetail {
    /// As in a list.
    pub summary: RunSummary,
    /// Its inputs.
    pub inputs: Payload,
    /// Its outputs, once it completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Payload>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Why it was to be cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<String>,
    /// Who paused it, if it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PausedView>,
    /// The runs that do this one over, in the order in which they were started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retried_by: Vec<RunId>,
    /// Its steps in the order of the definition, those to come included, what is inside a step
    /// right after it. Without the definition at hand, those that came into being, in that order.
    pub steps: Vec<StepView>,
    /// What is waiting, and for what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<WaitingView>,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Its path.
    pub step: StepPath,
    /// Its state.
    pub status: StepStatus,
    /// Its attempts, in order: each that was scheduled, and each run of a sub-workflow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkipReason>,
    /// The text of its `if`, if it was skipped because of it; the beginning of a long one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<CancelReason>,
    /// The step whose failure stopped it, or kept it from beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<StepPath>,
    /// The sub-workflow's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<RunId>,
    /// How many items its `for_each` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u32>,
    /// It did not run: it is as it was in the run that this one does over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Who said that a compensation that failed is to be taken as done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_by: Option<String>,
}

/// One attempt of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its number.
    pub attempt: u32,
    /// `scheduled`, `taken`, `completed`, `failed`, `lost` or `cancelled`.
    pub status: String,
    /// When it was scheduled.
    pub scheduled: Timestamp,
    /// Who performed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// It is the fallback's: those of the step itself were used up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// How long the handler ran; of one that failed, how long that took since it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// One fact of a run's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its number within the run: 1, 2, …
    pub number: u64,
    /// The fact.
    pub record: RunRecord,
}
