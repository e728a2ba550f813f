//! JSON that is handed on as it was written.

use std::fmt;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use skep_protocol::is_within_depth;
use skep_protocol::limits::MAX_JSON_DEPTH;

/// A JSON value as its text: numbers keep all their digits, objects the order and the repetitions
/// of their keys. Two are equal if their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

/// Why a text is not taken as JSON.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    /// It is none.
    #[error("it is not JSON: {0}")]
    Invalid(#[from] serde_json::Error),
    /// Wrapped in the object that an agent reports, it would nest deeper than a payload may.
    #[error("the JSON is nested too deeply")]
    TooDeep,
}

impl Json {
    /// Takes a text; only the white space between its parts is dropped.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, JsonError> {
        // What is skipped may be as deep as it likes; a value is made of 127 levels at most.
        serde_json::from_slice::<IgnoredAny>(text)?;
        let text = std::str::from_utf8(text).map_err(serde_json::Error::custom)?;
        if !is_within_depth(text, MAX_JSON_DEPTH - 1) {
            return Err(JsonError::TooDeep);
        }
        // More than syntax is asked for: numbers that are too great or halves of characters would
        // stop whoever reads the value later.
        serde_json::from_str::<Value>(text)?;
        Ok(Self(RawValue::from_string(without_spaces(text))?))
    }

    /// Returns the text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Returns the string, if it is one.
    pub fn as_string(&self) -> Option<String> {
        self.get().starts_with('"').then(|| serde_json::from_str(self.get()).ok()).flatten()
    }

    /// Returns whether it is a number of which something is lost, if only zeros at its end, by
    /// whoever reads it as a number.
    pub(crate) fn is_lossy_number(&self) -> bool {
        let value: Option<serde_json::Number> = serde_json::from_str(self.get()).ok();
        value.is_some_and(|value| value.to_string() != self.get())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::from(Value::from(text))
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        let text = RawValue::from_string(value.to_string());
        Self(text.expect("a JSON value has a JSON form"))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json {}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

/// Returns valid JSON on one line: events are shown and kept as lines.
fn without_spaces(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let is_kept = |letter: &char| {
        if in_string {
            (in_string, escaped) = match letter {
                _ if escaped => (true, false),
                '"' => (false, false),
                letter => (true, *letter == '\\'),
            };
            return true;
        }
        in_string = *letter == '"';
        !letter.is_ascii_whitespace()
    };
    json.chars().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_handed_on_as_it_was_written() {
        let text = " {\"id\": 12345678901234567890123,\r\n\t\"n\": [1.10, 1e2],\n\
                    \"a b\": \"c \\\" d\", \"é\\u00e9\": null, \"id\" : \"\\\\\" } \n";
        let kept = "{\"id\":12345678901234567890123,\"n\":[1.10,1e2],\"a b\":\"c \\\" d\",\
                    \"é\\u00e9\":null,\"id\":\"\\\\\"}";
        let json = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(json.get(), kept);
        assert_eq!(serde_json::to_string(&json).unwrap(), kept);
        let again: Json = serde_json::from_str(kept).unwrap();
        assert_eq!(again, json);
    }

    #[test]
    fn what_no_reader_would_take_is_no_json() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        Json::parse(nested(MAX_JSON_DEPTH - 1).as_bytes()).unwrap();
        for depth in [MAX_JSON_DEPTH, 127, 128, 200, 100_000] {
            let deep = Json::parse(nested(depth).as_bytes());
            assert!(matches!(deep, Err(JsonError::TooDeep)), "{depth}: {deep:?}");
        }
        for text in [&b"1e999"[..], b"\"\\ud800\"", b"\"\xff\"", b"", b"{} {}", b"{'a': 1}"] {
            let refused = Json::parse(text);
            assert!(matches!(refused, Err(JsonError::Invalid(_))), "{refused:?}");
        }
    }

    #[test]
    fn numbers_that_lose_something_are_known() {
        let is_lossy = |text: &str| Json::parse(text.as_bytes()).unwrap().is_lossy_number();
        for text in ["0", "-7", "18446744073709551615", "0.1", "1.0", "[1.10]", "\"1.10\"", "null"]
        {
            assert!(!is_lossy(text), "{text}");
        }
        for text in ["1.10", "1e5", "18446744073709551616", "0.1000000000000000000001", "-0"] {
            assert!(is_lossy(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn only_space_between_parts_is_dropped(texts in prop::collection::vec(any::<String>(), 3)) {
            let value = serde_json::json!({ "a": [texts[0], 1, { &texts[1]: texts[2] }] });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(Json::parse(pretty.as_bytes()).unwrap(), Json::from(value));
        }
    }
}
