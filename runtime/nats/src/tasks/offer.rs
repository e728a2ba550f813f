//! Tasks put into their queues: many with one acknowledgement.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use skep_broker::{RequestError, Unavailable};
use skep_protocol::{Hash, Task, encode};

use super::{TRIES, TRY_AGAIN};
use crate::connect::chain;
use crate::layout::Layout;
use crate::nats::Nats;

/// Tasks that share one acknowledgement.
pub(super) const TOGETHER: usize = 256;
/// What the header of a task takes, with the text of a hash, in bytes.
const HEAD: usize = 91;

/// A task on its way into its queue.
pub(super) struct Offer {
    task: Task,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Offer {
    pub(super) fn new(layout: &Layout, task: Task, sending: u32) -> Self {
        let id = Hash::of(format!("{}#{sending}", task.id()).as_bytes());
        let headers = [(NATS_MESSAGE_ID, id.to_string().into())].into_iter().collect();
        let (subject, payload) = (layout.task(&task.capability), encode(&task));
        Self { task, subject, headers, payload }
    }

    /// Returns how much of what the server takes in one message it needs.
    pub(super) const fn size(&self) -> usize {
        HEAD + self.payload.len()
    }

    pub(super) fn too_large(&self, limit: usize) -> RequestError {
        let what = format!("the task of {}", self.task.id());
        RequestError::TooLarge { what, size: self.size(), limit }
    }
}

/// Why tasks could not be put into their queues.
enum PutError {
    NoStream,
    Other(String),
}

impl Nats {
    /// Puts tasks into their queues, which are made if they are not there.
    pub(super) async fn put(&self, offers: &[Offer]) -> Result<(), RequestError> {
        let attempted = "offer tasks";
        let unavailable = |reason| RequestError::from(Unavailable { attempted, reason });
        for _ in 0..TRIES {
            if !self.has_queues(attempted, offers).await? {
                self.make_task_stream(attempted).await?;
                continue;
            }
            match self.while_connected(self.patience(), self.publish(offers)).await {
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

    /// Returns whether there is a stream of tasks, with a consumer for each of these.
    async fn has_queues(
        &self,
        attempted: &'static str,
        offers: &[Offer],
    ) -> Result<bool, Unavailable> {
        let mut known = None;
        for Offer { task, .. } in offers {
            if known.replace(&task.capability) == Some(&task.capability) {
                continue;
            }
            if self.queue(attempted, &task.capability).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Publishes tasks, and waits until the last one is stored: the server stores what comes over
    /// one connection in its order, and tells what comes without a question nobody. Should one
    /// before it get lost, it is missed when the depth is asked for.
    async fn publish(&self, offers: &[Offer]) -> Result<(), PutError> {
        let Some((last, before)) = offers.split_last() else { return Ok(()) };
        for Offer { subject, headers, payload, .. } in before {
            let client = &self.shared.client;
            let sent =
                client.publish_with_headers(subject.clone(), headers.clone(), payload.clone());
            sent.await.map_err(|error| PutError::Other(chain(&error)))?;
        }
        let (headers, payload) = (last.headers.clone(), last.payload.clone());
        let published = self.js().publish_with_headers(last.subject.clone(), headers, payload);
        match async { published.await?.await }.await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                Err(PutError::NoStream)
            }
            Err(error) => Err(PutError::Other(chain(&error))),
        }
    }
}
