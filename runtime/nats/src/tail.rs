//! Reading a stream from a position on, as long as the connection lasts.
//!
//! The client has such a reader, too. It asks for more from a task of its own, and takes it that
//! what it asked for is to come when that task says so; if that is late, what came meanwhile is
//! never taken off, and it waits for what the server does not owe, until it misses heartbeats.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, BatchConfig};
use async_nats::jetstream::{self, consumer::Consumer};
use async_nats::{Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use skep_broker::Unavailable;
use skep_protocol::Seq;
use tokio::time::{Instant, timeout_at};

use crate::layout::Layout;
use crate::link::Period;
use crate::nats::Nats;

/// Messages fetched ahead of the reader.
const AHEAD: usize = 64;
/// Bytes that one request admits beside the largest message: its subjects and headers. All readers
/// share one connection, and the server closes it (`max_pending`, 64 MiB) when they ask for more
/// together than the connection takes. A reader asks again once half is here, so that it has up to
/// one and a half requests under way.
const BESIDE_THE_LARGEST: usize = 128 * 1024;
/// A server that is silent for two of these has gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long one request for messages lasts.
const EXPIRES: Duration = Duration::from_secs(30);
/// What the server says of a request that is over.
const MESSAGES: &str = "Nats-Pending-Messages";
const BYTES: &str = "Nats-Pending-Bytes";

/// One message of a stream.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) seq: Seq,
    pub(crate) subject: Subject,
    pub(crate) payload: Bytes,
}

/// What the server owes to the requests of a reader.
#[derive(Debug, Default, PartialEq, Eq)]
struct Owed {
    messages: usize,
    bytes: usize,
}

impl Owed {
    /// Returns whether half of a request or more is here.
    fn is_little(&self, bytes: usize) -> bool {
        self.messages <= AHEAD / 2 || self.bytes <= bytes / 2
    }

    fn asked(&mut self, bytes: usize) {
        self.messages += AHEAD;
        self.bytes += bytes;
    }

    fn pay(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The server says that nothing more comes of a request, and what that one still had to get.
    fn ended(&mut self, status: &Message, bytes: usize) {
        let messages = pending(status, MESSAGES).unwrap_or(AHEAD);
        self.pay(messages, pending(status, BYTES).unwrap_or(bytes));
    }
}

/// Returns what a request still had to get when it was over.
fn pending(status: &Message, what: &str) -> Option<usize> {
    status.headers.as_ref()?.get(what)?.as_str().parse().ok()
}

/// A reader that ends when it is interrupted; its owner opens another one where it was.
pub(crate) struct Tail {
    nats: Nats,
    period: Period,
    consumer: Consumer<pull::Config>,
    inbox: Subject,
    messages: Subscriber,
    owed: Owed,
    /// What one request asks for, in bytes.
    bytes: usize,
    /// When the server said something last.
    heard: Instant,
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
        let client = &nats.shared.client;
        let inbox = Subject::from(client.new_inbox());
        let messages = nats.api(attempted, client.subscribe(inbox.clone())).await?;
        // A message that is larger than a whole request would never come.
        let bytes = client.max_payload() + BESIDE_THE_LARGEST;
        let (nats, owed, heard) = (nats.clone(), Owed::default(), Instant::now());
        Ok(Self { nats, period, consumer, inbox, messages, owed, bytes, heard, delivered: 0 })
    }

    /// Returns the next message; `None` once the reader was interrupted. Messages are not
    /// acknowledged, so one that was lost between the servers of a cluster does not come again:
    /// that interrupts, too.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn next(&mut self) -> Option<Stored> {
        loop {
            if self.owed.is_little(self.bytes) {
                self.ask().await?;
            }
            let silence = self.heard + 2 * HEARTBEAT;
            let message = tokio::select! {
                biased;
                () = self.nats.shared.link.lost(self.period) => return None,
                message = timeout_at(silence, self.messages.next()) => message,
            };
            let Ok(message) = message else {
                tracing::debug!("reading a stream was interrupted: the server is silent");
                return None;
            };
            let message = message?;
            self.heard = Instant::now();
            match message.status.unwrap_or(StatusCode::OK) {
                StatusCode::OK => return self.stored(message),
                StatusCode::IDLE_HEARTBEAT => {}
                StatusCode::TIMEOUT => self.owed.ended(&message, self.bytes),
                // One request is over; without a word of what is left, all are.
                StatusCode::REQUEST_TERMINATED if pending(&message, MESSAGES).is_some() => {
                    self.owed.ended(&message, self.bytes);
                }
                status => {
                    let why = message.description.unwrap_or_default();
                    tracing::debug!(%status, %why, "reading a stream was interrupted");
                    return None;
                }
            }
        }
    }

    /// Asks for more. What is owed is counted before anything of it can be looked at.
    async fn ask(&mut self) -> Option<()> {
        let request = BatchConfig {
            batch: AHEAD,
            max_bytes: self.bytes,
            expires: Some(EXPIRES),
            idle_heartbeat: HEARTBEAT,
            ..BatchConfig::default()
        };
        let asked = self.consumer.request_batch(request, self.inbox.clone());
        tokio::select! {
            biased;
            () = self.nats.shared.link.lost(self.period) => return None,
            asked = asked => asked.ok()?,
        }
        self.owed.asked(self.bytes);
        Some(())
    }

    fn stored(&mut self, message: Message) -> Option<Stored> {
        self.owed.pay(1, message.length);
        let message = jetstream::Message { message, context: self.nats.js().clone() };
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
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;

    fn status(pending: Option<(usize, usize)>) -> Message {
        let headers = pending.map(|(messages, bytes)| {
            let mut headers = HeaderMap::new();
            headers.insert(MESSAGES, messages.to_string());
            headers.insert(BYTES, bytes.to_string());
            headers
        });
        Message {
            subject: "s".into(),
            reply: None,
            payload: Bytes::new(),
            headers,
            status: Some(StatusCode::REQUEST_TERMINATED),
            description: None,
            length: 0,
        }
    }

    #[test]
    fn what_is_owed_is_what_was_asked_for_and_has_not_come() {
        let mut owed = Owed::default();
        assert!(owed.is_little(1_000));
        owed.asked(1_000);
        assert!(!owed.is_little(1_000));
        owed.pay(1, 400);
        assert!(!owed.is_little(1_000));
        owed.pay(1, 100);
        assert!(owed.is_little(1_000), "half of the bytes are here");
        owed.asked(1_000);
        assert!(!owed.is_little(1_000));
        // The first one is over: what it had left was too little for the next message.
        owed.ended(&status(Some((AHEAD - 2, 500))), 1_000);
        assert_eq!(owed, Owed { messages: AHEAD, bytes: 1_000 });
        for _ in 0..AHEAD / 2 {
            owed.pay(1, 1);
        }
        assert!(owed.is_little(1_000), "half of the messages are here");
        owed.ended(&status(None), 1_000);
        assert_eq!(owed, Owed::default(), "of one that says nothing, all is taken off");
    }
}
