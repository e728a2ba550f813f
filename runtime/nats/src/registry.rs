//! Small facts: the key-value buckets of JetStream, read from the leader.

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use bytes::Bytes;
use skep_broker::{Blobs as _, Bucket, Entry, PutError, Registry, Revision, Unavailable, is_key};
use skep_protocol::BlobRef;

use crate::connect::chain;
use crate::nats::Nats;

/// A value of more bytes lies among the blobs; the fact names it.
const MAX_INLINE: usize = 512 * 1024;
/// The header that names a value among the blobs.
const BLOB: &str = "Skep-Blob";

impl Registry for Nats {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>, Unavailable> {
        if !is_key(key) {
            return Ok(None);
        }
        let Some(message) = self.fact(bucket, key).await?.filter(|m| !is_removed(m)) else {
            return Ok(None);
        };
        let value = match message.headers.get(BLOB) {
            None => message.payload,
            Some(blob) => self.large_value(key, blob.as_str()).await?,
        };
        Ok(Some(Entry { value, revision: Revision::new(message.sequence) }))
    }

    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, PutError> {
        if !is_key(key) {
            return Err(PutError::InvalidKey { key: key.to_owned() });
        }
        let value = self.message_of(value).await?;
        match self.put_if(bucket, key, value.clone(), expected).await {
            // An operator may have removed the key; what is left says so and has a revision.
            Err(PutError::Conflict { key }) if expected == Revision::ABSENT => {
                match self.fact(bucket, &key).await? {
                    Some(message) if is_removed(&message) => {
                        self.put_if(bucket, &key, value, Revision::new(message.sequence)).await
                    }
                    Some(_) | None => Err(PutError::Conflict { key }),
                }
            }
            put => put,
        }
    }

    async fn keys(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, Unavailable> {
        let attempted = "list the registry";
        let start = self.layout().facts(bucket);
        let stream = self.layout().bucket_stream(bucket);
        let subjects = self.subjects(attempted, stream, format!("{start}>")).await?;
        let keys = subjects.iter().filter_map(|subject| subject.strip_prefix(&start));
        Ok(keys.filter(|key| key.starts_with(prefix)).map(str::to_owned).collect())
    }
}

impl Nats {
    async fn message_of(&self, value: Bytes) -> Result<PublishMessage, Unavailable> {
        if value.len() <= MAX_INLINE {
            return Ok(PublishMessage::build().payload(value));
        }
        let blob = self.keep_blob(value).await?;
        let name = format!("{} {}", blob.hash, blob.size);
        Ok(PublishMessage::build().header(BLOB, name.as_str()))
    }

    async fn large_value(&self, key: &str, name: &str) -> Result<Bytes, Unavailable> {
        let attempted = "read the registry";
        let named = name.split_once(' ').and_then(|(hash, size)| {
            Some(BlobRef { hash: hash.parse().ok()?, size: size.parse().ok()? })
        });
        let found = match named {
            Some(blob) => self.blob(blob).await?,
            None => None,
        };
        let reason = || format!("the value of `{key}` is missing or damaged");
        found.ok_or_else(|| Unavailable { attempted, reason: reason() })
    }

    async fn fact(&self, bucket: Bucket, key: &str) -> Result<Option<StreamMessage>, Unavailable> {
        let attempted = "read the registry";
        let stream = self.js().get_stream_no_info(self.layout().bucket_stream(bucket));
        let stream = self.api(attempted, stream).await?;
        self.last_by_subject(attempted, &stream, self.layout().fact(bucket, key)).await
    }

    async fn put_if(
        &self,
        bucket: Bucket,
        key: &str,
        value: PublishMessage,
        expected: Revision,
    ) -> Result<Revision, PutError> {
        let attempted = "write to the registry";
        let publish = value.expected_last_subject_sequence(expected.get());
        let subject = self.layout().fact(bucket, key);
        let published = async { self.js().send_publish(subject, publish).await?.await };
        let unavailable = |reason| PutError::Unavailable(Unavailable { attempted, reason });
        match self.while_connected(self.patience(), published).await {
            Ok(Ok(ack)) => Ok(Revision::new(ack.sequence)),
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Err(PutError::Conflict { key: key.to_owned() })
            }
            Ok(Err(error)) => Err(unavailable(chain(&error))),
            Err(interrupted) => Err(unavailable(interrupted.to_string())),
        }
    }
}

/// Returns whether the message says that its key was removed.
fn is_removed(message: &StreamMessage) -> bool {
    message.headers.get("KV-Operation").is_some_and(|operation| operation.as_str() != "PUT")
}
