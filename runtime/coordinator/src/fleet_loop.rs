//! The loop that owns the fleet: heartbeats in, deliveries and queue traffic out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_broker::{Broker, RequestError};
use skep_engine::fleet::{Fleet, FleetEffect, FleetInput, Link};
use skep_protocol::{
    AgentId, AgentView, AttemptId, Control, Heartbeat, PartitionCount, PartitionId, Task, TaskBatch,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::observe;
use crate::partition::unwound;

/// How often the link to the broker is looked at.
const LINK_CHECK: Duration = Duration::from_millis(200);
/// Inputs that may wait for the loop.
const INPUTS: usize = 4_096;
/// Strays that may wait for one partition.
const MAX_STRAYS: usize = 16_384;
/// Inputs that are taken in before effects are performed again.
const AT_ONCE: usize = 256;

/// What the fleet has to tell a partition.
#[derive(Debug)]
pub(crate) enum Feedback {
    Held { agent: AgentId, attempt: AttemptId },
    Lost { attempt: AttemptId, agent: Option<AgentId>, cause: String },
    Stray { agent: AgentId, attempt: AttemptId },
}

impl Feedback {
    /// Of each kind, only what was told last about an attempt is of interest.
    fn key(&self) -> (AttemptId, Kind) {
        match self {
            Self::Held { attempt, .. } => (attempt.clone(), Kind::Held),
            Self::Lost { attempt, .. } => (attempt.clone(), Kind::Lost),
            Self::Stray { attempt, .. } => (attempt.clone(), Kind::Stray),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Held,
    Lost,
    Stray,
}

/// Where a partition finds what the fleet has to tell it. Bounded by what the partition owes, and
/// a number of strays: those that find no room come again with the next heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    kept: Mutex<Kept>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    feedback: BTreeMap<(AttemptId, Kind), Feedback>,
    strays: usize,
}

impl Inbox {
    fn put(&self, feedback: Feedback) {
        let mut kept = self.kept.lock().expect("no holder panics");
        let key = feedback.key();
        if key.1 == Kind::Stray && !kept.feedback.contains_key(&key) {
            if kept.strays == MAX_STRAYS {
                return;
            }
            kept.strays += 1;
        }
        kept.feedback.insert(key, feedback);
        drop(kept);
        self.arrived.notify_one();
    }

    /// Waits until there is something.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(crate) fn take(&self) -> Vec<Feedback> {
        let kept = std::mem::take(&mut *self.kept.lock().expect("no holder panics"));
        kept.feedback.into_values().collect()
    }
}

/// A message to the loop.
#[derive(Debug)]
pub(crate) enum Message {
    Inputs(Vec<FleetInput>),
    Place { attempts: Vec<AttemptId>, answer: oneshot::Sender<Vec<Place>> },
    Agents { answer: oneshot::Sender<Vec<AgentView>> },
}

/// Where an attempt is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the hands of an agent.
    With(AgentId),
    /// It waits, and for what.
    Waits(String),
    /// The fleet owes no such attempt.
    Unknown,
}

/// The way to the loop.
#[derive(Debug, Clone)]
pub(crate) struct FleetHandle(mpsc::Sender<Message>);

impl FleetHandle {
    /// Tells the fleet something; waits while it has too much to do.
    pub(crate) async fn tell(&self, input: FleetInput) {
        self.tell_all(vec![input]).await;
    }

    /// Tells the fleet several things that happened at once.
    pub(crate) async fn tell_all(&self, inputs: Vec<FleetInput>) {
        // Without the loop the coordinator is about to end.
        let _ = self.0.send(Message::Inputs(inputs)).await;
    }

    pub(crate) async fn agents(&self) -> Vec<AgentView> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Message::Agents { answer }).await;
        answered.await.unwrap_or_default()
    }

    pub(crate) async fn places(&self, attempts: Vec<AttemptId>) -> Vec<Place> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Message::Place { attempts, answer }).await;
        answered.await.unwrap_or_default()
    }
}

/// The loop and everything in its hands.
pub(crate) struct FleetLoop<B> {
    broker: B,
    clock: Arc<Clock>,
    fleet: Fleet,
    inboxes: Arc<[Arc<Inbox>]>,
    messages: mpsc::Receiver<Message>,
    jobs: JoinSet<Option<FleetInput>>,
    effects: Vec<FleetEffect>,
}

impl<B: Broker> FleetLoop<B> {
    pub(crate) fn new(
        broker: B,
        clock: Arc<Clock>,
        count: PartitionCount,
        inboxes: Arc<[Arc<Inbox>]>,
    ) -> (Self, FleetHandle) {
        let (sender, messages) = mpsc::channel(INPUTS);
        let (fleet, jobs) = (Fleet::new(count), JoinSet::new());
        let this = Self { broker, clock, fleet, inboxes, messages, jobs, effects: Vec::new() };
        (this, FleetHandle(sender))
    }

    /// Runs until `closing`. What is on its way to agents by then is left to its fate: the next
    /// coordinator asks them what they hold.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let mut beats = listen(self.broker.clone()).await;
        let mut link = tokio::time::interval(LINK_CHECK);
        link.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut up = true;
        loop {
            let wake = self.fleet.next_wake();
            let sleep = wake.map_or(LINK_CHECK, |at| self.clock.until(at));
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                Some(done) = self.jobs.join_next() => match done {
                    Ok(Some(input)) => self.handle(input),
                    Ok(None) => {}
                    Err(error) => observe::task_died("job of the fleet", &error),
                },
                beat = beats.next() => match beat {
                    Some(beat) => self.handle(FleetInput::Beat(beat)),
                    None => beats = listen(self.broker.clone()).await,
                },
                message = self.messages.recv() => match message {
                    Some(message) => self.messages(message),
                    None => return,
                },
                _ = link.tick() => {
                    let connected = self.broker.is_connected();
                    if connected != up {
                        up = connected;
                        observe::link(up);
                        let link = if up { Link::Up } else { Link::Down };
                        self.handle(FleetInput::Link(link));
                    }
                    self.handle(FleetInput::Wake);
                }
                () = tokio::time::sleep(sleep), if wake.is_some() => self.handle(FleetInput::Wake),
            }
            // A flood of heartbeats keeps the partitions waiting no longer than one of them takes.
            if let Ok(message) = self.messages.try_recv() {
                self.messages(message);
            }
            self.perform();
        }
    }

    fn handle(&mut self, input: FleetInput) {
        self.fleet.handle(input, self.clock.now(), &mut self.effects);
    }

    fn messages(&mut self, first: Message) {
        let mut next = Some(first);
        let mut happened = Vec::new();
        for _ in 0..AT_ONCE {
            match next {
                Some(Message::Inputs(mut inputs)) => happened.append(&mut inputs),
                Some(Message::Agents { answer }) => {
                    let _ = answer.send(self.fleet.agents());
                }
                Some(Message::Place { attempts, answer }) => {
                    let _ = answer.send(attempts.iter().map(|id| self.place(id)).collect());
                }
                None => break,
            }
            next = if happened.len() < AT_ONCE { self.messages.try_recv().ok() } else { None };
        }
        self.fleet.handle_all(happened, self.clock.now(), &mut self.effects);
    }

    fn place(&self, id: &AttemptId) -> Place {
        if let Some(agent) = self.fleet.holder(id) {
            return Place::With(agent.clone());
        }
        self.fleet.explain(id, self.clock.now()).map_or(Place::Unknown, Place::Waits)
    }

    fn perform(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            let broker = self.broker.clone();
            match effect {
                FleetEffect::Deliver { agent, tasks } => {
                    self.jobs.spawn(deliver(broker, agent, tasks));
                }
                FleetEffect::Enqueue { task, sending } => {
                    self.jobs.spawn(async move {
                        // A task that did not get there is missed when the depth is asked for.
                        if let Err(error) = broker.offer(task, sending).await {
                            observe::given_up("put a task into its queue", &error);
                        }
                        None
                    });
                }
                FleetEffect::ClearQueue { capability } => {
                    self.jobs.spawn(async move {
                        if let Err(error) = broker.clear(&capability).await {
                            observe::given_up("clear a queue", &error);
                        }
                        None
                    });
                }
                FleetEffect::AskDepth { capability } => {
                    self.jobs.spawn(async move {
                        let depth = broker.depth(&capability).await.ok()?;
                        let (waiting, held) = (depth.waiting, depth.held);
                        Some(FleetInput::Depth { capability, waiting, held })
                    });
                }
                FleetEffect::CancelAttempts { agent, attempts } => {
                    self.control(Some(agent), Control::Cancel { attempts });
                }
                FleetEffect::RollCall => self.control(None, Control::RollCall {}),
                FleetEffect::Strays { agent, attempts } => self.strays(&agent, attempts),
                FleetEffect::Held { partition, agent, attempt } => {
                    self.feed(partition, Feedback::Held { agent, attempt });
                }
                FleetEffect::Lost { partition, attempt, agent, cause } => {
                    self.feed(partition, Feedback::Lost { attempt, agent, cause });
                }
            }
        }
    }

    fn control(&mut self, agent: Option<AgentId>, control: Control) {
        let broker = self.broker.clone();
        self.jobs.spawn(async move {
            if let Err(error) = broker.control(agent.as_ref(), control).await {
                observe::given_up("tell agents something", &error);
            }
            None
        });
    }

    fn strays(&self, agent: &AgentId, attempts: Vec<AttemptId>) {
        let count = PartitionCount::new(u16::try_from(self.inboxes.len()).unwrap_or(u16::MAX));
        let Some(count) = count else { return };
        for attempt in attempts {
            let agent = agent.clone();
            self.feed(count.of(attempt.run), Feedback::Stray { agent, attempt });
        }
    }

    fn feed(&self, partition: PartitionId, feedback: Feedback) {
        if let Some(inbox) = self.inboxes.get(usize::from(partition.get())) {
            inbox.put(feedback);
        }
    }
}

async fn deliver<B: Broker>(broker: B, agent: AgentId, tasks: Vec<Task>) -> Option<FleetInput> {
    let attempts: Vec<AttemptId> = tasks.iter().map(Task::id).collect();
    let delivering = unwound(broker.deliver(&agent, TaskBatch { tasks }));
    let Some(delivered) = delivering.await else {
        return Some(FleetInput::DeliveryUnknown { agent, attempts });
    };
    Some(match delivered {
        Ok(delivery) => FleetInput::Delivered { agent, attempts, refused: delivery.refused },
        Err(RequestError::NoResponders { .. }) => FleetInput::NoAgent { agent, attempts },
        Err(error) => {
            observe::delivery_failed(&agent, &error);
            FleetInput::DeliveryUnknown { agent, attempts }
        }
    })
}

async fn listen<B: Broker>(broker: B) -> BoxStream<'static, Heartbeat> {
    let mut pause = Duration::from_millis(50);
    loop {
        match broker.beats().await {
            Ok(beats) => return beats,
            Err(error) => observe::trying_again("listen to heartbeats", &error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
