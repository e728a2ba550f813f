//! Tasks put into their queues: many share one acknowledgement.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use bytes::Bytes;
use futures::future::join_all;
use skep_broker::{RequestError, Unavailable};
use skep_protocol::{AttemptId, Hash, Task, encode};

use super::{TRIES, TRY_AGAIN};
use crate::connect::chain;
use crate::nats::Nats;

/// Tasks that share one acknowledgement.
const TOGETHER: usize = 256;
/// What the headers of a task take, with the text of a hash, in bytes.
const HEAD: usize = "NATS/1.0\r\nNats-Msg-Id: ".len() + 2 * size_of::<Hash>() + "\r\n\r\n".len();

/// A task on its way into its queue.
struct Offer {
    attempt: AttemptId,
    headers: HeaderMap,
    payload: Bytes,
}

impl Offer {
    fn new(task: &Task, sending: u32) -> Self {
        let attempt = task.id();
        let id = Hash::of(format!("{attempt}#{sending}").as_bytes());
        let headers = [(NATS_MESSAGE_ID, id.to_string().into())].into_iter().collect();
        Self { attempt, headers, payload: encode(task) }
    }

    /// Returns how much it takes of what the server takes in one message.
    const fn size(&self) -> usize {
        HEAD + self.payload.len()
    }

    fn too_large(&self, limit: usize) -> RequestError {
        let what = format!("the task of {}", self.attempt);
        RequestError::TooLarge { what, size: self.size(), limit }
    }
}

/// Why tasks could not be put into their queue.
enum PutError {
    NoStream,
    Other(String),
}

impl From<PublishError> for PutError {
    fn from(error: PublishError) -> Self {
        if error.kind() == PublishErrorKind::StreamNotFound {
            return Self::NoStream;
        }
        Self::Other(chain(&error))
    }
}

impl Nats {
    /// Puts tasks into the queues of their capabilities; what is wrong with one of these keeps no
    /// task of another away.
    pub(super) async fn put_all(&self, tasks: Vec<(Task, u32)>) -> Result<(), RequestError> {
        let limit = self.shared.client.max_payload();
        let mut outcome = Ok(());
        let mut queues: BTreeMap<String, Vec<Offer>> = BTreeMap::new();
        for (task, sending) in tasks {
            match Offer::new(&task, sending) {
                offer if offer.size() <= limit => {
                    queues.entry(task.capability).or_default().push(offer);
                }
                offer => outcome = outcome.and_then(|()| Err(offer.too_large(limit))),
            }
        }
        let put = queues.iter().map(|(capability, offers)| self.put(capability, offers));
        join_all(put).await.into_iter().fold(outcome, Result::and)
    }

    /// Puts tasks into their queue, which is made if it is not there.
    async fn put(&self, capability: &str, offers: &[Offer]) -> Result<(), RequestError> {
        let attempted = "offer tasks";
        let unavailable = |reason| RequestError::from(Unavailable { attempted, reason });
        for _ in 0..TRIES {
            if self.queue(attempted, capability).await?.is_none() {
                self.make_task_stream(attempted).await?;
                continue;
            }
            let publishing = self.publish(capability, offers);
            match self.while_connected(self.patience(), publishing).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(PutError::NoStream)) => {
                    self.forget_queues();
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                Ok(Err(PutError::Other(reason))) => return Err(unavailable(reason)),
                Err(interrupted) => return Err(unavailable(interrupted.to_string())),
            }
        }
        Err(unavailable("the queue vanishes again and again".to_owned()))
    }

    /// Publishes tasks, and waits until some of them are stored, of which the last is one: the
    /// server stores what comes over one connection in its order. What it stores of the others it
    /// does not tell, nor if it has no room for one: whoever asks how full the queue is sees that.
    async fn publish(&self, capability: &str, offers: &[Offer]) -> Result<(), PutError> {
        let subject = self.layout().task(capability);
        let mut stored = Vec::new();
        for (number, Offer { headers, payload, .. }) in (1..).zip(offers) {
            let (to, headers, payload) = (subject.clone(), headers.clone(), payload.clone());
            if number % TOGETHER == 0 || number == offers.len() {
                stored.push(self.js().publish_with_headers(to, headers, payload).await?);
            } else {
                let sent = self.shared.client.publish_with_headers(to, headers, payload).await;
                sent.map_err(|error| PutError::Other(chain(&error)))?;
            }
        }
        for stored in stored {
            stored.await?;
        }
        Ok(())
    }
}
