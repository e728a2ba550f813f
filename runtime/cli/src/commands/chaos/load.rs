//! The load: clients that start runs under ids of their own, ask again until they are answered, and
//! at times once more; and an operator who helps runs that are stuck.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skep_broker::{Commands as _, Queries as _};
use skep_nats::Nats;
use skep_protocol::{
    Command, CommandReply, PartitionCount, PartitionId, Payload, Query, QueryReply,
    RegisterWorkflow, Rejection, RunId, RunStatus, StartRun, StepPath,
};
use tokio::task::JoinSet;

use super::chance::Chance;
use super::history::{Asked, LABEL};
use super::kinds::{KINDS, Kind};
use super::watch::Watch;
use crate::error::{Error, Exit};
use crate::human;

/// Pause between two tries.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Between two looks of the operator.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a step takes, in milliseconds: some are over at once, some live through faults.
const STEPS_TAKE: [u64; 5] = [5, 50, 200, 900, 2_500];
/// Once in so many starts, it is asked for again after it was answered.
const ASKED_AGAIN: u64 = 6;
/// Once in so many runs, its end is asked for.
const CANCELLED: u64 = 15;

/// What all clients share.
struct Desk {
    nats: Nats,
    partitions: PartitionCount,
    label: String,
    digests: BTreeMap<&'static str, String>,
    watch: Watch,
    stop: AtomicBool,
    next: AtomicU64,
    notes: Mutex<Notes>,
}

/// What is written down for the checks.
#[derive(Debug, Default, Clone)]
pub(super) struct Notes {
    pub(super) asked: BTreeMap<RunId, Asked>,
    pub(super) seen_stuck: BTreeSet<RunId>,
    /// What a client was told that no client should be.
    pub(super) surprises: Vec<String>,
}

impl Notes {
    fn surprise(&mut self, run: RunId, what: &str, reply: &CommandReply) {
        self.surprises.push(format!("run {run}: {what} is answered by {reply:?}"));
    }
}

/// The load, until it is dropped.
pub(super) struct Load {
    desk: Arc<Desk>,
    clients: JoinSet<()>,
    _operator: JoinSet<()>,
}

impl Load {
    /// Registers the definitions and keeps `runs` runs under way.
    pub(super) async fn start(
        nats: &Nats,
        partitions: PartitionCount,
        (seed, label): (u64, &str),
        runs: u32,
    ) -> Result<Self, Error> {
        let mut digests = BTreeMap::new();
        for kind in KINDS {
            digests.insert(kind.name, register(nats, kind).await?);
        }
        let watch = Watch::start(nats, partitions).await?;
        let (stop, next) = (AtomicBool::new(false), AtomicU64::new(0));
        let (nats, label, notes) = (nats.clone(), label.to_owned(), Mutex::default());
        let desk = Arc::new(Desk { nats, partitions, label, digests, watch, stop, next, notes });
        let mut clients = JoinSet::new();
        for number in 0..u64::from(runs) {
            let chance = Chance::new(seed ^ (number + 1).rotate_left(32));
            clients.spawn(Arc::clone(&desk).client(chance));
        }
        let mut operator = JoinSet::new();
        operator.spawn(Arc::clone(&desk).operator());
        Ok(Self { desk, clients, _operator: operator })
    }

    /// Starts no more and waits until all are over, at most so long; then tells what was asked.
    pub(super) async fn finish(mut self, patience: Duration) -> Notes {
        self.desk.stop.store(true, Ordering::Relaxed);
        let all = async { while self.clients.join_next().await.is_some() {} };
        let ended = tokio::time::timeout(patience, all).await;
        let mut notes = self.desk.notes().clone();
        if ended.is_err() {
            let (waiting, patience) = (self.clients.len(), human::duration(patience));
            notes.surprises.push(format!("{waiting} clients still wait after {patience}"));
        }
        notes
    }
}

/// Asks until there is an answer.
async fn ask(nats: &Nats, partition: PartitionId, command: Command) -> CommandReply {
    loop {
        if let Ok(reply) = nats.command(partition, command.clone()).await
            && !is_later(&reply)
        {
            return reply;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Returns whether another time is a better one: a partition is stopped, too, while its journal
/// does not answer.
const fn is_later(reply: &CommandReply) -> bool {
    matches!(
        reply,
        CommandReply::Rejected(
            Rejection::Busy { .. } | Rejection::NotOwner {} | Rejection::PartitionStopped { .. }
        )
    )
}

async fn register(nats: &Nats, kind: &Kind) -> Result<String, Error> {
    let (source, file) = (kind.source.to_owned(), format!("{}.skep.yaml", kind.name));
    // Sub-workflows are found by their names.
    let register = Command::Register(RegisterWorkflow { source, file, publish: true });
    let reply = ask(nats, PartitionId::new(0), register).await;
    if let CommandReply::Registered { digest, .. } = reply {
        return Ok(digest.to_string());
    }
    Err(Error::new(Exit::Failed, format!("{} was not taken: {reply:?}", kind.name)))
}

impl Desk {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has one run after the other.
    async fn client(self: Arc<Self>, mut chance: Chance) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let kind = &KINDS[usize::try_from(chance.below(KINDS.len() as u64)).unwrap_or(0)];
            let run = RunId::from_key(&self.label, &number.to_string());
            let ms = chance.pick(&STEPS_TAKE).unwrap_or_default();
            let start = self.start_of(run, kind, ms);
            let asked = Asked { run, kind, acknowledged: false, cancelled: false };
            self.notes().asked.insert(run, asked);
            self.start(&start).await;
            if chance.one_in(CANCELLED) {
                tokio::time::sleep(Duration::from_millis(chance.below(3_000))).await;
                self.cancel(run).await;
            }
            if chance.one_in(ASKED_AGAIN) {
                tokio::time::sleep(Duration::from_millis(chance.below(5_000))).await;
                self.start(&start).await;
            }
            self.watch.over(run).await;
        }
    }

    fn start_of(&self, run: RunId, kind: &Kind, ms: u64) -> StartRun {
        StartRun {
            run,
            workflow: self.digests.get(kind.name).cloned().unwrap_or_default(),
            inputs: Payload::from(serde_json::json!({ "ms": ms })),
            parent: None,
            depth: 0,
            labels: BTreeMap::from([(LABEL.to_owned(), self.label.clone())]),
        }
    }

    async fn start(&self, start: &StartRun) {
        let partition = self.partitions.of(start.run);
        let reply = ask(&self.nats, partition, Command::Start(Box::new(start.clone()))).await;
        let started = matches!(reply, CommandReply::Started { .. });
        let mut notes = self.notes();
        if let Some(asked) = notes.asked.get_mut(&start.run) {
            asked.acknowledged |= started;
        }
        if !started {
            notes.surprise(start.run, "start", &reply);
        }
    }

    async fn cancel(&self, run: RunId) {
        if let Some(asked) = self.notes().asked.get_mut(&run) {
            asked.cancelled = true;
        }
        let cancel = Command::Cancel { run, reason: "chaos".to_owned() };
        let reply = ask(&self.nats, self.partitions.of(run), cancel).await;
        let over = matches!(reply, CommandReply::Rejected(Rejection::RunAlreadyFinished { .. }));
        if !over && reply != (CommandReply::Done {}) {
            self.notes().surprise(run, "cancel", &reply);
        }
    }

    /// Takes compensations as done that failed for good, once a query shows the run as stuck.
    async fn operator(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for (run, step) in self.watch.stuck() {
                self.help(run, step).await;
            }
        }
    }

    async fn help(&self, run: RunId, step: StepPath) {
        let Ok(QueryReply::Run(detail)) = self.nats.query(Query::run(run)).await else { return };
        if detail.summary.status != RunStatus::Stuck {
            return;
        }
        if !self.notes().asked.contains_key(&run) {
            return;
        }
        self.notes().seen_stuck.insert(run);
        let skip = Command::Skip { run, step, by: "chaos".to_owned() };
        let reply = ask(&self.nats, self.partitions.of(run), skip).await;
        // It may have been told before, and nobody was there for the answer.
        let helped = matches!(
            reply,
            CommandReply::Rejected(
                Rejection::NotStuck { .. } | Rejection::RunAlreadyFinished { .. }
            )
        );
        if !helped && reply != (CommandReply::Done {}) {
            self.notes().surprise(run, "skip", &reply);
        }
    }
}
