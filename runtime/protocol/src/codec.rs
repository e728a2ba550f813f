//! JSON in and out.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are not what they should be, or a value without a JSON form.
#[derive(Debug, thiserror::Error)]
#[error("not the JSON of a {what}")]
pub struct CodecError {
    what: &'static str,
    #[source]
    source: serde_json::Error,
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
    serde_json::from_slice(bytes).map_err(|source| CodecError { what: short_name::<T>(), source })
}

fn short_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}
