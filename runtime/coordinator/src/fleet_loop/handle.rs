//! The way to the loop of the fleet.

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
pub(crate) fn send_all(answers: impl IntoIterator<Item = Answer>) {
    answers.into_iter().for_each(|(responder, reply)| responder.send(reply));
}

/// The way to the loop.
#[derive(Debug, Clone)]
pub(crate) struct FleetHandle(mpsc::Sender<Message>);

impl FleetHandle {
    pub(super) const fn new(sender: mpsc::Sender<Message>) -> Self {
        Self(sender)
    }

    /// Tells the fleet something; waits while it has too much to do.
    pub(crate) async fn tell(&self, input: FleetInput) {
        self.tell_all(vec![input], Vec::new()).await;
    }

    /// Tells the fleet several things that happened at once, and has it answer reports when the
    /// tasks that follow leave: what comes together costs an agent less.
    pub(crate) async fn tell_all(&self, inputs: Vec<FleetInput>, answers: Vec<Answer>) {
        let message = Message::Inputs { inputs, answers };
        if let Err(mpsc::error::SendError(Message::Inputs { answers, .. })) =
            self.0.send(message).await
        {
            // Without the loop the coordinator is about to end.
            send_all(answers);
        }
    }

    /// Tells the fleet that this coordinator does not own a partition any more, and waits until
    /// nothing that it owed is sent any more.
    pub(crate) async fn dropped(&self, partition: PartitionId) {
        let (forgotten, done) = oneshot::channel();
        let _ = self.0.send(Message::Dropped { partition, forgotten }).await;
        let _ = done.await;
    }

    pub(crate) async fn agents(&self) -> Vec<AgentView> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Message::Agents { answer }).await;
        answered.await.unwrap_or_default()
    }

    pub(crate) async fn breakers(&self) -> Vec<BreakerView> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Message::Breakers { answer }).await;
        answered.await.unwrap_or_default()
    }

    /// Returns the capability of a breaker that this coordinator has seen calls of.
    pub(crate) async fn capability_of(&self, breaker: String) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Message::CapabilityOf { breaker, answer }).await;
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
        let _ = self.0.send(Message::Order { order, capability, answer }).await;
        // It is about to end: somebody else obeys.
        answered.await.unwrap_or(Err(Rejection::NotOwner {}))
    }

    pub(crate) async fn places(&self, attempts: Vec<AttemptId>) -> Vec<Place> {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Message::Place { attempts, answer }).await;
        answered.await.unwrap_or_default()
    }
}
