//! The queue lane in memory.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use skep_protocol::{Task, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::requests::What;
use super::{Embedded, Parts};
use crate::error::{RequestError, Unavailable};
use crate::memory::{Pulled, QueueFull, Waiter};
use crate::tasks::{Delivered, Hold, QueueDepth, Settle, Tasks};

/// The longest wait: about thirty years, which every clock can add.
const FOREVER: Duration = Duration::from_secs(1 << 30);

impl Tasks for Embedded {
    async fn offer(&self, task: Task, sending: u32) -> Result<(), RequestError> {
        self.check_size(&task, What::Task(&task.capability))?;
        let now = self.parts.now();
        let offered =
            self.parts.queues.with(|queues, ready| queues.offer(task, sending, now, ready));
        offered.map_err(|QueueFull| {
            let reason = "the queue of its capability is full".to_owned();
            Unavailable { attempted: "offer a task", reason }.into()
        })
    }

    async fn pull(
        &self,
        capability: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivered>, Unavailable> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait.min(FOREVER);
        let mut pulling = Pulling { parts: &self.parts, capability, puller: None };
        loop {
            let (pulled, next_wake) = pulling.take(max);
            if !pulled.is_empty() {
                return Ok(pulled.into_iter().map(|task| deliver(&self.parts, task)).collect());
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            // Whatever is pulled while this one waits comes again `ack_wait` later at the soonest,
            // and what is given back with a delay wakes somebody.
            let ack_wait = now + self.parts.settings.ack_wait;
            let due = next_wake.map_or(ack_wait, |at| self.parts.instant(at).min(ack_wait));
            let until = deadline.min(due);
            let roused = pin!(pulling.roused());
            timeout_at(until, roused).await.ok();
        }
    }

    async fn depth(&self, capability: &str) -> Result<QueueDepth, Unavailable> {
        let now = self.parts.now();
        Ok(self.parts.queues.with(|queues, _| queues.depth(capability, now)))
    }

    async fn clear(&self, capability: &str) -> Result<(), Unavailable> {
        self.parts.queues.with(|queues, _| queues.clear(capability));
        Ok(())
    }
}

/// One call of `pull`; when it ends, the next one gets its turn.
struct Pulling<'a> {
    parts: &'a Parts,
    capability: &'a str,
    puller: Option<Waiter>,
}

impl Pulling<'_> {
    /// Takes tasks, or queues up and tells when something changes by itself.
    fn take(&mut self, max: usize) -> (Vec<Pulled>, Option<Timestamp>) {
        let (now, capability) = (self.parts.now(), self.capability);
        self.parts.queues.with(|queues, ready| {
            let pulled = queues.pull(capability, max, now, ready);
            if pulled.is_empty() {
                self.puller = Some(queues.wait(capability, self.puller));
            }
            (pulled, queues.next_wake(capability))
        })
    }

    /// Waits until the machine names this puller, which takes it out of the row of those who wait.
    async fn roused(&self) {
        let Some(puller) = self.puller else { return };
        poll_fn(|cx| {
            self.parts.queues.poll(puller, cx, |queues, _| {
                (!queues.is_waiting(self.capability, puller)).then_some(())
            })
        })
        .await;
    }
}

impl Drop for Pulling<'_> {
    fn drop(&mut self) {
        if let Some(puller) = self.puller {
            let capability = self.capability;
            self.parts
                .queues
                .remove(puller, |queues, ready| queues.leave(capability, puller, ready));
        }
    }
}

fn deliver(parts: &Arc<Parts>, pulled: Pulled) -> Delivered {
    let Pulled { ticket, task, deliveries } = pulled;
    let parts = Arc::clone(parts);
    let hold = Hold::new(move |settle: Settle| {
        let now = parts.now();
        parts.queues.with(|queues, ready| queues.settle(&ticket, settle, now, ready));
        Box::pin(std::future::ready(Ok(())))
    });
    Delivered { task, deliveries, unread: None, hold }
}
