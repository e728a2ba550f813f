//! Commands, queries, the direct lane and control: requests and answers of core NATS.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use skep_broker::{Commands, Direct, Queries, RequestError, Requests, Unavailable};
use skep_protocol::{
    AgentId, Command, CommandReply, Control, Delivery, PartitionId, Query, QueryReply, TaskBatch,
};

use crate::layout::Layout;
use crate::nats::{Nats, any};

/// A coordinator that has not answered a question after this share of the time is passed over once.
const ASK_ANOTHER: u32 = 4;

impl Commands for Nats {
    async fn command(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> Result<CommandReply, RequestError> {
        let what = || format!("commands of partition {partition}");
        self.ask(what, self.layout().command(partition), &command, self.patience()).await
    }

    async fn serve_commands(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<Command, CommandReply>, Unavailable> {
        let subject = self.layout().command(partition);
        self.serve("listen for commands", subject, None, any).await
    }
}

impl Queries for Nats {
    async fn query(&self, query: Query) -> Result<QueryReply, RequestError> {
        let what = || "queries".to_owned();
        let extra = patience(&query);
        let first = self.patience() / ASK_ANOTHER;
        match self.ask(what, self.layout().query(), &query, first + extra).await {
            // It may have reached one that was just leaving; asking twice changes nothing.
            Err(RequestError::TimedOut { .. }) => {
                let rest = self.patience() - first + extra;
                self.ask(what, self.layout().query(), &query, rest).await
            }
            answer => answer,
        }
    }

    async fn serve_queries(&self) -> Result<Requests<Query, QueryReply>, Unavailable> {
        let group = Some(Layout::query_group());
        self.serve("listen for queries", self.layout().query(), group, any).await
    }
}

/// Returns how long the question itself allows the answer to take.
fn patience(query: &Query) -> Duration {
    match query {
        Query::History { wait_ms, .. } => Duration::from_millis(*wait_ms),
        Query::Runs(_) | Query::Run { .. } | Query::Agents {} | Query::Workflows {} => {
            Duration::ZERO
        }
    }
}

impl Direct for Nats {
    async fn deliver(&self, agent: &AgentId, tasks: TaskBatch) -> Result<Delivery, RequestError> {
        let what = || format!("tasks of agent {agent}");
        self.ask(what, self.layout().direct(agent), &tasks, self.patience()).await
    }

    async fn serve_tasks(
        &self,
        agent: &AgentId,
    ) -> Result<Requests<TaskBatch, Delivery>, Unavailable> {
        self.serve("listen for tasks", self.layout().direct(agent), None, any).await
    }

    async fn control(&self, agent: Option<&AgentId>, control: Control) -> Result<(), Unavailable> {
        self.tell("send control", self.layout().control(agent), &control).await
    }

    async fn controls(&self, agent: &AgentId) -> Result<BoxStream<'static, Control>, Unavailable> {
        let attempted = "listen for control";
        let mine = self.hear(attempted, self.layout().control(Some(agent)), any).await?;
        let all = self.hear(attempted, self.layout().control(None), any).await?;
        Ok(Controls { mine, all, held: None }.boxed())
    }
}

/// What an agent is told, and what all are told: two subscriptions. What was told to the one before
/// it was told to all comes before it.
struct Controls<S> {
    mine: S,
    all: S,
    held: Option<Control>,
}

impl<S: Stream<Item = Control> + Unpin> Stream for Controls<S> {
    type Item = Control;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Control>> {
        let this = &mut *self;
        if this.held.is_none()
            && let Poll::Ready(all) = this.all.poll_next_unpin(cx)
        {
            this.held = all;
        }
        // Looked at after the other one: messages arrive in order, so that whatever came before it
        // is here.
        match this.mine.poll_next_unpin(cx) {
            Poll::Pending => {
                this.held.take().map_or(Poll::Pending, |control| Poll::Ready(Some(control)))
            }
            mine => mine,
        }
    }
}
