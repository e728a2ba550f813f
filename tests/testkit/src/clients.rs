//! Clients: they register, start, meddle, and want every run to end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use serde_json::Value;
use skep_broker::Commands as _;
use skep_protocol::{
    AgentId, Command, CommandReply, Order, PartitionCount, PartitionId, RegisterWorkflow,
    Rejection, RetryRun, RunId, Signal, SignalId, StartRun, StepPath,
};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::faults::Fault;
use crate::network::{Client, lock};

/// A run that is to be started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) workflow: String,
    pub(crate) key: String,
    pub(crate) inputs: Value,
}

impl Start {
    pub(crate) fn run(&self) -> RunId {
        RunId::from_key(&self.workflow, &self.key)
    }
}

/// What clients do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) definitions: Vec<String>,
    pub(crate) starts: Vec<Start>,
    /// Signals that runs may wait for.
    pub(crate) signals: Vec<(String, Value)>,
    /// What the agents offer.
    pub(crate) capabilities: Vec<String>,
}

/// All clients.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) client: Client,
    pub(crate) count: PartitionCount,
    pub(crate) plan: Arc<Plan>,
    /// Runs that do others over.
    pub(crate) retried: Arc<Mutex<Vec<RunId>>>,
    /// Compensations that fail whenever they are tried.
    pub(crate) hopeless: Vec<StepPath>,
    /// What takes orders back.
    pub(crate) ordered: Arc<Mutex<Vec<Order>>>,
}

impl Clients {
    /// Registers and starts everything; meanwhile runs are meddled with.
    pub(crate) async fn run(&self, mut chance: Chance, spread: Duration) {
        for source in &self.plan.definitions {
            self.register(source).await;
        }
        let mut runs = FuturesUnordered::new();
        for start in &self.plan.starts {
            let after = chance.between(Duration::ZERO, spread);
            let chance = chance.fork();
            runs.push(async move {
                sleep(after).await;
                self.start(start, chance).await;
            });
        }
        while runs.next().await.is_some() {}
    }

    async fn register(&self, source: &str) {
        let register = RegisterWorkflow {
            source: source.to_owned(),
            file: "simulated.skep.yaml".to_owned(),
            publish: true,
        };
        let command = Command::Register(register);
        let reply = self.until_answered(PartitionId::new(0), command).await;
        if let CommandReply::Rejected(Rejection::InvalidDefinition { rendered, .. }) = &reply {
            self.wrong("I-20", &format!("a definition is refused:\n{rendered}"));
        } else if !matches!(reply, CommandReply::Registered { .. }) {
            self.wrong("I-20", &format!("a definition is refused: {reply:?}"));
        }
    }

    async fn start(&self, start: &Start, mut chance: Chance) {
        self.start_once(start).await;
        while self.client.network.has(Fault::ClientsMeddle) {
            sleep(chance.between(Duration::from_millis(10), Duration::from_secs(20))).await;
            match chance.below(13) {
                0 => self.start_once(start).await,
                1 | 2 => {
                    self.tell(Command::Pause { run: start.run(), by: "client".to_owned() }).await
                }
                3 | 4 => self.resume(start.run()).await,
                5 if chance.one_in(3) => {
                    let reason = "a client says so".to_owned();
                    self.tell(Command::Cancel { run: start.run(), reason }).await;
                }
                6 | 7 => self.retry(start, &mut chance).await,
                8 => self.skip(start.run(), &mut chance).await,
                9 => self.order(start, &mut chance).await,
                10 => self.drop_letters(start, &mut chance).await,
                _ => self.signal(start.run(), chance.below(10)).await,
            }
        }
    }

    /// I-1, I-2: starts a run, once or again.
    async fn start_once(&self, start: &Start) {
        let run = start.run();
        let command = Command::Start(Box::new(StartRun {
            run,
            workflow: start.workflow.clone(),
            inputs: start.inputs.clone().into(),
            parent: None,
            depth: 0,
            labels: BTreeMap::new(),
        }));
        let reply = self.until_answered(self.count.of(run), command).await;
        if let CommandReply::Started { existing, .. } = reply {
            self.client.network.witness.acknowledged(run);
            if existing {
                self.client.network.witness.reached("run started before");
            }
        } else if !matches!(&reply, CommandReply::Rejected(Rejection::RunAlreadyFinished { .. })) {
            self.wrong("I-2", &format!("run {run} cannot be started: {reply:?}"));
        }
    }

    /// I-1, I-2: does a run over, or one that did one over.
    async fn retry(&self, start: &Start, chance: &mut Chance) {
        let of = self.run_of(start, chance);
        let step = format!("s{}", 1 + chance.below(4));
        let from = chance.one_in(2).then(|| StepPath::new(&step));
        let only = from.is_some() && chance.one_in(3);
        let ask =
            |from, only| RetryRun::new((of, self.count), (from, only), None, "client".to_owned());
        // Two want the same run done over, in the same way or not: one run does.
        let other = if chance.one_in(2) { ask(None, false) } else { ask(from.clone(), only) };
        let retry = ask(from, only);
        // Known before they exist, so that they are helped in any case.
        lock(&self.retried).extend([other.run, retry.run]);
        match chance.one_in(2) {
            true => drop(futures::join!(self.retry_once(&retry), self.retry_once(&other))),
            false => self.retry_once(&retry).await,
        }
    }

    async fn retry_once(&self, retry: &RetryRun) {
        let (run, witness) = (retry.run, &self.client.network.witness);
        let command = Command::Retry(Box::new(retry.clone()));
        let reply = self.until_answered(self.count.of(run), command).await;
        if let CommandReply::Started { existing, .. } = reply {
            witness.acknowledged(run);
            if existing {
                witness.reached("run retried before");
            }
        } else if matches!(
            &reply,
            // Its journal may be trimmed.
            CommandReply::Rejected(Rejection::CannotRetry { .. } | Rejection::RunNotFound { .. })
        ) {
            witness.reached("retry refused");
            if let CommandReply::Rejected(Rejection::CannotRetry { cause, .. }) = &reply
                && cause.contains("does it over")
            {
                witness.reached("run done over by another");
            }
        } else {
            self.wrong("I-2", &format!("run {} cannot be done over: {reply:?}", retry.of));
        }
    }

    /// Says that the first steps need no compensation any more.
    async fn skip(&self, run: RunId, chance: &mut Chance) {
        for number in 1..=chance.below(9) {
            let step = StepPath::new(&format!("s{number}"));
            self.tell(Command::Skip { run, step, by: "client".to_owned() }).await;
        }
    }

    /// Takes the steps that were given up on off the list.
    async fn drop_letters(&self, start: &Start, chance: &mut Chance) {
        let run = self.run_of(start, chance);
        for number in 1..=8 {
            let steps = vec![StepPath::new(&format!("s{number}"))];
            self.tell(Command::Drop { run, steps, by: "client".to_owned() }).await;
        }
    }

    /// Returns the run that was started, or one that does another one over.
    fn run_of(&self, start: &Start, chance: &mut Chance) -> RunId {
        match chance.one_in(3) {
            true => lock(&self.retried).last().copied().unwrap_or_else(|| start.run()),
            false => start.run(),
        }
    }

    /// Opens a breaker, or puts an agent into quarantine, or takes that back.
    async fn order(&self, start: &Start, chance: &mut Chance) {
        let reason = "a client says so".to_owned();
        let Ok(agent) = AgentId::new(&format!("a{}-1", 1 + chance.below(4))) else { return };
        let own = format!("{}/s{}", start.workflow, 1 + chance.below(4));
        let name = match self.plan.capabilities.as_slice() {
            capabilities @ [_, ..] if chance.one_in(2) => chance.pick(capabilities).clone(),
            _ => own,
        };
        let (order, back) = match chance.one_in(2) {
            true => {
                (Order::TripBreaker { name: name.clone(), reason }, Order::ResetBreaker { name })
            }
            false => (
                Order::QuarantineAgent { agent: agent.clone(), reason },
                Order::ReleaseAgent { agent },
            ),
        };
        lock(&self.ordered).push(back.clone());
        for order in [order, back].into_iter().take(if chance.one_in(4) { 2 } else { 1 }) {
            self.until_answered(PartitionId::new(0), Command::Order(order)).await;
        }
    }

    /// Lets runs go on that wait for somebody.
    pub(crate) async fn help(&self, number: u64) {
        for step in &self.hopeless {
            for run in self.client.network.witness.live_runs() {
                let (step, by) = (step.clone(), "client".to_owned());
                self.tell(Command::Skip { run, step, by }).await;
            }
        }
        let ordered = lock(&self.ordered).clone();
        for back in ordered {
            self.until_answered(PartitionId::new(0), Command::Order(back)).await;
        }
        let retried = lock(&self.retried).clone();
        let started = self.plan.starts.iter().map(Start::run);
        for run in started.chain(retried).collect::<BTreeSet<_>>() {
            self.resume(run).await;
            self.signal(run, number).await;
        }
    }

    async fn resume(&self, run: RunId) {
        self.tell(Command::Resume { run, by: "client".to_owned() }).await;
    }

    async fn signal(&self, run: RunId, number: u64) {
        for (name, payload) in &self.plan.signals {
            let Ok(id) = SignalId::new(&format!("{name}-{number}")) else { continue };
            let (name, payload) = (name.clone(), payload.clone().into());
            self.tell(Command::Signal(Signal { run, name, id, payload })).await;
        }
    }

    /// Tells the owner of a run something that it may refuse.
    async fn tell(&self, command: Command) {
        let run = match &command {
            Command::Cancel { run, .. }
            | Command::Pause { run, .. }
            | Command::Resume { run, .. }
            | Command::Skip { run, .. }
            | Command::Drop { run, .. } => *run,
            Command::Signal(signal) => signal.run,
            Command::Register(_)
            | Command::Start(_)
            | Command::Retry(_)
            | Command::ChildEnded { .. }
            | Command::Order(_)
            | Command::Ask(_) => return,
        };
        self.until_answered(self.count.of(run), command).await;
    }

    /// Sends a command until somebody decides on it.
    async fn until_answered(&self, partition: PartitionId, command: Command) -> CommandReply {
        loop {
            match self.client.command(partition, command.clone()).await {
                Ok(CommandReply::Rejected(rejection)) if self.is_passing(&rejection) => {}
                Ok(reply) => return reply,
                Err(_) => {}
            }
            let pause = |chance: &mut Chance| 50 + chance.below(450);
            sleep(Duration::from_millis(self.client.network.draw(pause))).await;
        }
    }

    fn is_passing(&self, rejection: &Rejection) -> bool {
        match rejection {
            Rejection::Busy { .. } | Rejection::NotOwner {} => true,
            Rejection::PartitionStopped { cause } if cause.contains("is stuck") => {
                self.client.network.witness.reached("partition stuck");
                true
            }
            Rejection::PartitionStopped { cause } => {
                self.wrong("I-9", &format!("a partition has stopped: {cause}"));
                true
            }
            Rejection::InvalidDefinition { .. }
            | Rejection::UnknownWorkflow { .. }
            | Rejection::InvalidInputs { .. }
            | Rejection::RunNotFound { .. }
            | Rejection::RunAlreadyFinished { .. }
            | Rejection::RunIdTaken { .. }
            | Rejection::CannotRetry { .. }
            | Rejection::NoDeadLetter { .. }
            | Rejection::NotStuck { .. }
            | Rejection::NotThere { .. }
            | Rejection::CannotObey { .. }
            | Rejection::Unreadable { .. }
            | Rejection::LimitExceeded { .. } => false,
        }
    }

    fn wrong(&self, number: &'static str, what: &str) {
        self.client.network.witness.violated(number, what.to_owned());
    }
}
