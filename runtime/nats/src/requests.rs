//! Commands, queries, the direct lane and control: requests and answers of core NATS.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use skep_broker::{Commands, Direct, Queries, RequestError, Requests, Unavailable};
use skep_protocol::{
    AgentId, Command, CommandReply, Control, Delivery, PartitionId, Query, QueryReply, TaskBatch,
};

use crate::layout::Layout;
use crate::nats::{Nats, any};

/// A coordinator that has not answered a question after this long is passed over once.
const ASK_ANOTHER: Duration = Duration::from_secs(3);

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
        let (first, whole) = (patience(&query) + ASK_ANOTHER, patience(&query) + self.patience());
        let within = first.min(whole);
        match self.ask(what, self.layout().query(), &query, within).await {
            // It may have reached one that was just leaving; asking twice changes nothing.
            Err(RequestError::TimedOut { .. }) if within < whole => {
                self.ask(what, self.layout().query(), &query, whole - within).await
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
        Ok(stream::select(mine, all).boxed())
    }
}
