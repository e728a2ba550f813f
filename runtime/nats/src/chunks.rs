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

/// How often a chunk that is wrong is replaced for one call.
const MENDS: u32 = 3;

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Stored,
    /// There is one of that name already.
    Refused,
}

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
    /// Stores the chunks of `bytes` in `stream` under `prefix.0`, `prefix.1`, …
    pub(crate) async fn put_chunks(
        &self,
        attempted: &'static str,
        (stream, prefix): (&str, &str),
        bytes: &Bytes,
    ) -> Result<(), Unavailable> {
        let chunks = (0..count(bytes.len())).map(|index| {
            let (from, to) = (index * CHUNK, ((index + 1) * CHUNK).min(bytes.len()));
            let (subject, chunk) = (format!("{prefix}.{index}"), bytes.slice(from..to));
            async move {
                match self.put_chunk(attempted, &subject, &chunk).await? {
                    Put::Stored => Ok(()),
                    Put::Refused => self.mend_chunk(attempted, stream, &subject, &chunk).await,
                }
            }
        });
        futures::stream::iter(chunks).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }

    async fn put_chunk(
        &self,
        attempted: &'static str,
        subject: &str,
        chunk: &Bytes,
    ) -> Result<Put, Unavailable> {
        let published = async { self.js().publish(subject.to_owned(), chunk.clone()).await?.await };
        self.api(attempted, async {
            match published.await {
                Ok(_) => Ok(Put::Stored),
                Err(error) if is_kept_already(&error) => Ok(Put::Refused),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Looks whether the chunk that is kept already is this one; one that is not, whoever wrote it,
    /// is replaced.
    async fn mend_chunk(
        &self,
        attempted: &'static str,
        stream: &str,
        subject: &str,
        chunk: &Bytes,
    ) -> Result<(), Unavailable> {
        let stream = self.api(attempted, self.js().get_stream_no_info(stream)).await?;
        for _ in 0..MENDS {
            match self.last_by_subject(attempted, &stream, subject.to_owned()).await? {
                Some(kept) if kept.payload == *chunk => return Ok(()),
                Some(_) => {
                    tracing::warn!(subject, "a chunk is not what its hash says and is replaced");
                    let purge = stream.purge().filter(subject);
                    self.api(attempted, async move { purge.await }).await?;
                }
                None => {}
            }
            if self.put_chunk(attempted, subject, chunk).await? == Put::Stored {
                return Ok(());
            }
        }
        let reason = format!("somebody else keeps writing to {subject}");
        Err(Unavailable { attempted, reason })
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
fn is_kept_already(error: &PublishError) -> bool {
    chain(error).contains("maximum messages per subject")
}
