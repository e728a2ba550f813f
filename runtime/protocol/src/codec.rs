//! JSON in and out.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Characters of a cause that are kept of its begin and of its end.
const BEGIN: usize = 200;
const END: usize = 1_000;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("not the JSON of a {what}")]
pub struct CodecError {
    what: &'static str,
    #[source]
    source: Cause,
}

/// What the reader of JSON said. It repeats what it could not read, however long that is, and
/// says at the end what it expected and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

impl Cause {
    fn of(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let begin = text.char_indices().nth(BEGIN).map(|(at, _)| at);
        let end = text.char_indices().rev().nth(END).map(|(at, _)| at);
        Self(match (begin, end) {
            (Some(begin), Some(end)) if begin < end => {
                format!("{} … {}", &text[..begin], &text[end..])
            }
            _ => text,
        })
    }
}

/// Encodes a message of the protocol.
///
/// # Panics
/// Never: every type of this crate has a JSON form.
pub fn encode<T: Serialize>(value: &T) -> bytes::Bytes {
    serde_json::to_vec(value).expect("types of the protocol have a JSON form").into()
}

/// Decodes a message of the protocol.
///
/// # Errors
/// [`CodecError`] if the bytes are not the JSON of a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let source = Cause::of(&error);
        CodecError { what: short_name::<T>(), source }
    })
}

fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[test]
    fn a_cause_is_short_whatever_was_sent() {
        let check = |letters: usize| {
            let sent = format!("{{\"{}\": 1}}", "ä".repeat(letters));
            let source = decode::<Command>(sent.as_bytes()).unwrap_err().source.to_string();
            assert!(source.starts_with("unknown variant `ä"), "{source}");
            assert!(source.contains("expected one of `register`, `start`"), "{source}");
            assert!(source.ends_with(&format!("at line 1 column {}", 2 * letters + 3)), "{source}");
            source.chars().count()
        };
        assert!(check(10) < 300);
        assert!(check(100_000) <= BEGIN + END + 4);
    }
}
