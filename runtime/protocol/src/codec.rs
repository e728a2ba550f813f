//! JSON in and out.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Characters of a cause that are kept of its begin and of its end.
const BEGIN: usize = 200;
const END: usize = 1_000;

/// A message that says which version of its format it has.
pub trait Versioned: DeserializeOwned {
    /// The newest version that this program reads.
    const KNOWN: u32;

    /// Returns the version that the message says.
    fn version(&self) -> u32;
}

/// An answer that can be given to a message that could not be read.
pub trait Answer {
    /// Says why it could not be read.
    fn unreadable(cause: String) -> Self;

    /// Says that there is no room for it at the moment, if such an answer can say so.
    fn busy() -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// They are not JSON, or that of something else.
    #[error("not the JSON of a {what}")]
    Json {
        /// What was to be read.
        what: &'static str,
        /// Why it was not.
        source: Misread,
    },
    /// They were written by a newer program, and might be misread.
    #[error("a {what} of format {found}: those up to {known} can be read")]
    Version {
        /// What was to be read.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
}

/// What the reader of JSON said. It repeats what it could not read, however long that is, and
/// says at the end what it expected and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misread(String);

impl Misread {
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
        let source = Misread::of(&error);
        CodecError::Json { what: short_name::<T>(), source }
    })
}

/// Decodes a message of the protocol, some of which stays where it lies.
pub(crate) fn decode_borrowed<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let source = Misread::of(&error);
        CodecError::Json { what: short_name::<T>(), source }
    })
}

/// Decodes a message of the protocol that says which version of its format it has.
///
/// # Errors
/// [`CodecError::Version`] if this program does not know the version, [`CodecError::Json`] if the
/// bytes are not the JSON of a `T`.
pub fn decode_known<T: Versioned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (message, found) = match decode::<T>(bytes) {
        Ok(message) => {
            let found = message.version();
            (Ok(message), found)
        }
        // A newer format need not look like the known one.
        Err(error) => (Err(error), decode::<Version>(bytes).map_or(T::KNOWN, |version| version.v)),
    };
    if found > T::KNOWN {
        return Err(CodecError::Version { what: short_name::<T>(), found, known: T::KNOWN });
    }
    message
}

/// What every version of a message says.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::report::ReportBatch;

    #[test]
    fn a_cause_is_short_whatever_was_sent() {
        let check = |letters: usize| {
            let sent = format!("{{\"{}\": 1}}", "ä".repeat(letters));
            let error = decode::<Command>(sent.as_bytes()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.starts_with("unknown variant `ä"), "{source}");
            assert!(source.contains("expected one of `register`, `start`"), "{source}");
            assert!(source.ends_with(&format!("at line 1 column {}", 2 * letters + 3)), "{source}");
            source.chars().count()
        };
        assert!(check(10) < 300);
        assert!(check(100_000) <= BEGIN + END + 4);
    }

    #[test]
    fn a_newer_format_is_told_by_its_version_whatever_it_looks_like() {
        let check = |sent: &str, expected: &str| {
            let read = decode_known::<ReportBatch>(sent.as_bytes());
            assert_eq!(
                read.map_or_else(|error| error.to_string(), |_| "read".to_owned()),
                expected
            );
        };
        check(r#"{"v": 1, "agent": "a", "reports": []}"#, "read");
        let newer = "a ReportBatch of format 2: those up to 1 can be read";
        check(r#"{"v": 2, "agent": "a", "reports": []}"#, newer);
        check(r#"{"v": 2, "who": {"agent": "a"}}"#, newer);
        check(r#"{"v": 1, "who": {"agent": "a"}}"#, "not the JSON of a ReportBatch");
        check(r#"{"v": "2"}"#, "not the JSON of a ReportBatch");
    }
}
