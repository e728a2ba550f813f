//! Large values as messages of a bounded size.

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, LastRawMessageErrorKind, Stream};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use skep_broker::Unavailable;

use crate::connect::chain;
use crate::nats::Nats;

/// Bytes of one message. Fixed, so that the same value is always cut in the same way.
const CHUNK: usize = 256 * 1024;
/// Messages under way at a time.
const AT_ONCE: usize = 8;

/// From where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From any server that has it, and from the leader if that one has not.
    Anywhere,
    /// From the leader.
    Leader,
}

/// Returns the number of chunks of a value; an empty one has one, too.
fn count(size: usize) -> usize {
    size.div_ceil(CHUNK).max(1)
}

impl Nats {
    /// Stores the chunks of `bytes` under `prefix.0`, `prefix.1`, … `tolerate` says which refusals
    /// are none.
    pub(crate) async fn put_chunks(
        &self,
        attempted: &'static str,
        prefix: &str,
        bytes: &Bytes,
        tolerate: fn(&PublishError) -> bool,
    ) -> Result<(), Unavailable> {
        let chunks = (0..count(bytes.len())).map(|index| {
            let (from, to) = (index * CHUNK, ((index + 1) * CHUNK).min(bytes.len()));
            let (subject, chunk) = (format!("{prefix}.{index}"), bytes.slice(from..to));
            async move {
                let published = async { self.js().publish(subject, chunk).await?.await };
                self.api(attempted, async {
                    match published.await {
                        Err(error) if !tolerate(&error) => Err(error),
                        Ok(_) | Err(_) => Ok(()),
                    }
                })
                .await
            }
        });
        futures::stream::iter(chunks).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }

    /// Reads a value of `size` bytes; `None` if a part is missing or has another size.
    pub(crate) async fn chunks(
        &self,
        attempted: &'static str,
        stream: &str,
        prefix: &str,
        (size, source): (usize, Source),
    ) -> Result<Option<Bytes>, Unavailable> {
        let stream = &self.api(attempted, self.js().get_stream_no_info(stream)).await?;
        let reads = (0..count(size)).map(|index| {
            let subject = format!("{prefix}.{index}");
            async move { self.chunk(attempted, stream, subject, source).await }
        });
        let mut reads = futures::stream::iter(reads).buffered(AT_ONCE);
        let mut value = BytesMut::with_capacity(size.min(64 * CHUNK));
        while let Some(chunk) = reads.try_next().await? {
            match chunk {
                Some(chunk) if value.len() + chunk.len() <= size => value.extend_from_slice(&chunk),
                Some(_) | None => return Ok(None),
            }
        }
        Ok(Some(value.freeze()).filter(|value| value.len() == size))
    }

    async fn chunk(
        &self,
        attempted: &'static str,
        stream: &Stream<()>,
        subject: String,
        source: Source,
    ) -> Result<Option<Bytes>, Unavailable> {
        if source == Source::Anywhere {
            let read = stream.direct_get_builder().last_by_subject(subject.as_str()).send();
            let read = self.api(attempted, async {
                match read.await {
                    Ok(message) => Ok(Some(message.payload)),
                    Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            });
            // A replica may lag behind, and not every refusal says so clearly.
            if let Ok(Some(payload)) = read.await {
                return Ok(Some(payload));
            }
        }
        let found = self.last_by_subject(attempted, stream, subject).await?;
        Ok(found.map(|message| message.payload))
    }

    /// Reads the last message of a subject from the leader of the stream.
    pub(crate) async fn last_by_subject(
        &self,
        attempted: &'static str,
        stream: &Stream<()>,
        subject: String,
    ) -> Result<Option<StreamMessage>, Unavailable> {
        self.api(attempted, async {
            match stream.raw_message_builder().last_by_subject(subject).send().await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }
}

/// Returns whether a message was refused because its subject has one already.
pub(crate) fn is_kept_already(error: &PublishError) -> bool {
    chain(error).contains("maximum messages per subject")
}
