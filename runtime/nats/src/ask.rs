//! Asking over core NATS, and noticing that nobody is left to answer.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::client::{Request, RequestErrorKind};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_broker::{RequestError, Unavailable};
use skep_protocol::{decode, encode};

use crate::connect::chain;
use crate::nats::{Interrupted, Nats, PING};

/// Pause before asking again when nobody listens just after the connection came back.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// An asker without an answer pings after this long, and then ever less often.
const PING_FIRST: Duration = Duration::from_millis(100);
const PING_AFTER: Duration = Duration::from_secs(1);

impl Nats {
    /// Asks, and waits for the answer.
    pub(crate) async fn ask<M: Serialize + Sync, R: DeserializeOwned>(
        &self,
        what: impl Fn() -> String,
        subject: String,
        message: &M,
        within: Duration,
    ) -> Result<R, RequestError> {
        let payload = encode(message);
        let (size, limit) = (payload.len(), self.shared.client.max_payload());
        if size > limit {
            return Err(RequestError::TooLarge { what: what(), size, limit });
        }
        loop {
            match self.ask_once(&what, &subject, payload.clone(), within).await {
                Err(RequestError::NoResponders { .. }) if self.shared.link.is_settling() => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once<R: DeserializeOwned>(
        &self,
        what: &impl Fn() -> String,
        subject: &str,
        payload: Bytes,
        within: Duration,
    ) -> Result<R, RequestError> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let timed_out = || RequestError::TimedOut { what: what(), within_ms };
        let unavailable =
            |reason| RequestError::Unavailable(Unavailable { attempted: "ask over NATS", reason });
        let size = payload.len();
        let request = Request::new().payload(payload).timeout(Some(within));
        let sent = self.shared.client.send_request(subject.to_owned(), request);
        let answered = tokio::select! {
            biased;
            answered = self.while_connected(within, sent) => answered,
            () = self.deserted(subject) => {
                return Err(RequestError::NoResponders { what: what() });
            }
        };
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return Err(match error.kind() {
                    RequestErrorKind::NoResponders => RequestError::NoResponders { what: what() },
                    RequestErrorKind::TimedOut => timed_out(),
                    RequestErrorKind::MaxPayloadExceeded => {
                        let limit = self.shared.client.max_payload();
                        RequestError::TooLarge { what: what(), size, limit }
                    }
                    RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                        unavailable(chain(&error))
                    }
                });
            }
            Err(Interrupted::TimedOut) => return Err(timed_out()),
            Err(interrupted @ (Interrupted::NotConnected | Interrupted::Lost)) => {
                return Err(unavailable(interrupted.to_string()));
            }
        };
        decode(&answer.payload).map_err(|error| unavailable(chain(&error)))
    }

    /// Waits until nobody listens to a subject any more: whoever took a request is gone, too.
    async fn deserted(&self, subject: &str) {
        let mut pause = PING_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PING_AFTER);
            let mut headers = HeaderMap::new();
            headers.insert(PING, "1");
            let ping = Request::new().headers(headers).timeout(Some(PING_AFTER));
            let pinged = self.shared.client.send_request(subject.to_owned(), ping).await;
            let nobody = pinged.is_err_and(|e| e.kind() == RequestErrorKind::NoResponders);
            if nobody && !self.shared.link.is_settling() {
                return;
            }
        }
    }
}
