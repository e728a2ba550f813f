//! What a handler ends with when it cannot complete.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use skep_protocol::{FailureKind, Payload};

/// The result of a handler.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why an attempt failed: a code that definitions match on (`retry.unless`), a message for people,
/// and whether trying again can help.
///
/// Every [`std::error::Error`] becomes one through `?`: retryable, with the code `error` and the
/// messages of the whole chain of sources. For that reason it is no `Error` itself.
///
/// A failure says that the attempt left nothing behind that would have to be made good, unless it
/// is [`unclear`](Self::unclear).
///
/// ```
/// use std::time::Duration;
/// use skep_agent::Failure;
///
/// let busy = Failure::new("rate_limited", "429 from api.example.org")
///     .retry_after(Duration::from_secs(30));
/// assert!(busy.is_retryable());
/// let declined = Failure::fatal("card_declined", "the bank said no");
/// assert!(!declined.is_retryable());
/// let lost = Failure::new("no_answer", "the bank did not answer in time").unclear();
/// assert!(lost.is_unclear());
/// let missing = Failure::new("no_printer", "there is no printer at this place").only_here();
/// assert!(missing.is_only_here());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(skep_protocol::Failure);

impl Failure {
    /// Creates a failure that trying again may mend.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self(skep_protocol::Failure::new(FailureKind::Agent, code, message).bounded())
    }

    /// Creates a failure that trying again cannot mend.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self::new(code, message).not_retryable()
    }

    /// Says that something may have been done all the same: the answer to a call was lost, say.
    /// The step is then made good as if it had completed; any other failure that a handler returns
    /// says that nothing is left of the attempt.
    #[must_use]
    pub const fn unclear(mut self) -> Self {
        self.0.kind = FailureKind::Unclear;
        self
    }

    /// Says that this agent does not do it, and that another one with the capability may: a program
    /// is not installed, a folder is not allowed. Another attempt may mend it, and nothing is held
    /// against the capability; only those who fail so more often than the others are.
    #[must_use]
    pub const fn only_here(mut self) -> Self {
        self.0.only_here = true;
        self
    }

    /// Creates the failure for an input that the handler cannot work with: code `invalid_input`,
    /// not retryable.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::fatal("invalid_input", message)
    }

    /// Replaces the code.
    #[must_use]
    pub fn with_code(mut self, code: &str) -> Self {
        code.clone_into(&mut self.0.code);
        Self(self.0.bounded())
    }

    /// Says that trying again cannot help.
    #[must_use]
    pub fn not_retryable(mut self) -> Self {
        self.0.retryable = false;
        self
    }

    /// Asks for a delay of at least `delay` before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Adds details for machines; what has no JSON form is left out.
    #[must_use]
    pub fn with_details<T: Serialize + ?Sized>(mut self, details: &T) -> Self {
        self.0.details = Payload::encode(details).ok();
        self
    }

    /// Returns the code.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns whether trying again can help.
    pub const fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns whether something may have been done all the same.
    pub const fn is_unclear(&self) -> bool {
        !self.0.kind.leaves_nothing()
    }

    /// Returns whether another agent may do what this one does not.
    pub const fn is_only_here(&self) -> bool {
        self.0.only_here
    }

    /// Returns in which way the attempt failed: the handler said so, panicked, took too long.
    pub const fn kind(&self) -> FailureKind {
        self.0.kind
    }

    pub(crate) fn of_kind(kind: FailureKind, code: &str, message: impl Into<String>) -> Self {
        Self(skep_protocol::Failure::new(kind, code, message).bounded())
    }

    /// Returns the failure as it is reported.
    pub fn into_protocol(self) -> skep_protocol::Failure {
        self.0
    }

    /// Wraps a failure as it was reported.
    pub const fn from_protocol(failure: skep_protocol::Failure) -> Self {
        Self(failure)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = inner.source();
        }
        Self::new("error", message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Failure");
        out.field("kind", &self.0.kind).field("code", &self.0.code);
        out.field("message", &self.0.message).field("retryable", &self.0.retryable);
        if self.0.only_here {
            out.field("only_here", &true);
        }
        if let Some(delay) = self.0.retry_after() {
            out.field("retry_after", &delay);
        }
        if let Some(details) = &self.0.details {
            out.field("details", details);
        }
        out.finish()
    }
}
