//! JSON that skep carries but does not read.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::Hash;

/// A JSON value, carried as its text and parsed only by those who need to look inside.
///
/// Cloning is cheap. Two payloads are equal if their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The value itself.
    Json(Arc<RawValue>),
    /// A value over [`MAX_INLINE_PAYLOAD`](crate::limits::MAX_INLINE_PAYLOAD), in the blob store.
    Blob(Box<BlobRef>),
}

/// Where a large value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// The hash of its JSON text, and its key in the blob store.
    pub hash: Hash,
    /// The length of its JSON text, in bytes.
    pub size: u64,
}

impl BlobRef {
    /// Returns the reference under which `text` is stored.
    pub fn of(text: &[u8]) -> Self {
        Self { hash: Hash::of(text), size: text.len() as u64 }
    }
}

impl Payload {
    /// Returns the JSON `null`.
    pub fn null() -> Self {
        Self::Json(RawValue::NULL.to_owned().into())
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// The value has no JSON form (a map with keys that are no strings, say).
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(|raw| Self::Json(raw.into()))
    }

    /// Takes JSON text as it is, once it was seen to be JSON.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Box<RawValue>>(text).map(|raw| Self::Json(raw.into()))
    }

    /// Returns the JSON text if the value is inline.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Json(raw) => Some(raw.get()),
            Self::Blob(_) => None,
        }
    }

    /// Returns the reference if the value lies in the blob store.
    pub fn blob(&self) -> Option<BlobRef> {
        match self {
            Self::Json(_) => None,
            Self::Blob(blob) => Some(**blob),
        }
    }

    /// Returns the length of the JSON text, in bytes, wherever it lies.
    pub fn size(&self) -> u64 {
        match self {
            Self::Json(raw) => raw.get().len() as u64,
            Self::Blob(blob) => blob.size,
        }
    }
}

/// Returns whether valid JSON is nested no deeper than `most` levels, without parsing it.
pub fn is_within_depth(json: &str, most: usize) -> bool {
    // Few brackets, be they of texts, are never too deep; most values are seen to be well so.
    opening_brackets(json) <= most || is_nested_within(json, most)
}

/// Counts `[` and `{`, which differ in one bit; in chunks whose count is a byte, many at a time.
fn opening_brackets(json: &str) -> usize {
    const CHUNK: usize = u8::MAX as usize;
    let in_chunk = |chunk: &[u8]| -> usize {
        chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>().into()
    };
    json.as_bytes().chunks(CHUNK).map(in_chunk).sum()
}

fn is_nested_within(json: &str, most: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > most {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

impl From<&serde_json::Value> for Payload {
    fn from(value: &serde_json::Value) -> Self {
        Self::encode(value).expect("a JSON value has a JSON form")
    }
}

impl From<BlobRef> for Payload {
    fn from(blob: BlobRef) -> Self {
        Self::Blob(Box::new(blob))
    }
}

impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Self {
        Self::from(&value)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(a), Self::Json(b)) => a.get() == b.get(),
            (Self::Blob(a), Self::Blob(b)) => a == b,
            (Self::Json(_), Self::Blob(_)) | (Self::Blob(_), Self::Json(_)) => false,
        }
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(raw) if raw.get().len() <= 120 => f.write_str(raw.get()),
            Self::Json(raw) => write!(f, "<{} bytes of JSON>", raw.get().len()),
            Self::Blob(blob) => write!(f, "<blob {:?}, {} bytes>", blob.hash, blob.size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_as_depth_and_those_in_texts_do_not() {
        assert!(is_within_depth("7", 0));
        assert!(is_within_depth(r#"{"a":[1,{"b":[]}]}"#, 4));
        assert!(!is_within_depth(r#"{"a":[1,{"b":[]}]}"#, 3));
        assert!(is_within_depth(r#"["[[[", "\"[[[", "\\"]"#, 1));
        assert!(is_within_depth(r#"{"a":[[],"[[[[\"[["]}"#, 3));
        assert!(is_within_depth("[[],[],[],[]]", 2));
        let flat = format!("[{}]", "[],".repeat(1_000) + "{}");
        assert_eq!(opening_brackets(&flat), 1_002);
        assert!(is_within_depth(&flat, 2) && !is_within_depth(&flat, 1));
        let deep = "[".repeat(65) + &"]".repeat(65);
        assert!(is_within_depth(&deep, 65) && !is_within_depth(&deep, 64));
    }
}
