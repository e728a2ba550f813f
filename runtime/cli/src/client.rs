//! What commands ask of coordinators, over any broker.

mod tries;

use std::time::Duration;

use serde_json::Value;
use skep_broker::Broker;
use skep_protocol::{
    AgentView, ClusterAgents, ClusterBreakers, Command, CommandReply, DeadLetter, Hash,
    HistoryEntry, LetterFilter, Order, PartitionCount, PartitionId, Payload, Query, QueryReply,
    RegisterWorkflow, RetryRun, RunDetail, RunFilter, RunId, RunSummary, StartRun, StepPath,
};

use self::tries::Tries;
use crate::error::{Error, Exit};

/// How long nobody may answer: a cluster hands partitions over in less.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many facts of a history are asked for at a time.
const PAGE: u32 = 2_000;
/// How many runs of a list are asked for at a time.
const RUNS_PAGE: usize = 500;

/// Speaks to the coordinators of a cluster, or to the one in this process.
#[derive(Debug, Clone)]
pub(crate) struct Client<B> {
    broker: B,
    partitions: PartitionCount,
    patience: Duration,
}

impl<B: Broker> Client<B> {
    /// Wraps a broker whose cluster has so many partitions.
    pub(crate) const fn new(broker: B, partitions: PartitionCount) -> Self {
        Self { broker, partitions, patience: PATIENCE }
    }

    /// Returns the same with another bound for how long nobody may answer, or have room.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Returns the same, no more patient than this.
    pub(crate) fn hurried(self, patience: Option<Duration>) -> Self {
        let patience = patience.map_or(self.patience, |bound| bound.min(self.patience));
        Self { patience, ..self }
    }

    /// Returns how many partitions the cluster has.
    pub(crate) const fn partitions(&self) -> PartitionCount {
        self.partitions
    }

    /// Returns the broker.
    pub(crate) const fn broker(&self) -> &B {
        &self.broker
    }

    /// Registers a definition and returns its digest.
    pub(crate) async fn register(&self, register: RegisterWorkflow) -> Result<Registered, Error> {
        let partition = PartitionId::new(0);
        let reply = self.ask(partition, Command::Register(register)).await?;
        let CommandReply::Registered { name, version, digest, .. } = reply else {
            return Err(unexpected());
        };
        Ok(Registered { name, version, digest })
    }

    /// Starts a run and returns whether it existed before.
    pub(crate) async fn start(&self, start: StartRun) -> Result<Existed, Error> {
        let run = start.run;
        let reply = self.ask(self.partitions.of(run), Command::Start(Box::new(start))).await?;
        let CommandReply::Started { existing, .. } = reply else { return Err(unexpected()) };
        Ok(if existing { Existed::Before } else { Existed::NotBefore })
    }

    /// Has a run done over, and returns whether that was done before.
    pub(crate) async fn retry(&self, retry: RetryRun) -> Result<Existed, Error> {
        let partition = self.partitions.of(retry.run);
        let reply = self.ask(partition, Command::Retry(Box::new(retry))).await?;
        let CommandReply::Started { existing, .. } = reply else { return Err(unexpected()) };
        Ok(if existing { Existed::Before } else { Existed::NotBefore })
    }

    /// Sends a command about a run that is answered with no more than "done".
    pub(crate) async fn change(&self, run: RunId, command: Command) -> Result<(), Error> {
        let reply = self.ask(self.partitions.of(run), command).await?;
        if reply == (CommandReply::Done {}) { Ok(()) } else { Err(unexpected()) }
    }

    /// Returns the runs that a filter lets through, newest first; all of them if its limit is 0.
    pub(crate) async fn runs(&self, mut filter: RunFilter) -> Result<Vec<RunSummary>, Error> {
        let wanted = match filter.limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        let mut runs: Vec<RunSummary> = Vec::new();
        loop {
            // A page fits into a message.
            let most = wanted.saturating_sub(runs.len()).min(RUNS_PAGE);
            filter.limit = u32::try_from(most).unwrap_or(u32::MAX);
            let reply = self.query(Query::Runs(filter.clone())).await?;
            let QueryReply::Runs(page) = reply else { return Err(unexpected()) };
            let is_last = page.len() < most || page.is_empty();
            // A coordinator that knows no pages begins from the start again.
            let again =
                page.first().is_some_and(|first| runs.iter().any(|run| run.run == first.run));
            if !again {
                runs.extend(page);
            }
            if is_last || again || runs.len() >= wanted {
                break;
            }
            filter.after = runs.last().map(|run| run.run);
        }
        // Nor may it know labels.
        let has = |run: &RunSummary| {
            filter.labels.iter().all(|(name, value)| run.labels.get(name) == Some(value))
        };
        runs.retain(has);
        Ok(runs)
    }

    /// Returns the dead letters that a filter lets through, newest first; all of them if its limit
    /// is 0.
    pub(crate) async fn letters(&self, mut filter: LetterFilter) -> Result<Vec<DeadLetter>, Error> {
        let wanted = if filter.limit == 0 { usize::MAX } else { filter.limit as usize };
        let mut letters: Vec<DeadLetter> = Vec::new();
        loop {
            let most = wanted.saturating_sub(letters.len()).min(RUNS_PAGE);
            filter.limit = u32::try_from(most).unwrap_or(u32::MAX);
            let reply = self.query(Query::Letters(filter.clone())).await?;
            let QueryReply::Letters(page) = reply else { return Err(unexpected()) };
            let is_last = page.len() < most || page.is_empty();
            letters.extend(page);
            if is_last || letters.len() >= wanted {
                return Ok(letters);
            }
            filter.after = letters.last().map(|letter| (letter.run, letter.step.clone()));
        }
    }

    /// Returns everything about a run, if there is one.
    pub(crate) async fn run(&self, run: RunId) -> Result<Option<RunDetail>, Error> {
        self.run_with(run, Vec::new()).await
    }

    /// Returns everything about a run, if there is one, and in any case what some of its steps wait
    /// for; those among them that are to come are listed, too.
    pub(crate) async fn run_with(
        &self,
        run: RunId,
        steps: Vec<StepPath>,
    ) -> Result<Option<RunDetail>, Error> {
        let reply = self.query(Query::Run { run, steps }).await?;
        if reply == (QueryReply::NotFound {}) {
            return Ok(None);
        }
        let QueryReply::Run(detail) = reply else { return Err(unexpected()) };
        Ok(Some(*detail))
    }

    /// Returns what happened to a run after entry `after`, a page at most; waits for something to
    /// happen if nothing did. `None` if there is no such run.
    pub(crate) async fn history(
        &self,
        run: RunId,
        after: u64,
        wait: Duration,
    ) -> Result<Option<Vec<HistoryEntry>>, Error> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let reply = self.query(Query::History { run, after, limit: PAGE, wait_ms }).await?;
        if reply == (QueryReply::NotFound {}) {
            return Ok(None);
        }
        let QueryReply::History(entries) = reply else { return Err(unexpected()) };
        Ok(Some(entries))
    }

    /// Returns the live agents, as all coordinators know them; an older one tells of itself alone,
    /// and does not say who it is.
    pub(crate) async fn cluster_agents(&self) -> Result<ClusterAgents, Error> {
        let reply = self.query(Query::Agents { everywhere: true }).await?;
        if let QueryReply::Agents(agents) = reply {
            return Ok(ClusterAgents { agents, ..ClusterAgents::default() });
        }
        let QueryReply::ClusterAgents(agents) = reply else { return Err(unexpected()) };
        Ok(agents)
    }

    /// Returns the live agents, as one coordinator knows them: all of them, but not all of how they
    /// do.
    pub(crate) async fn agents(&self) -> Result<Vec<AgentView>, Error> {
        let reply = self.query(Query::Agents { everywhere: false }).await?;
        let QueryReply::Agents(agents) = reply else { return Err(unexpected()) };
        Ok(agents)
    }

    /// Returns the circuit breakers that have something to tell, as all coordinators know them; an
    /// older one tells of itself alone, and does not say who it is.
    pub(crate) async fn breakers(&self) -> Result<ClusterBreakers, Error> {
        let reply = self.query(Query::Breakers { everywhere: true }).await?;
        if let QueryReply::Breakers(breakers) = reply {
            return Ok(ClusterBreakers { breakers, ..ClusterBreakers::default() });
        }
        let QueryReply::ClusterBreakers(breakers) = reply else { return Err(unexpected()) };
        Ok(breakers)
    }

    /// Has something done with a breaker or an agent, cluster-wide.
    pub(crate) async fn order(&self, order: Order) -> Result<(), Error> {
        let reply = self.ask(PartitionId::new(0), Command::Order(order)).await?;
        if reply == (CommandReply::Done {}) { Ok(()) } else { Err(unexpected()) }
    }

    /// Returns the definitions registered by name: name, version, digest.
    pub(crate) async fn workflows(&self) -> Result<Vec<(String, Option<String>, Hash)>, Error> {
        let reply = self.query(Query::Workflows {}).await?;
        let QueryReply::Workflows(workflows) = reply else { return Err(unexpected()) };
        Ok(workflows)
    }

    /// Asks any coordinator, again while none answers.
    async fn query(&self, query: Query) -> Result<QueryReply, Error> {
        let mut tries = Tries::new(self.patience);
        loop {
            match self.broker.query(query.clone()).await {
                Ok(QueryReply::Failed { message }) => {
                    return Err(Error::new(
                        Exit::Unreachable,
                        format!("cannot find out: {message}"),
                    ));
                }
                Ok(reply) => return Ok(reply),
                Err(error) => tries.bear(error).await?,
            }
        }
    }

    /// Asks the owner of a partition, again while there is none; every command may be sent twice.
    async fn ask(&self, partition: PartitionId, command: Command) -> Result<CommandReply, Error> {
        let mut tries = Tries::new(self.patience);
        loop {
            match self.broker.command(partition, command.clone()).await {
                Ok(CommandReply::Rejected(rejection)) => tries.bear_rejection(rejection).await?,
                Ok(reply) => return Ok(reply),
                Err(error) => tries.bear(error).await?,
            }
        }
    }

    /// Returns the value of a payload, fetched if it lies in the blob store.
    pub(crate) async fn value(&self, payload: &Payload) -> Result<Value, Error> {
        let Some(blob) = payload.blob() else { return Ok(crate::json::payload(payload)) };
        let bytes = self.broker.blob(blob).await?.ok_or_else(|| {
            Error::new(Exit::NotFound, format!("the blob {} is gone", blob.hash.short()))
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Exit::Failed, format!("the blob {} is not JSON: {error}", blob.hash.short()))
        })
    }
}

/// See [`Client::register`].
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) digest: Hash,
}

/// Whether what was to be made was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existed {
    /// It was.
    Before,
    /// It was made.
    NotBefore,
}

fn unexpected() -> Error {
    Error::new(Exit::Unreachable, "a coordinator gave an answer to another question")
        .help("is it of another version than this skep? see skep doctor")
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use skep_broker::{Commands as _, Embedded, Queries as _, Requests};
    use skep_protocol::Rejection;

    use super::*;

    fn client(patience: Duration) -> Client<Embedded> {
        Client { broker: Embedded::new(), partitions: PartitionCount::DEFAULT, patience }
    }

    /// Answers one command after the other.
    async fn answer(mut requests: Requests<Command, CommandReply>, answers: Vec<CommandReply>) {
        for answer in answers {
            let request = requests.next().await.expect("another command comes");
            request.responder.send(answer);
        }
    }

    #[tokio::test]
    async fn a_list_is_asked_for_page_by_page() {
        let client = client(PATIENCE);
        let mut questions = client.broker.serve_queries().await.unwrap();
        let run = |key: usize| RunId::from_key("w", &key.to_string());
        let summary = move |key| RunSummary {
            run: run(key),
            workflow: "w".to_owned(),
            digest: Hash::ZERO,
            status: skep_protocol::RunStatus::Completed,
            started: skep_protocol::Timestamp::EPOCH,
            ended: None,
            parent: None,
            steps: 0,
            steps_ended: 0,
            labels: Default::default(),
            retry_of: None,
        };
        let answering = tokio::spawn(async move {
            while let Some(request) = questions.next().await {
                let Query::Runs(filter) = request.message else { break };
                let from = (0..1_200).find(|key| filter.after == Some(run(*key)));
                let page = from.map_or(0, |key| key + 1)..1_200;
                let page = page.take(filter.limit as usize).map(summary).collect();
                request.responder.send(QueryReply::Runs(page));
            }
        });
        for (limit, found) in [(0, 1_200), (7, 7), (700, 700), (5_000, 1_200)] {
            let runs = client.runs(RunFilter { limit, ..RunFilter::default() }).await.unwrap();
            let ids: std::collections::BTreeSet<RunId> = runs.iter().map(|run| run.run).collect();
            assert_eq!((runs.len(), ids.len()), (found, found));
        }
        answering.abort();
    }

    async fn cancelled_after(rejections: Vec<Rejection>, patience: Duration) -> Result<(), Error> {
        let client = client(patience);
        let run = RunId::from_key("w", "k");
        let requests = client.broker.serve_commands(client.partitions.of(run)).await.unwrap();
        let mut answers: Vec<_> = rejections.into_iter().map(CommandReply::Rejected).collect();
        answers.push(CommandReply::Done {});
        let answering = tokio::spawn(answer(requests, answers));
        let done = client.change(run, Command::Cancel { run, reason: String::new() }).await;
        answering.abort();
        done
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_that_says_what_to_start() {
        let client = client(Duration::from_millis(30));
        let error = client.runs(RunFilter::default()).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Unreachable);
        assert!(error.advice()[0].contains("skep serve"), "{error}");
    }

    #[tokio::test]
    async fn what_passes_is_borne() {
        let rejections = vec![Rejection::NotOwner {}, Rejection::Busy { retry_after_ms: 1 }];
        cancelled_after(rejections, PATIENCE).await.unwrap();
    }

    #[tokio::test]
    async fn what_does_not_pass_is_told_at_once() {
        let run = RunId::from_key("w", "k");
        let error = cancelled_after(vec![Rejection::RunNotFound { run }], PATIENCE).await;
        assert_eq!(error.unwrap_err().exit(), Exit::NotFound);
        let late = Rejection::Busy { retry_after_ms: 60_000 };
        let error = cancelled_after(vec![late], PATIENCE).await;
        assert_eq!(error.unwrap_err().exit(), Exit::Unreachable);
    }
}
