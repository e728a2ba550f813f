//! Inputs and outputs: JSON text to types and back, and the large ones through the blob store.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use skep_broker::{AgentBroker, PutBlobError, Unavailable};
use skep_protocol::limits::{MAX_INLINE_PAYLOAD, MAX_PAYLOAD};
use skep_protocol::{BlobRef, Payload, flaw};

use crate::backoff::Backoff;
use crate::failure::Failure;

/// JSON text, wherever it came from.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Inline(Arc<RawValue>),
    Fetched(Bytes),
}

impl Text {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline(raw) => raw.get().as_bytes(),
            Self::Fetched(bytes) => bytes,
        }
    }
}

/// What a handler returned.
#[derive(Debug)]
pub(crate) enum Output {
    /// It is part of the report.
    Inline(Payload),
    /// It belongs into the blob store.
    Large(Box<RawValue>),
}

impl From<Box<RawValue>> for Output {
    fn from(text: Box<RawValue>) -> Self {
        if text.get().len() <= MAX_INLINE_PAYLOAD {
            Self::Inline(Payload::Json(text.into()))
        } else {
            Self::Large(text)
        }
    }
}

/// The blob store of any broker.
pub(crate) trait BlobStore: Send + Sync {
    fn get(&self, blob: BlobRef) -> BoxFuture<'_, Result<Option<Bytes>, Unavailable>>;
    fn put(&self, bytes: Bytes) -> BoxFuture<'_, Result<BlobRef, PutBlobError>>;
}

impl<B: AgentBroker> BlobStore for B {
    fn get(&self, blob: BlobRef) -> BoxFuture<'_, Result<Option<Bytes>, Unavailable>> {
        Box::pin(self.blob(blob))
    }

    fn put(&self, bytes: Bytes) -> BoxFuture<'_, Result<BlobRef, PutBlobError>> {
        Box::pin(self.put_blob(bytes))
    }
}

/// Returns the text of a payload, from the blob store if it is large; asks again until the store
/// answers.
pub(crate) async fn fetch(store: &dyn BlobStore, payload: &Payload) -> Result<Text, Failure> {
    let blob = match payload {
        Payload::Json(raw) => return Ok(Text::Inline(Arc::clone(raw))),
        Payload::Blob(blob) => **blob,
    };
    if blob.size > MAX_PAYLOAD as u64 {
        let message = format!("a value of {} bytes, at most {MAX_PAYLOAD} are taken", blob.size);
        return Err(Failure::fatal("invalid_input", message));
    }
    let mut backoff = Backoff::default();
    loop {
        match store.get(blob).await {
            Ok(Some(bytes)) => return Ok(Text::Fetched(bytes)),
            Ok(None) => {
                let message = format!("blob {} ({} bytes) is not there", blob.hash, blob.size);
                return Err(Failure::new("payload_missing", message));
            }
            Err(error) => {
                tracing::debug!(%error, blob = %blob.hash, "a payload is asked for again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

/// Returns the payload for a JSON text, through the blob store if it is large; tries again until
/// the store takes it.
pub(crate) async fn stow(store: &dyn BlobStore, text: Box<RawValue>) -> Result<Payload, Failure> {
    let size = text.get().len();
    if size <= MAX_INLINE_PAYLOAD {
        return Ok(Payload::Json(text.into()));
    }
    if size > MAX_PAYLOAD {
        let message = format!("the value has {size} bytes, at most {MAX_PAYLOAD} are taken");
        return Err(Failure::fatal("output_too_large", message));
    }
    // Whoever takes the report sees to what is inline.
    if let Some(flaw) = flaw(text.get()) {
        return Err(Failure::fatal("invalid_output", format!("the JSON of the value {flaw}")));
    }
    let bytes = Bytes::from(Box::<str>::from(text).into_string());
    let mut backoff = Backoff::default();
    loop {
        match store.put(bytes.clone()).await {
            Ok(blob) => return Ok(Payload::from(blob)),
            Err(error @ PutBlobError::Full { .. }) => {
                return Err(Failure::fatal("blob_store_full", error.to_string()));
            }
            Err(PutBlobError::Unavailable(error)) => {
                tracing::debug!(%error, size, "a payload is stored again");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

/// Decodes the input of a handler; what does not fit names the place.
pub(crate) fn decode_input<T: DeserializeOwned>(text: &Text) -> Result<T, Failure> {
    decode(text)
        .map_err(|problem| Failure::invalid_input(format!("the input does not fit: {problem}")))
}

/// Decodes what an earlier attempt left.
pub(crate) fn decode_checkpoint<T: DeserializeOwned>(text: &Text) -> Result<T, Failure> {
    decode(text).map_err(|problem| {
        let message = format!("the checkpoint of an earlier attempt does not fit: {problem}");
        Failure::fatal("invalid_checkpoint", message)
    })
}

fn decode<T: DeserializeOwned>(text: &Text) -> Result<T, String> {
    let read = match text {
        Text::Inline(raw) => serde_json::from_str(raw.get()),
        Text::Fetched(bytes) => serde_json::from_slice(bytes),
    };
    let first = match read {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let mut json = serde_json::Deserializer::from_slice(text.as_bytes());
    let found: Result<T, _> = serde_path_to_error::deserialize(&mut json);
    match found {
        Ok(_) => Err(without_position(&first)),
        Err(error) if error.path().iter().next().is_none() => Err(without_position(error.inner())),
        Err(error) => Err(format!("at `{}`: {}", error.path(), without_position(error.inner()))),
    }
}

/// The line and column of a value that was rendered from a template help nobody.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Encodes the output of a handler.
pub(crate) fn encode_output<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, Failure> {
    encode("invalid_output", "output", value)
}

/// Encodes what shall be left for the next attempt.
pub(crate) fn encode_checkpoint<T: Serialize + ?Sized>(
    value: &T,
) -> Result<Box<RawValue>, Failure> {
    encode("invalid_checkpoint", "checkpoint", value)
}

fn encode<T: Serialize + ?Sized>(
    code: &str,
    what: &str,
    value: &T,
) -> Result<Box<RawValue>, Failure> {
    let first = match serde_json::value::to_raw_value(value) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let mut json = serde_json::Serializer::new(std::io::sink());
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Serializer::new(&mut json, &mut track);
    let error = value.serialize(tracked).err().unwrap_or(first);
    let path = track.path();
    let place = if path.iter().next().is_none() { String::new() } else { format!(" at `{path}`") };
    Err(Failure::fatal(code, format!("the {what} has no JSON form{place}: {error}")))
}
