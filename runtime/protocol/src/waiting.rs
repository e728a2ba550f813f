//! Why a run, or a step of it, does not go on.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, RunId, StepPath};
use crate::time::Timestamp;

/// Why a step is waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingView {
    /// The step.
    pub step: StepPath,
    /// A sentence for people, such as "no live agent offers researcher".
    pub reason: String,
    /// The name of the signal that it waits for, if it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The step that it waits for, if it waits for one; of several the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<StepPath>,
    /// The others, if it waits for several; a few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub and_for: Vec<StepPath>,
    /// What holds it up, where somebody can do something about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<WaitingCause>,
    /// So many items that come after it in its `for_each` wait for the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub alike: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl WaitingView {
    /// Creates the view of a step that waits for neither a signal nor another step.
    pub const fn new(step: StepPath, reason: String) -> Self {
        let and_for = Vec::new();
        Self { step, reason, signal: None, waits_for: None, and_for, cause: None, alike: 0 }
    }

    /// Says what holds the step up.
    #[must_use]
    pub fn because(self, cause: WaitingCause) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

/// What holds a step up until somebody does something about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum WaitingCause {
    /// The run is paused.
    Paused,
    /// It is a compensation that failed for good.
    Stuck,
    /// The run of its sub-workflow is not over.
    Run {
        /// That run.
        run: RunId,
    },
    /// No live agent offers what it needs.
    NoAgent {
        /// The capability.
        capability: String,
    },
    /// A circuit breaker is not closed.
    Breaker {
        /// Its name.
        name: String,
    },
    /// All agents that could perform it are in quarantine.
    Quarantine {
        /// One of them.
        agent: AgentId,
    },
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Who paused a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedView {
    /// Who; unknown if that was long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Since when.
    pub since: Timestamp,
}
