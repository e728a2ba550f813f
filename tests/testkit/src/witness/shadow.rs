//! The state of one partition, folded from its journal as it grows, and checked.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use skep_engine::{Audit, Partition, Violation};
use skep_protocol::{
    AgentId, AttemptFailed, AttemptId, Batch, Event, Hash, PartitionId, Record, RunId, RunRecord,
    Seq, StepPath,
};
use tokio::time::Instant;

use super::part::{Fallbacks, Part};
use super::rounds::Rounds;

/// After so many records the state is restored from a snapshot, to be compared at the end.
const RESTORED_EVERY: u64 = 40;
/// The time of a journal may lose a little with each take-over: much less than a clock jumps.
const OFF_MS: i128 = 1_200_000;

/// One partition as its journal tells it.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) partition: Partition,
    /// The same, restored from a snapshot on the way.
    restored: Partition,
    audit: Audit,
    began: Instant,
    chain: Hash,
    seq: Seq,
    owner: Option<String>,
    /// How far its time was ahead of the time that passes, at least and at most, in milliseconds,
    /// for as long as some run is live.
    ahead: Option<(i128, i128)>,
    pub(super) records: u64,
    pub(super) runs: BTreeSet<RunId>,
    pub(super) scheduled: BTreeSet<AttemptId>,
    /// Who has an attempt, as far as it is recorded.
    pub(super) taken: BTreeMap<AttemptId, AgentId>,
    /// What was attempted.
    pub(super) parts: BTreeSet<Part>,
    pub(super) fallbacks: Fallbacks,
    /// What ended as something that nobody began.
    pub(super) untouched: BTreeSet<AttemptId>,
    pub(super) rounds: Rounds,
    over: BTreeMap<(RunId, StepPath), (u32, Instant)>,
    runs_over: BTreeMap<RunId, Instant>,
}

impl Shadow {
    pub(super) fn new(id: PartitionId) -> Self {
        Self {
            partition: Partition::new(id),
            restored: Partition::new(id),
            audit: Audit::default(),
            began: Instant::now(),
            chain: Hash::ZERO,
            seq: Seq::ZERO,
            owner: None,
            ahead: None,
            records: 0,
            runs: BTreeSet::new(),
            scheduled: BTreeSet::new(),
            taken: BTreeMap::new(),
            parts: BTreeSet::new(),
            fallbacks: Fallbacks::default(),
            untouched: BTreeSet::new(),
            rounds: Rounds::default(),
            over: BTreeMap::new(),
            runs_over: BTreeMap::new(),
        }
    }

    /// Takes in the next message and returns its records.
    pub(super) fn message(
        &mut self,
        by: Option<&str>,
        seq: Seq,
        message: &Bytes,
        timed_out: &BTreeSet<AttemptId>,
    ) -> Result<Vec<Record>, Violation> {
        let broken = |number, what: String| Violation { number, what };
        let id = self.partition.id();
        if seq != self.seq.next() {
            return Err(broken("I-9", format!("message {seq} of p{id} follows {}", self.seq)));
        }
        let batch = Batch::decode(message, seq, id, self.chain)
            .map_err(|error| broken("I-5", format!("p{id}: {error}")))?;
        (self.seq, self.chain) = (seq, Hash::of(message));
        for record in &batch.records {
            self.record(record, timed_out)?;
            if by.is_some() {
                self.keeps_time(record)?;
            }
        }
        self.partition.check_invariants()?;
        let owner = self.owner.as_deref();
        if by.is_some() && by != owner {
            let what = format!("{by:?} writes the journal of p{id}, whose owner is {owner:?}");
            return Err(broken("I-5", what));
        }
        if batch.epoch != self.partition.epoch() {
            let (found, epoch) = (batch.epoch, self.partition.epoch());
            return Err(broken("I-5", format!("p{id}: a message of epoch {found} in {epoch}")));
        }
        Ok(batch.records)
    }

    /// Takes in a record. Agents look at the time, too: of a `timed_out` attempt the agent said so,
    /// by its own clock.
    fn record(
        &mut self,
        record: &Record,
        timed_out: &BTreeSet<AttemptId>,
    ) -> Result<(), Violation> {
        let fold = |partition: &mut Partition| {
            let applied = partition.apply(record);
            drop(partition.take_changes());
            applied.map_err(|error| Violation { number: "I-8", what: error.to_string() })
        };
        fold(&mut self.partition)?;
        fold(&mut self.restored)?;
        self.records += 1;
        if self.records.is_multiple_of(RESTORED_EVERY) {
            let snapshot = self.partition.snapshot();
            self.restored = Partition::restore(self.partition.id(), &snapshot)
                .map_err(|error| Violation { number: "I-8", what: error.to_string() })?;
        }
        match self.audit.record(record, &self.partition) {
            Err(early) if early.number == "I-16" && failed(record, timed_out) => {}
            checked => checked?,
        }
        match record {
            Record::OwnerChanged(changed) => self.owner = Some(changed.coordinator.to_string()),
            Record::WorkflowAdded(_) => {}
            Record::Run(record) => self.of_run(record),
        }
        Ok(())
    }

    /// I-16: for as long as a run is live, the time of the journal goes on as time does, whoever
    /// writes it.
    fn keeps_time(&mut self, record: &Record) -> Result<(), Violation> {
        let at = match record {
            Record::OwnerChanged(changed) => changed.at,
            Record::Run(record) => record.at,
            Record::WorkflowAdded(_) => return Ok(()),
        };
        let passed = i128::try_from(self.began.elapsed().as_millis()).unwrap_or(i128::MAX);
        let ahead = i128::from(at.as_millis()) - passed;
        let (least, most) = self.ahead.unwrap_or((ahead, ahead));
        let (least, most) = (least.min(ahead), most.max(ahead));
        self.ahead = (self.partition.live_runs() > 0).then_some((least, most));
        if most - least <= OFF_MS {
            return Ok(());
        }
        let id = self.partition.id();
        let what = format!("the time of p{id} jumped by {} ms: {record:?}", most - least);
        Err(Violation { number: "I-16", what })
    }

    fn of_run(&mut self, record: &RunRecord) {
        let RunRecord { run, event, .. } = record;
        if matches!(event, Event::RunStarted(_)) {
            self.runs.insert(*run);
        }
        if event.ends_run() {
            self.runs_over.insert(*run, Instant::now());
        }
        self.fallbacks.follow(*run, event);
        self.rounds.follow(*run, event);
        if let Event::AttemptScheduled(scheduled) = event {
            let (step, attempt) = (scheduled.step.clone(), scheduled.attempt);
            self.over.insert((*run, step.clone()), (attempt - 1, Instant::now()));
            let id = AttemptId { run: *run, step, attempt };
            self.parts.insert(self.fallbacks.part(&id));
            self.scheduled.insert(id);
        }
        if let Event::AttemptTaken { step, attempt, agent } = event {
            let id = AttemptId { run: *run, step: step.clone(), attempt: *attempt };
            self.taken.insert(id, agent.clone());
        }
        if let Event::AttemptReleased { step, attempt, .. } = event {
            let id = AttemptId { run: *run, step: step.clone(), attempt: *attempt };
            self.taken.remove(&id);
        }
        if let Some(step) = event.step().filter(|_| tells_that_nobody_began(event)) {
            // Until then all attempts before the last one were over.
            let before = self.over.get(&(*run, step.clone())).map_or(0, |(before, _)| *before);
            self.untouched.insert(AttemptId { run: *run, step: step.clone(), attempt: before + 1 });
        }
        if let Some((step, attempt)) = ended_by(event) {
            self.over.insert((*run, step.clone()), (attempt, Instant::now()));
        }
    }

    /// Returns since when an attempt has been over.
    pub(super) fn over_since(&self, id: &AttemptId) -> Option<Instant> {
        let run = self.runs_over.get(&id.run).copied();
        let step = self.over.get(&(id.run, id.step.clone()));
        let attempt = step.filter(|(attempt, _)| *attempt >= id.attempt).map(|(_, since)| *since);
        attempt.or(run)
    }

    /// I-8: what was restored on the way is the same.
    pub(super) fn check_replays(&self) -> Result<(), Violation> {
        if self.partition.digest() == self.restored.digest() {
            return Ok(());
        }
        let what = format!("p{}: a snapshot and its tail are another state", self.partition.id());
        Err(Violation { number: "I-8", what })
    }

    /// Returns the steps that were attempted.
    pub(super) fn steps(&self) -> impl Iterator<Item = StepPath> {
        self.scheduled.iter().map(|id| id.step.clone())
    }
}

/// Returns whether an event says of the attempt that it ends that no agent began it.
pub(super) fn tells_that_nobody_began(event: &Event) -> bool {
    let given_up = |failed: &AttemptFailed| failed.agent.is_none() && failed.leaves_nothing();
    event.leaves_untouched() || matches!(event, Event::AttemptFailed(event) if given_up(event))
}

/// Returns whether an attempt failed that is among these.
fn failed(record: &Record, among: &BTreeSet<AttemptId>) -> bool {
    let Record::Run(RunRecord { run, event: Event::AttemptFailed(failed), .. }) = record else {
        return false;
    };
    among.contains(&AttemptId { run: *run, step: failed.step.clone(), attempt: failed.attempt })
}

/// Returns the step whose attempts up to this number are over with an event.
fn ended_by(event: &Event) -> Option<(&StepPath, u32)> {
    if let Event::AttemptCompleted(event) = event {
        return Some((&event.step, event.attempt));
    }
    if let Event::AttemptFailed(event) = event {
        return Some((&event.step, event.attempt));
    }
    if let Event::AttemptLost { step, attempt, .. } = event {
        return Some((step, *attempt));
    }
    let ends = matches!(event, Event::StepCancelled { .. } | Event::StepFailed { .. });
    event.step().filter(|_| ends).map(|step| (step, u32::MAX))
}
