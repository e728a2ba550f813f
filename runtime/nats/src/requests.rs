//! Commands, queries, the direct lane and control: requests and answers of core NATS.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::future::{Either, select};
use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt as _};
use skep_broker::{Commands, Direct, Queries, RequestError, Requests, Unavailable};
use skep_protocol::{
    AgentId, Command, CommandReply, Control, Delivery, PartitionId, Query, QueryReply, TaskBatch,
};
use tokio::time::Instant;

use crate::ask::Extent;
use crate::layout::Layout;
use crate::nats::{Nats, any};

/// A coordinator that has not answered a question after this long, or after this share of the time,
/// may be hung: another one is asked, too.
const ASK_ANOTHER: Duration = Duration::from_secs(1);
const ASK_ANOTHER_SHARE: u32 = 4;

/// Rises with each control message of a sender.
const ORDER: &str = "Skep-Order";

impl Commands for Nats {
    async fn command(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> Result<CommandReply, RequestError> {
        let what = || format!("commands of partition {partition}");
        let large = (self.layout().command(partition), Extent::Large);
        self.ask(what, large, &command, self.patience()).await
    }

    async fn serve_commands(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<Command, CommandReply>, Unavailable> {
        let subject = self.layout().command(partition);
        self.serve_shared("listen for commands", subject, any).await
    }
}

impl Queries for Nats {
    async fn query(&self, query: Query) -> Result<QueryReply, RequestError> {
        let what = || "queries".to_owned();
        let extra = patience(&query);
        let until = Instant::now() + self.patience() + extra;
        let any = (self.layout().query(), Extent::LargeAnswer);
        let asked = self.ask(what, any, &query, self.patience() + extra);
        let hedge = async {
            let share = self.patience() / ASK_ANOTHER_SHARE;
            tokio::time::sleep(ASK_ANOTHER.min(share) + extra).await;
            let awake = (self.who_answers(share).await, Extent::LargeAnswer);
            let left = until.saturating_duration_since(Instant::now());
            self.ask(what, awake, &query, left).await
        };
        // Asking twice changes nothing. The first one goes on: it may only be slow.
        match select(Box::pin(asked), Box::pin(hedge)).await {
            Either::Left((Err(RequestError::TimedOut { .. }), hedge)) => hedge.await,
            Either::Left((answer, _)) | Either::Right((answer @ Ok(_), _)) => answer,
            Either::Right((Err(_), asked)) => asked.await,
        }
    }

    async fn serve_queries(&self) -> Result<Requests<Query, QueryReply>, Unavailable> {
        let attempted = "listen for queries";
        let inbox = self.shared.client.new_inbox();
        let mine = self.layout().query_to(inbox.rsplit('.').next().unwrap_or_default());
        let who = self.listen(attempted, self.layout().query_who(), None).await?;
        let to_me = self.serve(attempted, mine.clone(), None, any).await?;
        let group = Some(Layout::query_group());
        let to_any = self.serve(attempted, self.layout().query(), group, any).await?;
        let (nats, mine) = (self.clone(), Bytes::from(mine));
        let told = who.filter_map(move |asked: Message| {
            if let Some(asker) = asked.reply {
                nats.reply(asker, mine.clone());
            }
            std::future::ready(None)
        });
        Ok(select_all([told.boxed(), to_me, to_any]).boxed())
    }
}

impl Nats {
    /// Returns where a coordinator that does answer can be asked; where all of them share the
    /// questions, if none says so.
    async fn who_answers(&self, within: Duration) -> String {
        let asked = self.shared.mux.ask(self.layout().query_who(), None, Bytes::new());
        let answered = self.while_connected(within, asked).await;
        let subject = answered.ok().and_then(Result::ok);
        let subject = subject.and_then(|answer| String::from_utf8(answer.payload.into()).ok());
        let ours = self.layout().query_to("");
        subject.filter(|to| to.starts_with(&ours)).unwrap_or_else(|| self.layout().query())
    }
}

/// Returns how long the question itself allows the answer to take.
fn patience(query: &Query) -> Duration {
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

impl Direct for Nats {
    async fn deliver(&self, agent: &AgentId, tasks: &TaskBatch) -> Result<Delivery, RequestError> {
        let what = || format!("tasks of agent {agent}");
        let one = (self.layout().direct(agent), Extent::OneMessage);
        self.ask(what, one, tasks, self.patience()).await
    }

    async fn serve_tasks(
        &self,
        agent: &AgentId,
    ) -> Result<Requests<TaskBatch, Delivery>, Unavailable> {
        self.serve("listen for tasks", self.layout().direct(agent), None, any).await
    }

    async fn control(&self, agent: Option<&AgentId>, control: Control) -> Result<(), Unavailable> {
        let number = self.shared.controls_sent.fetch_add(1, Ordering::Relaxed);
        let mut headers = HeaderMap::new();
        headers.insert(ORDER, number.to_string());
        self.tell("send control", self.layout().control(agent), Some(headers), &control).await
    }

    async fn controls(&self, agent: &AgentId) -> Result<BoxStream<'static, Control>, Unavailable> {
        let attempted = "listen for control";
        let mine = self.listen(attempted, self.layout().control(Some(agent)), None).await?;
        let all = self.listen(attempted, self.layout().control(None), None).await?;
        let controls = Controls { nats: self.clone(), from: [mine, all], next: [None, None] };
        Ok(controls.boxed())
    }
}

/// What one agent is told and what all are told: two subscriptions, put back into the order in
/// which each sender sent.
struct Controls {
    nats: Nats,
    from: [Subscriber; 2],
    next: [Option<(u64, Control)>; 2],
}

impl Stream for Controls {
    type Item = Control;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Control>> {
        let Self { nats, from, next } = &mut *self;
        // One connection brings both in order: once a message is here, so is every one that was
        // sent before it, if it is looked for afterwards. So: look until nothing more comes.
        let mut filled = true;
        while filled {
            filled = false;
            for (from, next) in from.iter_mut().zip(next.iter_mut()).filter(|(_, n)| n.is_none()) {
                match from.poll_next_unpin(cx) {
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Ready(Some(message)) => {
                        let control = nats.read(&message, any).and_then(Result::ok);
                        *next = control.map(|control| (order(&message), control));
                        filled = true;
                    }
                    Poll::Pending => {}
                }
            }
        }
        let held = next.iter_mut().filter(|next| next.is_some());
        let first = held.min_by_key(|next| next.as_ref().map(|(order, _)| *order));
        match first.and_then(Option::take) {
            Some((_, control)) => Poll::Ready(Some(control)),
            None => Poll::Pending,
        }
    }
}

fn order(message: &Message) -> u64 {
    let header = message.headers.as_ref().and_then(|headers| headers.get(ORDER));
    header.and_then(|number| number.as_str().parse().ok()).unwrap_or_default()
}
