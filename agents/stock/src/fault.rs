//! What the agents of this crate have in common when they fail.

use skep_agent::Failure;

/// Creates a failure, worth another attempt or not.
pub(crate) fn failure(code: &str, message: String, worth_retrying: WorthRetrying) -> Failure {
    match worth_retrying {
        WorthRetrying::Yes => Failure::new(code, message),
        WorthRetrying::Elsewhere => Failure::new(code, message).only_here(),
        WorthRetrying::No => Failure::fatal(code, message),
    }
}

/// Whether another attempt may mend a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorthRetrying {
    Yes,
    /// Another agent may do what this one does not.
    Elsewhere,
    No,
}

impl From<bool> for WorthRetrying {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// Returns the messages of an error and all its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        message.push_str(": ");
        message.push_str(&inner.to_string());
        source = inner.source();
    }
    message
}
