//! Questions: answered from the read model, from live state where this coordinator has it.

mod agents;
mod arrange;
mod breakers;
mod fit;
mod gather;
mod letters;
mod live;
mod reasons;
mod to_come;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use skep_broker::{Broker, Request, Responder};
use skep_protocol::{
    Command, CommandReply, PartitionCount, Query, QueryReply, RunId, RunStatus, StepPath,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::turns::{Turn, Turns};
use crate::catalog::{Catalog, CatalogError};
use crate::fleet_loop::FleetHandle;
use crate::members::Members;
use crate::observe;
use crate::partition::LivePartitions;
use crate::read_model::{Question, ReadModel};

/// Questions of other coordinators that may wait.
pub(crate) const ASKED: usize = 256;
/// Longest wait for something to happen that may be asked for.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long the owner of a partition may take to tell of its live state.
const LIVE_WITHIN: Duration = Duration::from_secs(1);
/// How long it may take if that is another coordinator; beyond it, what is known here is told.
const OWNER_WITHIN: Duration = Duration::from_secs(2);

/// What answers come from.
#[derive(Debug, Clone)]
pub(crate) struct State<B> {
    pub(crate) broker: B,
    pub(crate) count: PartitionCount,
    pub(crate) fleet: FleetHandle,
    pub(crate) live: LivePartitions,
    pub(crate) catalog: Catalog<B>,
    pub(crate) read_model: ReadModel,
    pub(crate) members: Arc<Members>,
}

/// A question of another coordinator to the owner of a partition, and where the answer goes.
pub(crate) type Asked = (Query, Responder<CommandReply>);

/// Answers questions until `closing`: those of clients, and what other coordinators want to know
/// of the partitions that this one owns.
pub(crate) async fn serve<B: Broker>(
    state: State<B>,
    mut asked: mpsc::Receiver<Asked>,
    closing: CancellationToken,
) {
    let turns = Turns::new();
    let mut answers = JoinSet::new();
    loop {
        let mut questions = match state.broker.serve_queries().await {
            Ok(questions) => questions,
            Err(error) => {
                observe::trying_again("serve queries", &error);
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        loop {
            let mut turn = turns.next().await;
            let state = state.clone();
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                Some((query, responder)) = asked.recv() => answers.spawn(async move {
                    let answer = state.answer_as_owner(query, &mut turn).await;
                    responder.send(CommandReply::Answer(Box::new(answer)));
                }),
                request = questions.next() => {
                    let Some(Request { message, responder }) = request else { break };
                    answers.spawn(async move {
                        responder.send(state.answer(message, &mut turn).await);
                    })
                }
            };
            while answers.try_join_next().is_some() {}
        }
    }
}

impl<B: Broker> State<B> {
    async fn answer(&self, query: Query, turn: &mut Turn) -> QueryReply {
        match query {
            Query::Runs(filter) => {
                let known = tokio::time::timeout(LIVE_WITHIN, self.catch_up());
                // Late is better than never: what is known by then is told.
                let _ = turn.while_waiting(known).await;
                self.read_model.ask(Question::Runs(filter)).await
            }
            Query::Run { run, steps } => {
                let reply = self.run(run, &steps, turn).await;
                let reply = self.arranged(reply, &steps).await;
                self.fitting(reply).await
            }
            Query::History { run, after, limit, wait_ms } => {
                let page = Question::History { run, after, limit };
                self.history(run, page, Duration::from_millis(wait_ms), turn).await
            }
            Query::Letters(filter) => {
                let known = tokio::time::timeout(LIVE_WITHIN, self.catch_up());
                let _ = turn.while_waiting(known).await;
                self.letters(filter).await
            }
            Query::Agents { everywhere: false } => QueryReply::Agents(self.fleet.agents().await),
            Query::Agents { everywhere: true } => {
                QueryReply::ClusterAgents(agents::summed(self.gathered(turn).await))
            }
            Query::Breakers { everywhere: false } => {
                QueryReply::Breakers(self.fleet.breakers().await)
            }
            Query::Breakers { everywhere: true } => {
                QueryReply::ClusterBreakers(breakers::summed(self.gathered(turn).await))
            }
            Query::Workflows {} => match self.catalog.list().await {
                Ok(workflows) => QueryReply::Workflows(workflows),
                Err(CatalogError::Unavailable(error)) => failed(error.to_string()),
                Err(CatalogError::Rejected(rejection)) => failed(rejection.to_string()),
            },
        }
    }

    /// Answers without asking any other coordinator.
    async fn answer_as_owner(&self, query: Query, turn: &mut Turn) -> QueryReply {
        match query {
            Query::Run { run, steps } => self.fitting(self.run_here(run, &steps, turn).await).await,
            Query::Agents { everywhere: true } => {
                QueryReply::ClusterAgents(agents::summed(self.own().await))
            }
            Query::Breakers { everywhere: true } => {
                QueryReply::ClusterBreakers(breakers::summed(self.own().await))
            }
            query @ (Query::Runs(_)
            | Query::Letters(_)
            | Query::History { .. }
            | Query::Agents { everywhere: false }
            | Query::Breakers { everywhere: false }
            | Query::Workflows {}) => self.answer(query, turn).await,
        }
    }

    /// Waits until the read model knows what is durable by now: whoever was told that a run exists
    /// finds it in a list.
    async fn catch_up(&self) {
        let positions = &self.read_model.positions();
        let ends = self.count.all().map(|partition| async move {
            let end = self.broker.last(partition).await.ok()??.seq;
            positions.until(partition, end).await;
            Some(())
        });
        join_all(ends).await;
    }

    /// Puts the steps of a run into the order of its definition, adds those asked for that are to
    /// come, and says what only that knows of those that did not run; without it they stay as they
    /// are.
    async fn arranged(&self, mut reply: QueryReply, steps: &[StepPath]) -> QueryReply {
        if let QueryReply::Run(detail) = &mut reply
            && let Ok((_, workflow)) = self.catalog.find(&detail.summary.digest.to_string()).await
        {
            arrange::arrange(detail, &workflow);
            reasons::tell(detail, &workflow);
            to_come::add(detail, &workflow, steps);
        }
        reply
    }

    /// Makes an answer fit into a message.
    async fn fitting(&self, mut reply: QueryReply) -> QueryReply {
        if let QueryReply::Run(detail) = &mut reply
            && let Err(error) = fit::fit(&self.broker, detail).await
        {
            return failed(error.to_string());
        }
        reply
    }

    /// Looks a run up, where it is known best: of one that is not over, its owner knows more.
    async fn run(&self, run: RunId, steps: &[StepPath], turn: &mut Turn) -> QueryReply {
        let told = self.read_model.ask(Question::Summary(run)).await;
        if matches!(&told, QueryReply::Runs(told) if told.iter().any(|run| run.status.is_final())) {
            return self.read_model.ask(Question::Run(run)).await;
        }
        match self.ask_owner(run, steps, turn).await {
            Some(reply @ QueryReply::Run(_)) => reply,
            Some(_) | None => self.run_here(run, steps, turn).await,
        }
    }

    /// Asks the owner of a run, if that is another coordinator.
    async fn ask_owner(
        &self,
        run: RunId,
        steps: &[StepPath],
        turn: &mut Turn,
    ) -> Option<QueryReply> {
        let partition = self.count.of(run);
        if self.live.contains_key(&partition) {
            return None;
        }
        let query = Query::Run { run, steps: steps.to_vec() };
        let asked = self.broker.command(partition, Command::Ask(query));
        let asked = tokio::time::timeout(OWNER_WITHIN, asked);
        match turn.while_waiting(asked).await {
            Some(Ok(Ok(CommandReply::Answer(reply)))) => Some(*reply),
            Some(_) | None => None,
        }
    }

    /// Looks a run up in here. What its owner knows is about to be in the read model: whoever was
    /// told that it exists, or that it is over, finds it so.
    async fn run_here(&self, run: RunId, steps: &[StepPath], turn: &mut Turn) -> QueryReply {
        let until = Instant::now() + LIVE_WITHIN;
        let mut news = self.read_model.news(run);
        loop {
            let reply = self.read_model.ask(Question::Run(run)).await;
            let live = self.live(run, steps).await.unwrap_or_default();
            let is_behind = match &reply {
                QueryReply::NotFound {} => live.status.is_some(),
                QueryReply::Run(detail) => {
                    let over = live.status.is_some_and(RunStatus::is_final);
                    over && !detail.summary.status.is_final()
                }
                QueryReply::Runs(_)
                | QueryReply::Letters(_)
                | QueryReply::History(_)
                | QueryReply::Agents(_)
                | QueryReply::ClusterAgents(_)
                | QueryReply::Breakers(_)
                | QueryReply::ClusterBreakers(_)
                | QueryReply::Workflows(_)
                | QueryReply::Failed { .. } => false,
            };
            let arrived = tokio::time::timeout_at(until, news.arrived());
            if is_behind && matches!(turn.while_waiting(arrived).await, Some(Ok(()))) {
                continue;
            }
            let QueryReply::Run(detail) = reply else { return reply };
            return QueryReply::Run(self.with_live(*detail, live).await);
        }
    }

    /// Waits until the read model has a run that its owner knows.
    async fn appears(&self, run: RunId, turn: &mut Turn) -> bool {
        let mut news = self.read_model.news(run);
        let Some(reply) = self.ask_owner(run, &[], turn).await else {
            return self.run_here(run, &[], turn).await != (QueryReply::NotFound {});
        };
        if self.read_model.ask(Question::Summary(run)).await != (QueryReply::NotFound {}) {
            return true;
        }
        let known = matches!(reply, QueryReply::Run(_));
        let arrived = tokio::time::timeout(LIVE_WITHIN, news.arrived());
        known && matches!(turn.while_waiting(arrived).await, Some(Ok(())))
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
                if self.appears(run, turn).await {
                    continue;
                }
                return reply;
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
}

const fn failed(message: String) -> QueryReply {
    QueryReply::Failed { message }
}
