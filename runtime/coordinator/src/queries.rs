//! Questions: answered from the read model, from live state where this coordinator has it.

mod turns;

use std::time::Duration;

use futures::StreamExt as _;
use skep_broker::{Broker, Request};
use skep_protocol::{
    AttemptId, PartitionCount, Query, QueryReply, RunDetail, RunId, StepStatus, WaitingView,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::turns::{Turn, Turns};
use crate::catalog::{Catalog, CatalogError};
use crate::fleet_loop::FleetHandle;
use crate::observe;
use crate::partition::{LiveAnswer, LivePartitions, LiveQuestion};
use crate::read_model::{Question, ReadModel};

/// Longest wait for something to happen that may be asked for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long the owner of a partition may take to tell of its live state.
const LIVE_WITHIN: Duration = Duration::from_secs(1);
/// Steps of one run whose waiting is explained.
const MAX_EXPLAINED: usize = 1_000;

/// What answers come from.
#[derive(Debug, Clone)]
pub(crate) struct State<B> {
    pub(crate) count: PartitionCount,
    pub(crate) fleet: FleetHandle,
    pub(crate) live: LivePartitions,
    pub(crate) catalog: Catalog<B>,
    pub(crate) read_model: ReadModel,
}

/// Answers questions until `closing`.
pub(crate) async fn serve<B: Broker>(broker: B, state: State<B>, closing: CancellationToken) {
    let turns = Turns::new();
    let mut answers = JoinSet::new();
    loop {
        let mut questions = match broker.serve_queries().await {
            Ok(questions) => questions,
            Err(error) => {
                observe::trying_again("serve queries", &error);
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        loop {
            let mut turn = turns.next().await;
            let request = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                request = questions.next() => request,
            };
            while answers.try_join_next().is_some() {}
            let Some(Request { message, responder }) = request else { break };
            let state = state.clone();
            answers.spawn(async move {
                responder.send(state.answer(message, &mut turn).await);
            });
        }
    }
}

impl<B: Broker> State<B> {
    async fn answer(&self, query: Query, turn: &mut Turn) -> QueryReply {
        match query {
            Query::Runs(filter) => self.read_model.ask(Question::Runs(filter)).await,
            Query::Run { run } => {
                let reply = self.run(run).await;
                let QueryReply::Run(detail) = reply else { return reply };
                QueryReply::Run(self.with_live(*detail).await)
            }
            Query::History { run, after, limit, wait_ms } => {
                let page = Question::History { run, after, limit };
                self.history(run, page, Duration::from_millis(wait_ms), turn).await
            }
            Query::Agents {} => QueryReply::Agents(self.fleet.agents().await),
            Query::Workflows {} => match self.catalog.list().await {
                Ok(workflows) => QueryReply::Workflows(workflows),
                Err(CatalogError::Unavailable(error)) => failed(error.to_string()),
                Err(CatalogError::Rejected(rejection)) => failed(rejection.to_string()),
            },
        }
    }

    /// Looks a run up. One that its owner knows is about to be in the read model: whoever was told
    /// that it exists finds it.
    async fn run(&self, run: RunId) -> QueryReply {
        let until = Instant::now() + LIVE_WITHIN;
        let mut news = self.read_model.news(run);
        loop {
            let reply = self.read_model.ask(Question::Run(run)).await;
            if reply != (QueryReply::NotFound {}) {
                return reply;
            }
            let known = self.live(run).await.is_some_and(|live| live.status.is_some());
            if !known || tokio::time::timeout_at(until, news.arrived()).await.is_err() {
                return reply;
            }
        }
    }

    /// Waits for entries, if there are none yet; for those of a run that its owner does not know
    /// there is nothing to wait for.
    async fn history(
        &self,
        run: RunId,
        page: Question,
        wait: Duration,
        turn: &mut Turn,
    ) -> QueryReply {
        let until = Instant::now() + wait.min(MAX_WAIT);
        let mut news = self.read_model.news(run);
        loop {
            let reply = self.read_model.ask(page.clone()).await;
            if reply == (QueryReply::NotFound {}) {
                if self.run(run).await == (QueryReply::NotFound {}) {
                    return reply;
                }
                continue;
            }
            let nothing_yet = matches!(&reply, QueryReply::History(all) if all.is_empty());
            if !nothing_yet || Instant::now() >= until {
                return reply;
            }
            let arrived = tokio::time::timeout_at(until, news.arrived());
            if !matches!(turn.while_waiting(arrived).await, Some(Ok(()))) {
                return reply;
            }
        }
    }

    /// Adds what only the owner of the run knows: its state at the moment, and what it waits for.
    async fn with_live(&self, mut detail: RunDetail) -> Box<RunDetail> {
        let run = detail.summary.run;
        if detail.summary.status.is_final() {
            return Box::new(detail);
        }
        let live = self.live(run).await.unwrap_or_default();
        if let Some(status) = live.status.filter(|status| !status.is_final()) {
            detail.summary.status = status;
        }
        detail.waiting = live.waiting;
        let open: Vec<AttemptId> = detail
            .steps
            .iter()
            .filter(|step| step.status == StepStatus::Scheduled)
            .filter_map(|step| {
                let attempt = step.attempts.last()?.attempt;
                Some(AttemptId { run, step: step.step.clone(), attempt })
            })
            .take(MAX_EXPLAINED)
            .collect();
        let reasons = self.fleet.explain(open.clone()).await;
        for (attempt, reason) in open.into_iter().zip(reasons) {
            let Some(reason) = reason else { continue };
            let view = WaitingView { step: attempt.step, reason };
            match detail.waiting.iter_mut().find(|known| known.step == view.step) {
                Some(known) => *known = view,
                None => detail.waiting.push(view),
            }
        }
        Box::new(detail)
    }

    async fn live(&self, run: RunId) -> Option<LiveAnswer> {
        let partition = self.count.of(run);
        let owner = self.live.get(&partition).map(|entry| entry.value().clone())?;
        let (answer, answered) = oneshot::channel();
        owner.send(LiveQuestion { run, answer }).await.ok()?;
        tokio::time::timeout(LIVE_WITHIN, answered).await.ok()?.ok()
    }
}

const fn failed(message: String) -> QueryReply {
    QueryReply::Failed { message }
}
