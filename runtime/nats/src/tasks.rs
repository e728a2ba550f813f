//! The queue lane: a work queue in memory storage, one shared consumer for each capability.
//!
//! The stream vanishes when its server restarts, and a consumer may vanish at any time. The next
//! offer makes the stream again, and so does whoever looks how full the queue is; that one makes
//! the consumer, too, for an offer does not see that it is gone. An agent makes consumers, but
//! never the stream.

mod done;
mod offer;

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::context::{ConsumerInfoErrorKind, CreateStreamErrorKind};
use async_nats::jetstream::message::AckKind;
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind, InfoError};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use skep_broker::{Delivered, Hold, QueueDepth, RequestError, Settle, Tasks, Unavailable};
use skep_protocol::{Task, decode};
use tokio::time::Instant;

use crate::connect::chain;
use crate::layout::token;
use crate::nats::{Nats, locked};
pub(crate) use done::Acknowledging;

/// Pause before a queue that vanished is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// Longest pause before a queue that is not there yet is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How often a queue that vanishes is made again for one call.
const TRIES: u32 = 5;
/// How often, and after which pauses, a queue is counted until its parts agree.
const COUNTS: u32 = 20;
const COUNT_AGAIN: Duration = Duration::from_millis(2);

impl Tasks for Nats {
    async fn offer(&self, task: Task, sending: u32) -> Result<(), RequestError> {
        self.put_all(vec![(task, sending)]).await
    }

    async fn offer_all(&self, tasks: Vec<(Task, u32)>) -> Result<(), RequestError> {
        self.put_all(tasks).await
    }

    async fn pull(
        &self,
        capability: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivered>, Unavailable> {
        let attempted = "pull tasks";
        if max == 0 {
            return Ok(Vec::new());
        }
        let until = Instant::now() + wait;
        let mut pause = TRY_AGAIN;
        loop {
            let period = self.shared.link.period();
            let consumer = self.queue(attempted, capability).await?;
            let left = until.saturating_duration_since(Instant::now());
            let Some(consumer) = consumer else {
                // Nothing was offered yet. The stream is the coordinators' to make: they know how
                // many servers have to keep it.
                if left.is_zero() {
                    return Ok(Vec::new());
                }
                tokio::time::sleep(left.min(pause)).await;
                pause = (pause * 2).min(LOOK_AGAIN);
                continue;
            };
            let fetched = tokio::select! {
                biased;
                fetched = self.fetch(&consumer, capability, max, left) => fetched,
                () = self.shared.link.lost(period) => Err("the connection was lost".to_owned()),
            };
            match fetched {
                Ok(tasks) => return Ok(tasks),
                Err(reason) => {
                    // The first to notice tells; a lost connection is told where it is noticed.
                    if self.forget_queue(capability) && period == self.shared.link.period() {
                        tracing::warn!(capability, reason, "pulling was interrupted; trying again");
                    }
                    if until.saturating_duration_since(Instant::now()) < TRY_AGAIN {
                        return Err(Unavailable { attempted, reason });
                    }
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    async fn depth(&self, capability: &str) -> Result<QueueDepth, Unavailable> {
        let mut tries = 0;
        loop {
            let kept = self.kept(capability).await?;
            tries += 1;
            let Some(depth) = self.counted(capability).await? else {
                if tries < TRIES && self.recover(capability, kept).await? {
                    continue;
                }
                return Ok(QueueDepth { waiting: kept, held: 0 });
            };
            // The consumer learns of a new task a moment late, as does the stream of an
            // acknowledgement.
            if depth.waiting + depth.held == kept || tries == COUNTS {
                return Ok(depth);
            }
            tokio::time::sleep(COUNT_AGAIN).await;
        }
    }

    async fn clear(&self, capability: &str) -> Result<(), Unavailable> {
        let attempted = "clear a queue";
        let stream = self.js().get_stream_no_info(self.layout().task_stream());
        let stream = self.api(attempted, stream).await?;
        let purge = stream.purge().filter(self.layout().task(capability));
        match self.api(attempted, async move { purge.await }).await {
            Ok(_) => Ok(()),
            // A queue that is not there is empty.
            Err(_) if self.depth(capability).await? == QueueDepth::default() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn is_missing(kind: &ConsumerInfoErrorKind) -> bool {
    matches!(kind, ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound)
}

/// Returns whether a request failed because there is no such stream.
fn is_no_stream(error: &InfoError) -> bool {
    let source = std::error::Error::source(error);
    let refusal = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    refusal.is_some_and(|refusal| refusal.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Returns whether a consumer could not be made because there is no such stream.
fn is_without_stream(error: &ConsumerError) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(refusal)
        if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

impl Nats {
    /// Returns how many tasks of a capability the stream has.
    async fn kept(&self, capability: &str) -> Result<u64, Unavailable> {
        let subject = self.layout().task(capability);
        let kept = async {
            let stream = self.js().get_stream_no_info(self.layout().task_stream()).await;
            let Ok(stream) = stream else { return Ok(0) };
            match stream.info_with_subjects(subject).await {
                Ok(subjects) => {
                    subjects.try_fold(0, |sum, (_, n)| std::future::ready(Ok(sum + n as u64))).await
                }
                Err(error) if is_no_stream(&error) => Ok(0),
                Err(error) => Err(error),
            }
        };
        self.api("read the depth of a queue", kept).await
    }

    /// Makes the queue of a capability, which has no consumer, again. Returns whether it was there
    /// before: one that was never used is left alone.
    async fn recover(&self, capability: &str, kept: u64) -> Result<bool, Unavailable> {
        let attempted = "make a queue again";
        let known = self.forget_queue(capability);
        if !known && kept == 0 {
            return Ok(false);
        }
        tracing::warn!(capability, tasks = kept, "a queue has vanished and is made again");
        if self.queue(attempted, capability).await?.is_none() {
            // All consumers went with the stream.
            self.forget_queues();
            self.make_task_stream(attempted).await?;
            self.queue(attempted, capability).await?;
        }
        Ok(true)
    }

    /// Returns how many tasks of a capability its consumer knows of; `None` if it has none.
    async fn counted(&self, capability: &str) -> Result<Option<QueueDepth>, Unavailable> {
        let info = async {
            let stream = self.js().get_stream_no_info(self.layout().task_stream()).await;
            let Ok(stream) = stream else { return Ok(None) };
            match stream.consumer_info(token(capability)).await {
                Ok(info) => Ok(Some(info)),
                Err(error) if is_missing(&error.kind()) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let info = self.api("read the depth of a queue", info).await?;
        Ok(info.map(|info| QueueDepth {
            waiting: info.num_pending,
            held: info.num_ack_pending as u64,
        }))
    }

    /// Returns the consumer of a capability, which is made if it is not there; `None` if there is
    /// no stream.
    async fn queue(
        &self,
        attempted: &'static str,
        capability: &str,
    ) -> Result<Option<Consumer<pull::Config>>, Unavailable> {
        let period = self.shared.link.period();
        if let Some((made, consumer)) = locked(&self.shared.queues).get(capability)
            && *made == period
        {
            return Ok(Some(consumer.clone()));
        }
        let stream = self.layout().task_stream();
        let config = self.layout().queue_consumer(capability, self.shared.ack_wait);
        let made = async {
            match self.js().create_consumer_on_stream(config, stream).await {
                Ok(consumer) => Ok(Some(consumer)),
                Err(error) if is_without_stream(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let consumer = self.api(attempted, made).await?;
        if let Some(consumer) = &consumer {
            let mut queues = locked(&self.shared.queues);
            queues.insert(capability.to_owned(), (period, consumer.clone()));
        }
        Ok(consumer)
    }

    /// Makes the stream of the queue lane, unless it is there, whatever its settings.
    async fn make_task_stream(&self, attempted: &'static str) -> Result<(), Unavailable> {
        let config = self.layout().task_config(self.shared.replicas.unwrap_or(1));
        let made = async {
            match self.js().create_stream(config).await {
                Err(error) if already_there(&error.kind()) => Ok(()),
                made => made.map(drop),
            }
        };
        self.api(attempted, made).await
    }

    /// Forgets the consumer of a capability, and returns whether it was known.
    fn forget_queue(&self, capability: &str) -> bool {
        locked(&self.shared.queues).remove(capability).is_some()
    }

    fn forget_queues(&self) {
        locked(&self.shared.queues).clear();
    }

    /// Takes what there is, or waits for the first task.
    async fn fetch(
        &self,
        consumer: &Consumer<pull::Config>,
        capability: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivered>, String> {
        let mut request = consumer.fetch().max_messages(max);
        if wait >= Duration::from_millis(1) {
            request = request.expires(wait);
        }
        let mut batch = request.messages().await.map_err(|error| chain(&error))?;
        let (mut tasks, queue) = (Vec::new(), Arc::from(capability));
        while let Some(message) = batch.next().await {
            match message {
                Ok(message) => tasks.extend(self.delivered(message, &queue).await),
                Err(_) if !tasks.is_empty() => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(tasks)
    }

    /// Reads a pulled message; what names no attempt is taken out of the queue.
    async fn delivered(
        &self,
        message: jetstream::Message,
        capability: &Arc<str>,
    ) -> Option<Delivered> {
        let deliveries = message.info().ok().and_then(|info| u64::try_from(info.delivered).ok());
        let reply = message.message.reply.clone()?;
        let (task, unread) = match decode::<Task>(&message.payload) {
            Ok(task) => (Some(task), None),
            Err(error) => {
                let cause = chain(&error);
                self.warn_once::<Task>(&message.subject, &cause);
                (Task::named_by(&message.payload, capability), Some(cause))
            }
        };
        let Some(task) = task else {
            self.confirmed(reply, AckKind::Term).await.ok();
            return None;
        };
        let (nats, capability) = (self.clone(), Arc::clone(capability));
        let hold = Hold::new(move |settle| {
            let (nats, capability, reply) = (nats.clone(), Arc::clone(&capability), reply.clone());
            async move { nats.settle(&capability, reply, settle).await }.boxed()
        });
        Some(Delivered { task, deliveries: deliveries.unwrap_or(1), unread, hold })
    }

    async fn settle(
        &self,
        capability: &str,
        reply: Subject,
        settle: Settle,
    ) -> Result<(), Unavailable> {
        let kind = match settle {
            Settle::Ack => return self.shared.acknowledging.acknowledge(capability, reply).await,
            Settle::Return(delay) if delay.is_zero() => AckKind::Nak(None),
            Settle::Return(delay) => AckKind::Nak(Some(delay)),
            Settle::Extend => AckKind::Progress,
        };
        self.confirmed(reply, kind).await
    }

    /// Tells the consumer what becomes of a message, and waits until it has understood. Not by the
    /// client's own means, which subscribe anew each time. That nobody listens is an answer, too:
    /// the queue has vanished, and the task with it.
    async fn confirmed(&self, reply: Subject, kind: AckKind) -> Result<(), Unavailable> {
        let asked = self.shared.mux.ask(reply.to_string(), None, kind.into());
        self.api("settle a task", asked).await.map(drop)
    }
}

/// Returns whether a stream could not be made because it exists with other settings.
pub(crate) fn already_there(kind: &CreateStreamErrorKind) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NAME_EXIST)
}
