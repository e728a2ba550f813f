//! Long texts inside journal records.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{MAX_DEFINITION_BYTES, MAX_INLINE_PAYLOAD};

/// The text of a definition; stored compressed when it is long, so that the largest one fits into
/// a journal message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredText(String);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Text(String),
    Zstd(String),
}

impl StoredText {
    /// Wraps a text.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for StoredText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() <= MAX_INLINE_PAYLOAD {
            return Stored::Text(self.0.clone()).serialize(serializer);
        }
        let packed = zstd::encode_all(self.0.as_bytes(), 3).map_err(S::Error::custom)?;
        Stored::Zstd(STANDARD.encode(packed)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = match Stored::deserialize(deserializer)? {
            Stored::Text(text) => return Ok(Self(text)),
            Stored::Zstd(packed) => STANDARD.decode(packed).map_err(D::Error::custom)?,
        };
        let reader = zstd::Decoder::new(packed.as_slice()).map_err(D::Error::custom)?;
        let mut text = String::new();
        let limit = MAX_DEFINITION_BYTES as u64 + 1;
        let unpacked = reader.take(limit).read_to_string(&mut text);
        unpacked.map_err(|error| {
            D::Error::custom(format_args!("the text cannot be unpacked: {error}"))
        })?;
        if text.len() > MAX_DEFINITION_BYTES {
            return Err(D::Error::custom("the text is longer than a definition may be"));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_texts_come_back() {
        for len in [0, 5, MAX_INLINE_PAYLOAD, MAX_INLINE_PAYLOAD + 1, MAX_DEFINITION_BYTES] {
            let text = StoredText::new("é".repeat(len / 2));
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<StoredText>(&json).unwrap(), text);
            assert!(json.len() < MAX_INLINE_PAYLOAD + 16, "{len} bytes became {}", json.len());
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let text = StoredText::new("x".repeat(MAX_DEFINITION_BYTES + 1));
        let json = serde_json::to_string(&text).unwrap();
        assert!(serde_json::from_str::<StoredText>(&json).is_err());
    }
}
