//! Requests and answers: commands, queries, and tasks sent directly to agents.

use std::fmt;
use std::future::Future;

use futures::stream::BoxStream;
use skep_protocol::{
    AgentId, Command, CommandReply, Control, Delivery, PartitionId, Query, QueryReply, TaskBatch,
};

use crate::error::{RequestError, Unavailable};

/// A message that wants an answer.
pub struct Request<M, R> {
    /// The message.
    pub message: M,
    /// Where the answer goes.
    pub responder: Responder<R>,
}

impl<M: fmt::Debug, R> fmt::Debug for Request<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("message", &self.message).finish_non_exhaustive()
    }
}

/// Takes the answer to one request. Dropping it leaves the asker to time out.
pub struct Responder<R>(Box<dyn FnOnce(R) + Send>);

impl<R> Responder<R> {
    /// Wraps whatever brings the answer to the asker. It must not block.
    pub fn new(send: impl FnOnce(R) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Sends the answer; if the asker is gone it is lost.
    pub fn send(self, answer: R) {
        (self.0)(answer);
    }
}

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

/// Requests as they arrive, of commands, queries, tasks and reports alike:
///
/// - **C23** With nobody listening, a request ends with `NoResponders` at once.
/// - **C24** Each asker gets the answer to its own request, in whatever order they are answered.
/// - **C25** When a listener was dropped, nobody listens any more; one that comes later is heard.
/// - **C26** A listener that goes with requests unanswered, taken or not, leaves `NoResponders` to
///   their askers, with `sent`: the request may have had its effect.
/// - **C55** So does one whose successor listens before it goes, if that takes a moment to come.
/// - **C27** A listener that stays and does not answer leaves `TimedOut`.
/// - **C28** A message over the limit is `TooLarge` and reaches nobody. The limit of a command is
///   `MAX_MESSAGE`.
/// - **C29** A request reaches only the partition, or the agent, that it is for.
/// - **C31** It reaches a listener that has just come, even if one from before still listens and
///   never answers: a successor does not depend on its predecessor.
/// - **C51** A command and the answer to a question may have `MAX_MESSAGE` bytes, however little
///   the broker takes at once.
/// - **C49** Who listens when the broker restarts is heard again afterwards.
/// - **C56** Of more commands than find room while their listener takes none, those that found none
///   are answered as busy, once it takes some at the latest. Beyond another bound, which the broker
///   sets, they are dropped, and time out.
///
/// A broker that carries bytes reads them: what it cannot read reaches no listener, and is answered
/// at once with the cause (see [`Answer`](skep_protocol::Answer)).
///
/// Dropping it stops listening, and askers learn that nobody listens.
pub type Requests<M, R> = BoxStream<'static, Request<M, R>>;

/// Client ↔ owner of a partition: what changes something.
pub trait Commands: Clone + Send + Sync + 'static {
    /// Asks the owner of `partition`.
    ///
    /// # Errors
    /// [`RequestError::NoResponders`] if the partition has no owner at the moment.
    fn command(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> impl Future<Output = Result<CommandReply, RequestError>> + Send;

    /// Listens as the owner of `partition`.
    fn serve_commands(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<Requests<Command, CommandReply>, Unavailable>> + Send;
}

/// Client ↔ any coordinator: what changes nothing.
pub trait Queries: Clone + Send + Sync + 'static {
    /// Asks one of those who listen.
    ///
    /// # Errors
    /// [`RequestError::NoResponders`] if there is no coordinator.
    fn query(&self, query: Query) -> impl Future<Output = Result<QueryReply, RequestError>> + Send;

    /// Listens; with several listeners each question reaches one of them (**C30**).
    fn serve_queries(
        &self,
    ) -> impl Future<Output = Result<Requests<Query, QueryReply>, Unavailable>> + Send;
}

/// Coordinator ↔ one agent: tasks by the direct lane, and control.
pub trait Direct: Clone + Send + Sync + 'static {
    /// Sends tasks to an agent and returns which ones it does not take.
    ///
    /// # Errors
    /// [`RequestError::NoResponders`] within milliseconds if the agent's process is gone.
    fn deliver(
        &self,
        agent: &AgentId,
        tasks: &TaskBatch,
    ) -> impl Future<Output = Result<Delivery, RequestError>> + Send;

    /// Listens as the agent.
    fn serve_tasks(
        &self,
        agent: &AgentId,
    ) -> impl Future<Output = Result<Requests<TaskBatch, Delivery>, Unavailable>> + Send;

    /// Tells one agent, or all of them, something that may be lost (**C32**).
    fn control(
        &self,
        agent: Option<&AgentId>,
        control: Control,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Listens to what this agent and all agents are told.
    fn controls(
        &self,
        agent: &AgentId,
    ) -> impl Future<Output = Result<BoxStream<'static, Control>, Unavailable>> + Send;
}
