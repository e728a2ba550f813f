//! The queues of the queue lane.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use skep_protocol::{AttemptId, Task, Timestamp};

use super::Settings;
use super::waiter::{Mint, Ready, Waiter};
use crate::tasks::{QueueDepth, Settle};

/// The queue holds as many tasks as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// Names one delivery of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    capability: Arc<str>,
    number: Number,
    deliveries: u64,
}

/// Orders the tasks of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number(u64);

/// A task that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Settles it.
    pub ticket: Ticket,
    /// The task.
    pub task: Task,
    /// How often it was delivered, this time included.
    pub deliveries: u64,
}

/// The queue of each capability.
///
/// Tasks leave in the order in which they came; one that comes again goes first.
#[derive(Debug)]
pub struct Queues {
    ack_wait: Duration,
    max_queued: usize,
    queues: BTreeMap<String, Queue>,
    sendings: Sendings,
    offered: u64,
    mint: Mint,
}

#[derive(Debug, Default)]
struct Queue {
    entries: BTreeMap<Number, Entry>,
    waiting: BTreeSet<Number>,
    /// What comes (again) by itself, and when: tasks held, and tasks given back with a delay.
    due: BTreeSet<(Timestamp, Number)>,
    held: u64,
    pullers: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Entry {
    task: Task,
    deliveries: u64,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Held { until: Timestamp },
    Delayed { until: Timestamp },
}

/// The sendings seen within the window, so that each is kept once.
#[derive(Debug)]
struct Sendings {
    window: Duration,
    max: usize,
    seen: BTreeSet<(AttemptId, u32)>,
    order: VecDeque<(Timestamp, AttemptId, u32)>,
}

impl Queues {
    /// Creates empty queues.
    pub fn new(settings: &Settings) -> Self {
        Self {
            ack_wait: settings.ack_wait,
            max_queued: settings.max_queued,
            queues: BTreeMap::new(),
            sendings: Sendings {
                window: settings.dedup_window,
                max: settings.max_queued,
                seen: BTreeSet::new(),
                order: VecDeque::new(),
            },
            offered: 0,
            mint: Mint::default(),
        }
    }

    /// Puts a task into the queue of its capability, unless this sending was seen before.
    ///
    /// # Errors
    /// [`QueueFull`]: the task was not taken.
    pub fn offer(
        &mut self,
        task: Task,
        sending: u32,
        now: Timestamp,
        ready: &mut Ready,
    ) -> Result<(), QueueFull> {
        let queue = self.queues.entry(task.capability.clone()).or_default();
        if self.sendings.saw(&task, sending, now) {
            return Ok(());
        }
        if queue.entries.len() >= self.max_queued {
            return Err(QueueFull);
        }
        self.sendings.see(&task, sending, now);
        self.offered += 1;
        let number = Number(self.offered);
        queue.entries.insert(number, Entry { task, deliveries: 0, place: Place::Waiting });
        queue.waiting.insert(number);
        queue.rouse(ready);
        Ok(())
    }

    /// Takes up to `max` tasks.
    pub fn pull(
        &mut self,
        capability: &str,
        max: usize,
        now: Timestamp,
        ready: &mut Ready,
    ) -> Vec<Pulled> {
        let until = later(now, self.ack_wait);
        let Some(queue) = self.queues.get_mut(capability) else { return Vec::new() };
        queue.come_due(now);
        let capability: Arc<str> = capability.into();
        let mut pulled = Vec::with_capacity(max.min(queue.waiting.len()));
        while pulled.len() < max
            && let Some(number) = queue.waiting.pop_first()
        {
            let Some(entry) = queue.entries.get_mut(&number) else { continue };
            entry.deliveries += 1;
            let (task, deliveries) = (entry.task.clone(), entry.deliveries);
            let ticket = Ticket { capability: Arc::clone(&capability), number, deliveries };
            pulled.push(Pulled { ticket, task, deliveries });
            queue.put(number, Place::Held { until });
        }
        queue.rouse(ready);
        pulled
    }

    /// Waits for a task to pull, as the last of all who wait; again if `puller` is named.
    pub fn wait(&mut self, capability: &str, puller: Option<Waiter>) -> Waiter {
        let puller = puller.unwrap_or_else(|| self.mint.waiter());
        let queue = self.queues.entry(capability.to_owned()).or_default();
        if !queue.pullers.contains(&puller) {
            queue.pullers.push_back(puller);
        }
        puller
    }

    /// Returns whether `puller` stands in the row of those who wait; being named takes it out.
    pub fn is_waiting(&self, capability: &str, puller: Waiter) -> bool {
        self.queues.get(capability).is_some_and(|queue| queue.pullers.contains(&puller))
    }

    /// Waits no longer. Another one gets the turn of `puller`.
    pub fn leave(&mut self, capability: &str, puller: Waiter, ready: &mut Ready) {
        let Some(queue) = self.queues.get_mut(capability) else { return };
        queue.pullers.retain(|other| *other != puller);
        queue.rouse(ready);
    }

    /// Returns when something changes in the queue by itself.
    pub fn next_wake(&self, capability: &str) -> Option<Timestamp> {
        self.queues.get(capability)?.due.first().map(|(at, _)| *at)
    }

    /// Settles a task. An acknowledgement always counts; giving back and extending count only for
    /// the latest delivery, and only while it is held.
    pub fn settle(&mut self, ticket: &Ticket, settle: Settle, now: Timestamp, ready: &mut Ready) {
        let Ticket { capability, number, deliveries } = ticket;
        let Some(queue) = self.queues.get_mut(&**capability) else { return };
        queue.come_due(now);
        let Some(entry) = queue.entries.get(number) else { return };
        let latest = entry.deliveries == *deliveries && matches!(entry.place, Place::Held { .. });
        match settle {
            Settle::Ack => queue.remove(*number),
            Settle::Extend if latest => {
                queue.put(*number, Place::Held { until: later(now, self.ack_wait) });
            }
            Settle::Return(delay) if latest && delay.is_zero() => {
                queue.put(*number, Place::Waiting);
            }
            Settle::Return(delay) if latest => {
                queue.put(*number, Place::Delayed { until: later(now, delay) });
                // One of those who wait learns that something changes sooner.
                ready.extend(queue.pullers.pop_front());
            }
            Settle::Extend | Settle::Return(_) => {}
        }
        queue.rouse(ready);
    }

    /// Returns how full the queue is.
    pub fn depth(&mut self, capability: &str, now: Timestamp) -> QueueDepth {
        let Some(queue) = self.queues.get_mut(capability) else { return QueueDepth::default() };
        queue.come_due(now);
        QueueDepth { waiting: queue.entries.len() as u64 - queue.held, held: queue.held }
    }

    /// Drops every task of the queue, those held included.
    pub fn clear(&mut self, capability: &str) {
        if let Some(queue) = self.queues.get_mut(capability) {
            queue.clear();
        }
    }

    /// Loses every task of every queue, as a broker does that restarts.
    pub fn lose(&mut self) {
        self.queues.values_mut().for_each(Queue::clear);
        self.sendings.seen.clear();
        self.sendings.order.clear();
    }
}

impl Queue {
    /// Names one puller if there is something to pull: it names the next one when it has pulled.
    fn rouse(&mut self, ready: &mut Ready) {
        if !self.waiting.is_empty() {
            ready.extend(self.pullers.pop_front());
        }
    }

    fn come_due(&mut self, now: Timestamp) {
        while let Some((at, number)) = self.due.first().copied()
            && at <= now
        {
            self.put(number, Place::Waiting);
        }
    }

    fn put(&mut self, number: Number, place: Place) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let old = std::mem::replace(&mut entry.place, place);
        self.unlist(number, old);
        match place {
            Place::Waiting => {
                self.waiting.insert(number);
            }
            Place::Delayed { until } => {
                self.due.insert((until, number));
            }
            Place::Held { until } => {
                self.held += 1;
                self.due.insert((until, number));
            }
        }
    }

    fn remove(&mut self, number: Number) {
        if let Some(entry) = self.entries.remove(&number) {
            self.unlist(number, entry.place);
        }
    }

    fn unlist(&mut self, number: Number, place: Place) {
        match place {
            Place::Waiting => {
                self.waiting.remove(&number);
            }
            Place::Delayed { until } => {
                self.due.remove(&(until, number));
            }
            Place::Held { until } => {
                self.held -= 1;
                self.due.remove(&(until, number));
            }
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.waiting.clear();
        self.due.clear();
        self.held = 0;
    }
}

impl Sendings {
    fn saw(&mut self, task: &Task, sending: u32, now: Timestamp) -> bool {
        while let Some((at, ..)) = self.order.front()
            && (self.order.len() >= self.max || later(*at, self.window) <= now)
        {
            if let Some((_, attempt, sending)) = self.order.pop_front() {
                self.seen.remove(&(attempt, sending));
            }
        }
        self.seen.contains(&(task.id(), sending))
    }

    fn see(&mut self, task: &Task, sending: u32, now: Timestamp) {
        self.seen.insert((task.id(), sending));
        self.order.push_back((now, task.id(), sending));
    }
}

/// Like [`Timestamp::after`], but rounded up, so that nothing is early.
fn later(now: Timestamp, delay: Duration) -> Timestamp {
    now.after(delay.saturating_add(Duration::from_nanos(999_999)))
}
