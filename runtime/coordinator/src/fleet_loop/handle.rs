//! The way to the loop of the fleet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use skep_broker::Responder;
use skep_engine::fleet::FleetInput;
use skep_protocol::{
    AgentId, AgentView, AttemptId, BreakerView, Order, PartitionId, Rejection, ReportReply,
    WaitingView,
};
use tokio::sync::{mpsc, oneshot};

/// What an agent hears of its reports.
pub(crate) type Answer = (Responder<ReportReply>, ReportReply);

/// A message to the loop.
#[derive(Debug)]
pub(super) enum Message {
    Inputs {
        inputs: Vec<FleetInput>,
        /// These leave with the tasks that follow from the inputs.
        answers: Vec<Answer>,
    },
    Dropped {
        partition: PartitionId,
        forgotten: oneshot::Sender<()>,
    },
    Place {
        attempts: Vec<AttemptId>,
        answer: oneshot::Sender<Vec<Place>>,
    },
    Agents {
        answer: oneshot::Sender<Vec<AgentView>>,
    },
    Breakers {
        answer: oneshot::Sender<Vec<BreakerView>>,
    },
    CapabilityOf {
        breaker: String,
        answer: oneshot::Sender<Option<String>>,
    },
    Order {
        order: Order,
        capability: Option<String>,
        answer: oneshot::Sender<Result<(), Rejection>>,
    },
}

/// Where an attempt is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the hands of an agent.
    With(AgentId),
    /// In the hands of an agent, and perhaps stuck there.
    Stalling(AgentId, String),
    /// It waits, and for what.
    Waits(WaitingView),
    /// The fleet owes no such attempt.
    Unknown,
}

/// Answers reports.
pub(super) fn send_all(answers: impl IntoIterator<Item = Answer>) {
    answers.into_iter().for_each(|(responder, reply)| responder.send(reply));
}

/// Whether nothing is on its way to agents: then what is sent next is sent in the fewest packets,
/// and at once. Otherwise more of it comes together by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Calm(Arc<AtomicBool>);

impl Calm {
    pub(super) fn set(&self, is_calm: bool) {
        // Only what is written is shared.
        if self.get() != is_calm {
            self.0.store(is_calm, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The way to the loop.
#[derive(Debug, Clone)]
pub(crate) struct FleetHandle {
    messages: mpsc::Sender<Message>,
    calm: Calm,
}

impl FleetHandle {
    pub(super) const fn new(messages: mpsc::Sender<Message>, calm: Calm) -> Self {
        Self { messages, calm }
    }

    /// Tells the fleet something; waits while it has too much to do.
    pub(crate) async fn tell(&self, input: FleetInput) {
        self.tell_all(vec![input], Vec::new()).await;
    }

    /// Tells the fleet several things that happened at once, and answers reports: where nothing is
    /// on its way to agents, with the tasks that follow.
    pub(crate) async fn tell_all(&self, inputs: Vec<FleetInput>, mut answers: Vec<Answer>) {
        if !self.calm.get() || inputs.is_empty() {
            send_all(answers.drain(..));
        }
        if inputs.is_empty() {
            return;
        }
        let message = Message::Inputs { inputs, answers };
        if let Err(mpsc::error::SendError(Message::Inputs { answers, .. })) =
            self.messages.send(message).await
        {
            // Without the loop the coordinator is about to end.
            send_all(answers);
        }
    }

    /// Tells the fleet that this coordinator does not own a partition any more, and waits until
    /// nothing that it owed is sent any more.
    pub(crate) async fn dropped(&self, partition: PartitionId) {
        let (forgotten, done) = oneshot::channel();
        let _ = self.messages.send(Message::Dropped { partition, forgotten }).await;
        let _ = done.await;
    }

    pub(crate) async fn agents(&self) -> Vec<AgentView> {
        let (answer, answered) = oneshot::channel();
        let _ = self.messages.send(Message::Agents { answer }).await;
        answered.await.unwrap_or_default()
    }

    pub(crate) async fn breakers(&self) -> Vec<BreakerView> {
        let (answer, answered) = oneshot::channel();
        let _ = self.messages.send(Message::Breakers { answer }).await;
        answered.await.unwrap_or_default()
    }

    /// Returns the capability of a breaker that this coordinator has seen calls of.
    pub(crate) async fn capability_of(&self, breaker: String) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.messages.send(Message::CapabilityOf { breaker, answer }).await;
        answered.await.ok().flatten()
    }

    /// Does as a person says; returns once the whole cluster can know. A breaker of a step is
    /// tripped with its capability.
    pub(crate) async fn order(
        &self,
        order: Order,
        capability: Option<String>,
    ) -> Result<(), Rejection> {
        let (answer, answered) = oneshot::channel();
        let _ = self.messages.send(Message::Order { order, capability, answer }).await;
        // It is about to end: somebody else obeys.
        answered.await.unwrap_or(Err(Rejection::NotOwner {}))
    }

    pub(crate) async fn places(&self, attempts: Vec<AttemptId>) -> Vec<Place> {
        let (answer, answered) = oneshot::channel();
        let _ = self.messages.send(Message::Place { attempts, answer }).await;
        answered.await.unwrap_or_default()
    }
}
