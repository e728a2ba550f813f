//! Asking over core NATS, and noticing that nobody is left to answer.

use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_broker::{RequestError, Unavailable};
use skep_protocol::limits::MAX_MESSAGE;
use skep_protocol::{decode, encode};

use crate::connect::chain;
use crate::groups::Shared;
use crate::mux::AskError;
use crate::nats::{Interrupted, Nats};
use crate::parts::{self, Whole};

/// Pause before asking again when nobody listens just after the connection came back.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How large a request and its answer may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Each is one message: the cheap way.
    OneMessage,
    /// The request is one message, because those who listen share the messages among them; the
    /// answer may have up to [`MAX_MESSAGE`] bytes, in parts.
    LargeAnswer,
    /// Each may have up to [`MAX_MESSAGE`] bytes, in parts; small ones may share a message.
    Large,
}

/// Why one exchange had no answer.
enum Failed {
    NoResponders { sent: bool },
    TooLarge { answer: bool, size: usize, limit: usize },
    Other(String),
}

impl Nats {
    /// Asks, and waits for the answer.
    pub(crate) async fn ask<M: Serialize + Sync, R: DeserializeOwned>(
        &self,
        what: impl Fn() -> String,
        (subject, extent): (String, Extent),
        message: &M,
        within: Duration,
    ) -> Result<R, RequestError> {
        let payload = encode(message);
        let (size, limit) = match extent {
            Extent::OneMessage | Extent::LargeAnswer => {
                (payload.len(), self.shared.client.max_payload())
            }
            Extent::Large => (payload.len(), MAX_MESSAGE),
        };
        if size > limit {
            return Err(RequestError::TooLarge { what: what(), size, limit });
        }
        let mut sent_before = false;
        loop {
            match self.ask_once(&what, (&subject, extent), payload.clone(), within).await {
                Err(RequestError::NoResponders { sent, .. }) if self.shared.link.is_settling() => {
                    sent_before |= sent;
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Err(RequestError::NoResponders { what, sent }) => {
                    return Err(RequestError::NoResponders { what, sent: sent || sent_before });
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once<R: DeserializeOwned>(
        &self,
        what: &impl Fn() -> String,
        (subject, extent): (&str, Extent),
        payload: Bytes,
        within: Duration,
    ) -> Result<R, RequestError> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let timed_out = || RequestError::TimedOut { what: what(), within_ms };
        let unavailable =
            |reason| RequestError::Unavailable(Unavailable { attempted: "ask over NATS", reason });
        let exchange = async {
            match extent {
                Extent::OneMessage => self.exchange(subject, payload).await,
                Extent::LargeAnswer => Box::pin(self.exchange_parts(subject, payload)).await,
                Extent::Large => self.exchange_shared(subject, payload).await,
            }
        };
        let answered = tokio::select! {
            biased;
            answered = self.while_connected(within, exchange) => answered,
            () = self.deserted(subject) => {
                return Err(RequestError::NoResponders { what: what(), sent: true });
            }
        };
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(Failed::NoResponders { sent })) => {
                return Err(RequestError::NoResponders { what: what(), sent });
            }
            Ok(Err(Failed::TooLarge { answer, size, limit })) => {
                let what = if answer { format!("the answer to {}", what()) } else { what() };
                return Err(RequestError::TooLarge { what, size, limit });
            }
            Ok(Err(Failed::Other(reason))) => return Err(unavailable(reason)),
            Err(Interrupted::TimedOut) => return Err(timed_out()),
            Err(interrupted @ (Interrupted::NotConnected | Interrupted::Lost)) => {
                return Err(unavailable(interrupted.to_string()));
            }
        };
        decode(&answer).map_err(|error| unavailable(chain(&error)))
    }

    /// Sends one message and waits for one message.
    async fn exchange(&self, subject: &str, payload: Bytes) -> Result<Bytes, Failed> {
        let size = payload.len();
        match self.shared.mux.ask(subject.to_owned(), None, payload).await {
            Ok(answer) if nobody_listens(&answer) => Err(Failed::NoResponders { sent: false }),
            Ok(answer) => Ok(answer.payload),
            Err(AskError::Publish(error))
                if error.kind() == PublishErrorKind::MaxPayloadExceeded =>
            {
                let limit = self.shared.client.max_payload();
                Err(Failed::TooLarge { answer: false, size, limit })
            }
            Err(error) => Err(Failed::Other(chain(&error))),
        }
    }

    /// Sends as many messages as it takes, and waits for as many.
    async fn exchange_parts(&self, subject: &str, payload: Bytes) -> Result<Bytes, Failed> {
        let client = &self.shared.client;
        let mut answers = self.shared.mux.expect_parts();
        let reply = answers.reply.as_str().into();
        let sent = parts::send(client, subject.into(), Some(reply), payload).await;
        sent.map_err(|error| Failed::Other(chain(&error)))?;
        let mut whole = Whole::default();
        while let Some(part) = answers.next().await {
            if nobody_listens(&part) {
                return Err(Failed::NoResponders { sent: false });
            }
            let limit = MAX_MESSAGE;
            let taken = whole.take(&part);
            let taken = taken.map_err(|size| Failed::TooLarge { answer: true, size, limit })?;
            if let Some(answer) = taken {
                return Ok(answer);
            }
        }
        Err(Failed::Other("the connection to NATS was closed".to_owned()))
    }

    /// Sends a message, together with what others send there if they do, and waits for the answer.
    async fn exchange_shared(&self, subject: &str, payload: Bytes) -> Result<Bytes, Failed> {
        let (under_way, shared) = self.shared.groups.begin(subject, &payload);
        // Most share a message, and need no room for more.
        let alone = |payload| Box::pin(self.exchange_parts(subject, payload));
        let Some(answer) = shared else { return alone(payload).await };
        match answer.await {
            Ok(Shared::Answer(answer)) => Ok(answer),
            Ok(Shared::Nobody) => Err(Failed::NoResponders { sent: false }),
            Ok(Shared::Alone) => {
                under_way.alone_from_here();
                // Whoever read the message of several may have done something of it.
                alone(payload).await.map_err(|failed| match failed {
                    Failed::NoResponders { .. } => Failed::NoResponders { sent: true },
                    other @ (Failed::TooLarge { .. } | Failed::Other(_)) => other,
                })
            }
            Ok(Shared::Unsent(reason)) => Err(Failed::Other(reason)),
            Err(_) => Err(Failed::Other("the connection to NATS was closed".to_owned())),
        }
    }
}

/// Returns whether an answer is the server's word that nobody listens.
pub(crate) fn nobody_listens(answer: &Message) -> bool {
    answer.status == Some(StatusCode::NO_RESPONDERS)
}
