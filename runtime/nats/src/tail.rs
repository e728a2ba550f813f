//! Reading a stream from a position on, as long as the connection lasts.

use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;
use futures::StreamExt as _;
use skep_broker::Unavailable;
use skep_protocol::Seq;

use crate::layout::Layout;
use crate::link::Period;
use crate::nats::Nats;

/// Messages fetched ahead of the reader.
const AHEAD: usize = 64;
/// Bytes that one request admits beside the largest message: its subjects and headers. All readers
/// share one connection, and the server closes it (`max_pending`, 64 MiB) when they ask for more
/// together than the connection takes. The client asks again once half is here, so that a reader
/// has up to one and a half requests under way.
const BESIDE_THE_LARGEST: usize = 128 * 1024;
/// A server that is silent for two of these has gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long one request for messages lasts.
const EXPIRES: Duration = Duration::from_secs(30);

/// One message of a stream.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) seq: Seq,
    pub(crate) subject: Subject,
    pub(crate) payload: Bytes,
}

/// A reader that ends when it is interrupted; its owner opens another one where it was.
pub(crate) struct Tail {
    nats: Nats,
    period: Period,
    messages: pull::Stream,
    /// How many messages the server has sent to this reader.
    delivered: u64,
}

impl Tail {
    pub(crate) async fn open(
        nats: &Nats,
        stream: &str,
        filter: &str,
        from: Seq,
    ) -> Result<Self, Unavailable> {
        let attempted = "read a stream";
        let period = nats.shared.link.period();
        let config = Layout::reader(filter, from);
        let consumer =
            nats.api(attempted, nats.js().create_consumer_on_stream(config, stream)).await?;
        // A message that is larger than a whole request would never come.
        let bytes = nats.shared.client.max_payload() + BESIDE_THE_LARGEST;
        let builder = consumer.stream().max_messages_per_batch(AHEAD).max_bytes_per_batch(bytes);
        let opened = builder.heartbeat(HEARTBEAT).expires(EXPIRES).messages();
        let messages = nats.api(attempted, opened).await?;
        Ok(Self { nats: nats.clone(), period, messages, delivered: 0 })
    }

    /// Returns the next message; `None` once the reader was interrupted. Messages are not
    /// acknowledged, so one that was lost between the servers of a cluster does not come again:
    /// that interrupts, too.
    pub(crate) async fn next(&mut self) -> Option<Stored> {
        let next = tokio::select! {
            biased;
            () = self.nats.shared.link.lost(self.period) => return None,
            next = self.messages.next() => next,
        };
        match next {
            Some(Ok(message)) => {
                let info = message.info().ok()?;
                let (seq, delivered) = (Seq::new(info.stream_sequence), info.consumer_sequence);
                self.delivered += 1;
                if delivered != self.delivered {
                    tracing::debug!(%seq, delivered, "a message was lost on its way");
                    return None;
                }
                let message = message.message;
                Some(Stored { seq, subject: message.subject, payload: message.payload })
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "reading a stream was interrupted");
                None
            }
            None => None,
        }
    }
}
