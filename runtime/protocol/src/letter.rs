//! Dead letters: work that was given up on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};
use crate::ids::{AgentId, Hash, RunId, StepPath};
use crate::time::Timestamp;

/// A step that failed for good, and with it its run: its attempts are used up, or more of them
/// cannot help. Of a group or a `for_each` that failed for what is inside, that is the dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The run.
    pub run: RunId,
    /// The name of its workflow.
    pub workflow: String,
    /// The digest of its definition.
    pub digest: Hash,
    /// The free words of the run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The step.
    pub step: StepPath,
    /// What an agent must offer to perform it; none if agents do not, or if the definition is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Who had it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// How many attempts there were in this run.
    pub attempts: u32,
    /// Why it was given up on.
    pub failure: Failure,
    /// When.
    pub at: Timestamp,
    /// The run of its sub-workflow, which knows more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<RunId>,
    /// The runs that do its run over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redriven: Vec<RunId>,
    /// Somebody took it off the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Dropped>,
}

impl DeadLetter {
    /// Returns whether nobody has dealt with it.
    pub const fn is_open(&self) -> bool {
        self.redriven.is_empty() && self.dropped.is_none()
    }
}

/// A dead letter was taken off the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Who did.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Which dead letters a list is to hold, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterFilter {
    /// Only those of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Only those of runs of this workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Only this step, by its path or its own name: also items of it, and what is inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepPath>,
    /// Only steps that need this capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Only those that this agent had last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Only failures with this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Only failures of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FailureKind>,
    /// Only those given up on at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only those given up on before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
    /// Also those that somebody has dealt with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only those that come after this one in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<(RunId, StepPath)>,
    /// At most so many; 0 means 100.
    #[serde(default)]
    pub limit: u32,
}
