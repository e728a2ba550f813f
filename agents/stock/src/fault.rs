//! What the agents of this crate have in common when they fail.

use serde_json::Value;
use skep_agent::Failure;
use skep_protocol::limits::MAX_JSON_DEPTH;

/// Creates a failure, worth another attempt or not.
pub(crate) fn failure(code: &str, message: String, worth_retrying: WorthRetrying) -> Failure {
    match worth_retrying {
        WorthRetrying::Yes => Failure::new(code, message),
        WorthRetrying::No => Failure::fatal(code, message),
    }
}

/// Whether another attempt may mend a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorthRetrying {
    Yes,
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

/// Tells whether a value, wrapped in the object that an agent reports, nests no deeper than a
/// payload may.
pub(crate) fn is_shallow(value: &Value) -> bool {
    fn fits(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| fits(item, left - 1)),
            Value::Object(fields) => left > 0 && fields.values().all(|item| fits(item, left - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
    fits(value, MAX_JSON_DEPTH - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_leaves_room_for_the_wrapper() {
        let nested = |depth: usize| (0..depth).fold(Value::from(1), |inner, _| vec![inner].into());
        assert!(is_shallow(&nested(MAX_JSON_DEPTH - 1)));
        assert!(!is_shallow(&nested(MAX_JSON_DEPTH)));
    }
}
