//! Requests and their answers in memory.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_protocol::limits::MAX_MESSAGE;
use skep_protocol::{
    AgentId, Answer, Command, CommandReply, Control, Delivery, PartitionId, Query, QueryReply,
    TaskBatch,
};
use tokio::time::timeout;

use super::Embedded;
use super::part::{Part, Taking};
use crate::error::{RequestError, Unavailable};
use crate::memory::{AskRefused, Deserted, Mailboxes, Waiter, Weigh};
use crate::requests::{Commands, Direct, Queries, Request, Requests, Responder};

/// What a message is for, in the words of an error.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    Commands(PartitionId),
    Queries,
    Tasks(&'a AgentId),
    Reports(PartitionId),
    Task(&'a str),
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commands(partition) => write!(f, "commands of partition {partition}"),
            Self::Queries => write!(f, "queries"),
            Self::Tasks(agent) => write!(f, "tasks of agent {agent}"),
            Self::Reports(partition) => write!(f, "reports of partition {partition}"),
            Self::Task(capability) => write!(f, "a task of `{capability}`"),
        }
    }
}

type Mailbox<K, M, R> = Arc<Part<Mailboxes<K, M, R>>>;

impl Commands for Embedded {
    async fn command(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> Result<CommandReply, RequestError> {
        let what = What::Commands(partition);
        check_size(&command, MAX_MESSAGE, what)?;
        let within = self.parts.settings.request_timeout;
        ask(&self.parts.commands, &partition, command, within, what).await
    }

    async fn serve_commands(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<Command, CommandReply>, Unavailable> {
        Ok(serve(&self.parts.commands, partition))
    }
}

impl Queries for Embedded {
    async fn query(&self, query: Query) -> Result<QueryReply, RequestError> {
        let what = What::Queries;
        self.check_size(&query, what)?;
        let within = self.parts.settings.request_timeout + query_wait(&query);
        ask(&self.parts.queries, &(), query, within, what).await
    }

    async fn serve_queries(&self) -> Result<Requests<Query, QueryReply>, Unavailable> {
        Ok(serve(&self.parts.queries, ()))
    }
}

impl Direct for Embedded {
    async fn deliver(&self, agent: &AgentId, tasks: &TaskBatch) -> Result<Delivery, RequestError> {
        let what = What::Tasks(agent);
        self.check_size(tasks, what)?;
        let within = self.parts.settings.request_timeout;
        ask(&self.parts.deliveries, agent, tasks.clone(), within, what).await
    }

    async fn serve_tasks(
        &self,
        agent: &AgentId,
    ) -> Result<Requests<TaskBatch, Delivery>, Unavailable> {
        Ok(serve(&self.parts.deliveries, agent.clone()))
    }

    async fn control(&self, agent: Option<&AgentId>, control: Control) -> Result<(), Unavailable> {
        self.parts.controls.with(|controls, ready| match agent {
            Some(agent) => controls.tell(agent, control, ready),
            None => controls.tell_all(control, ready),
        });
        Ok(())
    }

    async fn controls(&self, agent: &AgentId) -> Result<BoxStream<'static, Control>, Unavailable> {
        Ok(super::directory::hear(&self.parts.controls, agent.clone()))
    }
}

impl Embedded {
    pub(super) fn check_size(
        &self,
        message: &impl Weigh,
        what: What<'_>,
    ) -> Result<(), RequestError> {
        check_size(message, self.parts.settings.max_message, what)
    }
}

fn check_size(message: &impl Weigh, limit: usize, what: What<'_>) -> Result<(), RequestError> {
    let size = message.weight();
    if size <= limit {
        return Ok(());
    }
    Err(RequestError::TooLarge { what: what.to_string(), size, limit })
}

fn query_wait(query: &Query) -> Duration {
    match query {
        Query::History { wait_ms, .. } => Duration::from_millis(*wait_ms),
        Query::Runs(_)
        | Query::Letters(_)
        | Query::Run { .. }
        | Query::Agents { .. }
        | Query::Breakers { .. }
        | Query::Workflows {} => Duration::ZERO,
    }
}

/// Asks, and waits for the answer.
pub(super) async fn ask<K: Ord + Clone, M, R: Answer>(
    part: &Mailbox<K, M, R>,
    key: &K,
    message: M,
    within: Duration,
    what: What<'_>,
) -> Result<R, RequestError> {
    let asker = match part.with(|mailboxes, ready| mailboxes.ask(key, message, ready)) {
        Ok(asker) => asker,
        Err(AskRefused::Nobody) => {
            return Err(RequestError::NoResponders { what: what.to_string(), sent: false });
        }
        Err(AskRefused::Full) => {
            return R::busy().ok_or_else(|| {
                let reason = format!("too many {what} wait");
                Unavailable { attempted: "send a request", reason }.into()
            });
        }
    };
    let asking = Asking { part, asker };
    match timeout(within, asking.answer()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Deserted)) => Err(RequestError::NoResponders { what: what.to_string(), sent: true }),
        Err(_) => {
            let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            Err(RequestError::TimedOut { what: what.to_string(), within_ms })
        }
    }
}

/// Waits for an answer, and gives up when dropped.
struct Asking<'a, K: Ord + Clone, M, R> {
    part: &'a Mailbox<K, M, R>,
    asker: Waiter,
}

impl<K: Ord + Clone, M, R> Asking<'_, K, M, R> {
    async fn answer(&self) -> Result<R, Deserted> {
        let asker = self.asker;
        poll_fn(|cx| self.part.poll(asker, cx, |mailboxes, _| mailboxes.outcome(asker))).await
    }
}

impl<K: Ord + Clone, M, R> Drop for Asking<'_, K, M, R> {
    fn drop(&mut self) {
        let asker = self.asker;
        self.part.remove(asker, |mailboxes, _| mailboxes.give_up(asker));
    }
}

/// Listens.
pub(super) fn serve<K, M, R>(part: &Mailbox<K, M, R>, key: K) -> Requests<M, R>
where
    K: Ord + Clone + Send + 'static,
    M: Send + 'static,
    R: Send + 'static,
{
    let listener = part.with(|mailboxes, _| mailboxes.listen(key));
    let take = |mailboxes: &mut Mailboxes<K, M, R>, listener| mailboxes.take(listener);
    let taken = Taking::new(part, listener, take, |mailboxes, listener, ready| {
        mailboxes.close(listener, ready);
    });
    let part = Arc::clone(part);
    taken
        .map(move |(asker, message)| {
            let mut owed = Owed { part: Arc::clone(&part), asker: Some(asker) };
            Request { message, responder: Responder::new(move |answer| owed.pay(answer)) }
        })
        .boxed()
}

/// An answer that is owed; the asker is told when it will never come.
struct Owed<K: Ord + Clone, M, R> {
    part: Mailbox<K, M, R>,
    asker: Option<Waiter>,
}

impl<K: Ord + Clone, M, R> Owed<K, M, R> {
    fn pay(&mut self, answer: R) {
        if let Some(asker) = self.asker.take() {
            let unwanted =
                self.part.with(|mailboxes, ready| mailboxes.answer(asker, answer, ready));
            drop(unwanted);
        }
    }
}

impl<K: Ord + Clone, M, R> Drop for Owed<K, M, R> {
    fn drop(&mut self) {
        if let Some(asker) = self.asker.take() {
            self.part.with(|mailboxes, ready| mailboxes.drop_request(asker, ready));
        }
    }
}
