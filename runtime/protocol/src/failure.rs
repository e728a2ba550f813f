//! What a task ended with when it did not complete.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_FAILURE_MESSAGE, MAX_RETRY_AFTER};
use crate::payload::Payload;

/// Why an attempt, a step or a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Who found it and in which way.
    pub kind: FailureKind,
    /// A short stable word that definitions match on (`retry.unless`), such as `card_declined`.
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// Whether trying again can help.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub retryable: bool,
    /// Whether it is this agent that does not do it, and another one may: nothing is said of what
    /// they all offer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_here: bool,
    /// The least delay before the next attempt that the failing side asked for, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Anything more, for machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Payload>,
}

/// The way in which something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The agent said so, and that nothing is left of it.
    Agent,
    /// The agent cannot tell how far it came: an answer was lost, a program was killed.
    Unclear,
    /// The agent's code panicked; the process went on.
    Panic,
    /// The attempt ran longer than `timeout`.
    Timeout,
    /// The step as a whole ran longer than `deadline`.
    Deadline,
    /// No agent was seen to take the task in time.
    QueueTimeout,
    /// The output does not match `expect`.
    Expect,
    /// An expression of the definition could not be evaluated.
    Expression,
    /// The agent holding the attempt was lost, more often than is bearable.
    Lost,
    /// No signal came in time.
    SignalTimeout,
    /// Something inside failed: a step of a group, items of a `for_each`, a sub-workflow.
    Inner,
    /// A sub-workflow failed, and made good what it had done.
    Compensated,
    /// A limit of skep was reached.
    Limit,
    /// It was cancelled.
    Cancelled,
    /// The agent is alive, and the attempt made no progress within `progress_within`.
    Stalled,
    /// The circuit breaker is open, and the step asked to fail then.
    BreakerOpen,
}

impl FailureKind {
    /// Returns whether what failed in this way is known to have left nothing behind that would have
    /// to be made good.
    pub const fn leaves_nothing(self) -> bool {
        match self {
            Self::Agent
            | Self::QueueTimeout
            | Self::Expression
            | Self::SignalTimeout
            | Self::Compensated
            | Self::BreakerOpen
            | Self::Cancelled => true,
            Self::Unclear
            | Self::Stalled
            | Self::Panic
            | Self::Timeout
            | Self::Deadline
            | Self::Expect
            | Self::Lost
            | Self::Inner
            | Self::Limit => false,
        }
    }
}

impl Failure {
    /// Creates a failure; the message is cut to
    /// [`MAX_FAILURE_MESSAGE`] bytes.
    pub fn new(kind: FailureKind, code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), cut(message.into()));
        Self {
            kind,
            code,
            message,
            retryable: true,
            only_here: false,
            retry_after_ms: None,
            details: None,
        }
    }

    /// Says that trying again cannot help.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.retryable = false;
        self
    }

    /// Returns the least delay that the failing side asked for, as far as it may.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(|ms| Duration::from_millis(ms).min(MAX_RETRY_AFTER))
    }

    /// Cuts what came from outside down to the bounds of a stored failure.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.code.truncate(self.code.floor_char_boundary(crate::limits::MAX_NAME_LEN));
        self.message = cut(self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MAX_FAILURE_MESSAGE));
    message
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}
