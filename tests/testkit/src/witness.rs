//! Sees everything that happens in a simulation, and holds it against the invariants.

mod account;
mod fail;
mod names;
mod part;
mod performed;
mod rations;
mod rounds;
mod shadow;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use skep_agent::Context;
use skep_broker::Bucket;
use skep_engine::Violation;
use skep_protocol::{
    AgentId, AttemptId, Board, Event, FailureKind, Hash, Outcome, PartitionId, Payload, Record,
    ReportBatch, ReportBody, RunId, RunStatus, Seq, Task, decode,
};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::account::{Account, Stores};
use self::fail::fail;
pub(crate) use self::part::Part;
pub(crate) use self::performed::Begun;
use self::performed::Performed;
use self::shadow::{Shadow, tells_that_nobody_began};
use self::told::{Told, told};
use crate::network::lock;

/// A coordinator sends nothing on the strength of a look at a journal that is older than
/// 1.25 s; two hosts may be a little apart.
const STALE_AFTER: Duration = Duration::from_secs(2);

/// Who wrote what was there before.
const BEFORE: &str = "before";

/// Sees everything.
#[derive(Debug)]
pub(crate) struct Witness {
    seen: Mutex<Seen>,
    changed: Notify,
}

/// What was seen.
#[derive(Debug)]
struct Seen {
    began: Instant,
    shadows: BTreeMap<PartitionId, Shadow>,
    ended: BTreeMap<RunId, RunStatus>,
    outputs: BTreeMap<AttemptId, Vec<(AgentId, Payload)>>,
    /// Attempts of which their agent said that they took too long.
    timed_out: BTreeSet<AttemptId>,
    /// Attempts that their agent gave back.
    released: BTreeSet<(AttemptId, AgentId)>,
    performed: Performed,
    /// Nothing fails but handlers: who is told to stop has stopped before the next one begins.
    is_orderly: bool,
    /// Agents that said that they pull nothing.
    out: BTreeSet<AgentId>,
    reached: BTreeMap<&'static str, u64>,
    messages: Vec<(PartitionId, Bytes)>,
    stores: Stores,
    digest: Hash,
    violation: Option<Violation>,
    trace: Option<Vec<String>>,
    /// What completes here is reported as failed.
    failing: BTreeSet<Part>,
}

impl Witness {
    pub(crate) fn new(traces: bool, is_orderly: bool, failing: BTreeSet<Part>) -> Self {
        let seen = Seen {
            began: Instant::now(),
            shadows: BTreeMap::new(),
            ended: BTreeMap::new(),
            outputs: BTreeMap::new(),
            timed_out: BTreeSet::new(),
            released: BTreeSet::new(),
            performed: Performed::default(),
            is_orderly,
            out: BTreeSet::new(),
            reached: BTreeMap::new(),
            messages: Vec::new(),
            stores: Stores::default(),
            digest: Hash::ZERO,
            violation: None,
            trace: traces.then(Vec::new),
            failing,
        };
        Self { seen: Mutex::new(seen), changed: Notify::new() }
    }

    /// A point was reached that some simulation has to reach.
    pub(crate) fn reached(&self, point: &'static str) {
        lock(&self.seen).reach(point);
    }

    /// Notes what happens, for people.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        lock(&self.seen).note(line);
    }

    /// A message is in a journal.
    pub(crate) fn appended(&self, by: &str, partition: PartitionId, seq: Seq, message: &Bytes) {
        let mut seen = lock(&self.seen);
        let checked = seen.appended(Some(by), partition, seq, message);
        seen.check(checked);
        drop(seen);
        self.changed.notify_waiters();
    }

    /// A message was in a journal before anything began.
    pub(crate) fn found(&self, partition: PartitionId, seq: Seq, message: &Bytes) {
        let mut seen = lock(&self.seen);
        let checked = seen.appended(None, partition, seq, message);
        seen.check(checked);
    }

    /// A large value is kept.
    pub(crate) fn kept_blob(&self, blob: &Bytes) {
        lock(&self.seen).stores.blobs.push(blob.clone());
    }

    /// A fact is kept.
    pub(crate) fn kept_fact(&self, bucket: Bucket, key: &str, value: &Bytes) {
        let mut seen = lock(&self.seen);
        if let (Bucket::Cluster, Ok(board)) = (bucket, decode::<Board>(value)) {
            board.breakers.values().for_each(|breaker| seen.reach(names::of_breaker(breaker)));
            board.agents.values().for_each(|_| seen.reach("agent in quarantine"));
        }
        let facts = &mut seen.stores.facts;
        facts.retain(|(other, name, _)| (*other, name.as_str()) != (bucket, key));
        facts.push((bucket, key.to_owned(), value.clone()));
    }

    /// I-6, I-15: a coordinator sends a task.
    pub(crate) fn sent(&self, by: &str, task: &Task) {
        let mut seen = lock(&self.seen);
        let id = task.id();
        let shadow = seen.shadows.get(&task.partition);
        let known = shadow.is_some_and(|shadow| shadow.scheduled.contains(&id));
        let over = shadow.and_then(|shadow| shadow.over_since(&id));
        seen.note(|| format!("{by} sends {id}"));
        seen.check(match over {
            _ if !known => violated("I-6", format!("{by} sends {id} before it is durable")),
            Some(since) if since.elapsed() > STALE_AFTER => violated(
                "I-15",
                format!("{by} sends {id}, which has been over for {:?}", since.elapsed()),
            ),
            Some(_) | None => Ok(()),
        });
    }

    /// An agent reports; returns what is reported.
    pub(crate) fn reported(&self, mut batch: ReportBatch) -> ReportBatch {
        let mut seen = lock(&self.seen);
        for report in &mut batch.reports {
            if seen.fails(&report.id()) {
                fail(&mut report.body);
            }
            if let ReportBody::Released { .. } = &report.body {
                seen.released.insert((report.id(), batch.agent.clone()));
            }
            let ReportBody::Outcome(outcome) = &report.body else { continue };
            match outcome {
                Outcome::Completed { output, .. } => {
                    let told = (batch.agent.clone(), output.clone());
                    let outputs = seen.outputs.entry(report.id()).or_default();
                    if !outputs.contains(&told) {
                        outputs.push(told);
                    }
                }
                Outcome::Failed { failure, .. } if failure.kind == FailureKind::Timeout => {
                    seen.timed_out.insert(report.id());
                }
                Outcome::Failed { .. } => {}
            }
        }
        batch
    }

    /// I-4, I-6, I-13, I-19: a handler begins, of so many that its agent has for the capability.
    pub(crate) fn began(&self, context: &Context, slots: u32) -> Begun {
        let begun = Begun::of(context);
        let (agent, id) = (begun.agent(), begun.attempt());
        let mut seen = lock(&self.seen);
        seen.note(|| format!("{agent} begins {id}"));
        let taker = seen.shadows.values().find_map(|shadow| shadow.taken.get(id)).cloned();
        let known = seen.shadows.values().any(|shadow| shadow.scheduled.contains(id));
        seen.check(demand(known, "I-6", || format!("{agent} begins {id}, which nobody scheduled")));
        let is_before = |other: &AttemptId| {
            seen.shadows.values().any(|shadow| shadow.rounds.is_before(other, id))
        };
        if let Some((other, holder)) = seen.performed.beside(&begun, is_before).cloned() {
            seen.reach("attempt begun beside another");
            let is_orderly = seen.is_orderly;
            seen.check(demand(!is_orderly, "I-13", || {
                format!("{agent} begins {id} while {holder} still performs {other}")
            }));
        }
        let untouched = seen.shadows.values().any(|shadow| shadow.untouched.contains(id));
        seen.check(demand(!untouched, "I-10", || {
            format!("{agent} begins {id}, which ended as something that nobody began")
        }));
        let token = (context.idempotency_key(), context.fencing_token());
        let checked = seen.performed.began(&begun, token, slots);
        seen.check(checked);
        seen.check_not_out(agent.as_str());
        // A task that was on its way for long: at least once, and one of them counts (I-3).
        if taker.is_some_and(|taker| taker != *agent) {
            seen.reach("attempt begun that another took");
        }
        begun
    }

    /// A handler has ended.
    pub(crate) fn ended(&self, begun: &Begun) {
        lock(&self.seen).performed.ended(begun);
    }

    /// I-1: a client was told that its run is started.
    pub(crate) fn acknowledged(&self, run: RunId) {
        let mut seen = lock(&self.seen);
        let known = seen.shadows.values().any(|shadow| shadow.runs.contains(&run));
        seen.check(demand(known, "I-1", || format!("{run} is acknowledged and not durable")));
    }

    /// Something is wrong.
    pub(crate) fn violated(&self, number: &'static str, what: String) {
        lock(&self.seen).check(violated(number, what));
        self.changed.notify_waiters();
    }

    /// Waits until every run that began is over and its parent knows, or something is wrong.
    pub(crate) async fn settled(&self, at_least: usize) {
        while !lock(&self.seen).is_settled(at_least) {
            self.changed.notified().await;
        }
    }

    /// Waits until something is wrong.
    pub(crate) async fn until_violated(&self) {
        while lock(&self.seen).violation.is_none() {
            self.changed.notified().await;
        }
    }

    /// I-8: a snapshot and what follows it are the same as the whole journal.
    pub(crate) fn check_replays(&self) {
        let mut seen = lock(&self.seen);
        let checked = seen.shadows.values().try_for_each(Shadow::check_replays);
        seen.check(checked);
    }

    /// Returns the runs that began and are not over, sub-workflows included.
    pub(crate) fn live_runs(&self) -> BTreeSet<RunId> {
        let seen = lock(&self.seen);
        let runs = seen.shadows.values().flat_map(|shadow| &shadow.runs);
        runs.filter(|run| !seen.ended.contains_key(run)).copied().collect()
    }

    /// Returns what a run waits for, for people.
    pub(crate) fn unfinished(&self) -> String {
        let seen = lock(&self.seen);
        let mut text = String::new();
        for shadow in seen.shadows.values() {
            for run in shadow.runs.iter().filter(|run| !seen.ended.contains_key(run)) {
                let waiting = shadow.partition.waiting(*run, &[]);
                let owed = shadow.partition.outstanding();
                let _ = write!(text, "run {run} waits: {waiting:?}; owed: {owed:?}; ");
            }
        }
        text
    }

    /// Returns what is known at the end.
    pub(crate) fn account(&self) -> Account {
        let mut seen = lock(&self.seen);
        let records = seen.shadows.values().map(|shadow| shadow.records).sum();
        Account {
            violation: seen.violation.take(),
            digest: seen.digest,
            ended: std::mem::take(&mut seen.ended),
            reached: std::mem::take(&mut seen.reached),
            messages: std::mem::take(&mut seen.messages),
            stores: std::mem::take(&mut seen.stores),
            steps: seen.shadows.values().flat_map(Shadow::steps).collect(),
            parts: seen.shadows.values().flat_map(|shadow| shadow.parts.clone()).collect(),
            records,
            trace: seen.trace.take().unwrap_or_default(),
        }
    }
}

impl Seen {
    fn reach(&mut self, point: &'static str) {
        *self.reached.entry(point).or_default() += 1;
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let ms = self.began.elapsed().as_millis();
            trace.push(format!("{:>9.3} {}", ms as f64 / 1_000.0, line()));
        }
    }

    fn check(&mut self, checked: Result<(), Violation>) {
        if let Err(violation) = checked {
            self.note(|| format!("VIOLATION {violation}"));
            self.violation.get_or_insert(violation);
        }
    }

    fn is_settled(&self, at_least: usize) -> bool {
        let quiet = |shadow: &Shadow| {
            shadow.partition.live_runs() == 0 && shadow.partition.outstanding().is_empty()
        };
        self.violation.is_some()
            || (self.ended.len() >= at_least && self.shadows.values().all(quiet))
    }

    fn appended(
        &mut self,
        by: Option<&str>,
        partition: PartitionId,
        seq: Seq,
        message: &Bytes,
    ) -> Result<(), Violation> {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut told = self.digest.to_string().into_bytes();
        told.extend_from_slice(&at.to_be_bytes());
        told.extend_from_slice(&partition.get().to_be_bytes());
        told.extend_from_slice(message);
        self.digest = Hash::of(&told);
        self.messages.push((partition, message.clone()));
        let shadow = self.shadows.entry(partition).or_insert_with(|| Shadow::new(partition));
        let records = shadow.message(by, seq, message, &self.timed_out)?;
        for record in &records {
            self.of_record(by.unwrap_or(BEFORE), partition, record)?;
        }
        Ok(())
    }

    fn of_record(
        &mut self,
        by: &str,
        partition: PartitionId,
        record: &Record,
    ) -> Result<(), Violation> {
        self.note(|| format!("{by} p{partition} {}", names::line(record)));
        self.reach(names::of(record));
        let Record::Run(record) = record else { return Ok(()) };
        if let Some(status) = record.event.ending() {
            self.ended.insert(record.run, status);
        }
        if matches!(record.event, Event::ReportIgnored(_)) && self.ended.contains_key(&record.run) {
            self.reach("report after the end");
        }
        let untouched = self.shadows.get(&partition).map(|shadow| &shadow.untouched);
        let untouched = untouched.filter(|_| tells_that_nobody_began(&record.event));
        let begun = untouched.into_iter().flatten().find(|id| self.performed.was_begun(id));
        demand(begun.is_none(), "I-10", || format!("somebody began {begun:?}: {record:?}"))?;
        let known = match told(record) {
            Some(Told::Completed(id, agent, output)) => {
                let told = (agent.clone(), output.clone());
                self.outputs.get(&id).is_some_and(|outputs| outputs.contains(&told))
            }
            Some(Told::Released(id, agent)) => self.released.contains(&(id, agent.clone())),
            None => true,
        };
        demand(known || by == BEFORE, "I-3", || format!("no agent reported {record:?}"))
    }
}

fn demand(
    holds: bool,
    number: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { violated(number, what()) }
}

fn violated(number: &'static str, what: String) -> Result<(), Violation> {
    Err(Violation { number, what })
}
