//! Agent → coordinator: what became of an attempt.

use serde::{Deserialize, Serialize};

use crate::codec::{Answer, Versioned};
use crate::event::IgnoreReason;
use crate::failure::Failure;
use crate::ids::{AgentId, AttemptId, RunId, StepPath};
use crate::payload::Payload;

/// What an agent has to say about one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// The attempt.
    pub attempt: u32,
    /// What became of it.
    pub body: ReportBody,
}

impl Report {
    /// Returns the attempt that the report speaks of.
    pub fn id(&self) -> AttemptId {
        AttemptId { run: self.run, step: self.step.clone(), attempt: self.attempt }
    }
}

/// The kinds of report; all but `Outcome` may be followed by more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportBody {
    /// The agent works on it. The answer tells whether it should.
    Taken {},
    /// Something for the next attempt, should there be one.
    Checkpoint(Payload),
    /// The agent gives it back without an outcome, because it drains.
    Released {
        /// It worked on it: another agent may begin it only as another attempt.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        begun: bool,
    },
    /// It is over.
    Outcome(Outcome),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It completed.
    Completed {
        /// What came out.
        output: Payload,
        /// How long the handler ran.
        #[serde(default)]
        duration_ms: u64,
    },
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
        /// How long the handler ran.
        #[serde(default)]
        duration_ms: u64,
    },
}

/// Reports that share one message to the owner of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportBatch {
    /// The version of the format.
    pub v: u32,
    /// Who reports.
    pub agent: AgentId,
    /// What; at most [`MAX_SHARED`](crate::limits::MAX_SHARED).
    pub reports: Vec<Report>,
}

impl ReportBatch {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = 1;
}

impl Versioned for ReportBatch {
    const KNOWN: u32 = Self::VERSION;

    fn version(&self) -> u32 {
        self.v
    }
}

/// The answer to a [`ReportBatch`], sent when everything that follows from it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportReply {
    /// One verdict for each report, in order; none if the message could not be read.
    pub verdicts: Vec<Verdict>,
    /// Why the message could not be read. None of its reports was taken, and sending the same again
    /// is in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl Answer for ReportReply {
    fn unreadable(cause: String) -> Self {
        Self { verdicts: Vec::new(), unreadable: Some(cause) }
    }
}

impl From<Vec<Verdict>> for ReportReply {
    fn from(verdicts: Vec<Verdict>) -> Self {
        Self { verdicts, unreadable: None }
    }
}

/// What became of one report. Each of them means: confirmed, forget it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was applied.
    Applied,
    /// It changes nothing. An agent that still works on the attempt should stop.
    Ignored(IgnoreReason),
    /// It cannot be taken as it is: too large, too deep, not JSON. The attempt is failed for it.
    Rejected(String),
}
