//! What the events of an attempt carry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{AgentId, StepPath};
use crate::payload::Payload;
use crate::time::Timestamp;

/// See [`Event::AttemptScheduled`](super::Event::AttemptScheduled).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptScheduled {
    /// The step.
    pub step: StepPath,
    /// The number of the attempt.
    pub attempt: u32,
    /// When its task may be offered.
    pub not_before: Timestamp,
    /// The rendered `with`; only on the first attempt and the first one of the fallback, the others
    /// have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Payload>,
    /// The attempts of the step are used up: from this one on its fallback performs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fallback: bool,
}

/// See [`Event::AttemptCompleted`](super::Event::AttemptCompleted).
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

/// See [`Event::AttemptFailed`](super::Event::AttemptFailed).
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
    /// Nobody was seen to take it, and somebody may have begun it: what it did is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_doubt: bool,
    /// How long the handler ran, by the clock of the agent, if it was the agent that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl AttemptFailed {
    /// Returns whether it is known to have left nothing behind that would have to be made good.
    pub const fn leaves_nothing(&self) -> bool {
        self.failure.kind.leaves_nothing() && !self.in_doubt
    }

    /// Returns how long the handler ran, if its agent said so.
    pub fn took(&self) -> Option<Duration> {
        self.duration_ms.map(Duration::from_millis)
    }
}

/// See [`Event::ReportIgnored`](super::Event::ReportIgnored).
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
