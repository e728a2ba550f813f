//! A partition with everything around it, checked after every input in every way there is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::ProptestConfig;
use skep_engine::{
    Again, Audit, CannotRetry, Change, Effect, EffectKey, Handled, Input, Partition, Past, Recall,
    Resolved,
};
use skep_protocol::{
    AttemptId, BlobRef, Hash, PartitionId, Payload, Record, RetryOf, RunId, RunRecord, StartRun,
    StepPath, Timestamp,
};
use skep_workflow::Workflow;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_000_000_000_000);

/// The run that tests start.
pub(crate) fn run_id() -> RunId {
    "00000000-0000-7000-8000-000000000001".parse().unwrap()
}

/// So many cases; a failing one prints its seed, which says everything.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

pub(crate) fn read(definition: &str) -> Workflow {
    match skep_workflow::read(definition.as_bytes(), "test.skep.yaml") {
        Ok(workflow) => workflow,
        Err(rejected) => panic!("{}", rejected.render(skep_workflow::Style::Plain)),
    }
}

pub(crate) fn digest(workflow: &Workflow) -> Hash {
    Hash::from_bytes(*workflow.digest().as_bytes())
}

/// What one input led to.
pub(crate) struct Step {
    pub(crate) handled: Handled,
    pub(crate) changes: Vec<Change>,
}

/// Steps whose attempts nobody began, of those that nobody was seen to take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(pub(crate) BTreeSet<StepPath>);

impl Recall for Waiting {
    fn recall(&self, attempt: &AttemptId) -> bool {
        self.0.contains(&attempt.step)
    }
}

pub(crate) struct World {
    pub(crate) partition: Partition,
    pub(crate) now: Timestamp,
    pub(crate) blobs: BTreeMap<Hash, Bytes>,
    pub(crate) owed: BTreeMap<EffectKey, Effect>,
    pub(crate) records: Vec<Record>,
    pub(crate) attempts: BTreeMap<StepPath, u32>,
    /// What nobody began.
    pub(crate) untouched: Waiting,
    audit: Audit,
    /// Whether every input is handled by a replayed and by a restored partition, too.
    pub(crate) thorough: bool,
}

const ID: PartitionId = PartitionId::new(3);

impl World {
    pub(crate) fn new() -> Self {
        Self {
            partition: Partition::new(ID),
            now: START,
            blobs: BTreeMap::new(),
            owed: BTreeMap::new(),
            records: Vec::new(),
            attempts: BTreeMap::new(),
            untouched: Waiting::default(),
            audit: Audit::default(),
            thorough: true,
        }
    }

    pub(crate) fn quick() -> Self {
        Self { thorough: false, ..Self::new() }
    }

    pub(crate) fn resolved(&self, workflow: &Workflow) -> Resolved {
        let references = workflow.referenced_workflows().iter();
        let pinned = references.map(|(name, version)| {
            let name = match version {
                Some(version) => format!("{name}@{version}"),
                None => name.to_string(),
            };
            let digest = Hash::of(name.as_bytes());
            (name, digest)
        });
        let (digest, pinned) = (digest(workflow), pinned.collect());
        Resolved { digest, workflow: Some(workflow.clone()), pinned }
    }

    /// Starts the run.
    pub(crate) fn start(&mut self, workflow: &Workflow, inputs: &str) -> Vec<Record> {
        let start = StartRun {
            run: run_id(),
            workflow: workflow.name().to_string(),
            inputs: Payload::from_text(inputs).unwrap(),
            parent: None,
            depth: 0,
            labels: BTreeMap::new(),
        };
        let workflow = self.resolved(workflow);
        self.handle(Input::Start { start: Box::new(start), workflow }).handled.records
    }

    /// Starts the run once more in a world of its own, as one that does the run of this one over;
    /// what is kept goes into the blob store if `apart`.
    pub(crate) fn retried(
        &self,
        workflow: &Workflow,
        again: &Again,
        apart: bool,
    ) -> Result<Self, CannotRetry> {
        let past = Past::new(workflow, &self.history())?;
        let facts = past.keep(again)?;
        let mut world = Self { now: self.now, thorough: self.thorough, ..Self::new() };
        let text = skep_protocol::encode(&facts);
        let kept = match apart {
            true => {
                let blob = BlobRef::of(&text);
                world.blobs.insert(blob.hash, text);
                Payload::from(blob)
            }
            false => Payload::from_text(std::str::from_utf8(&text).unwrap()).unwrap(),
        };
        world.blobs.extend(self.blobs.clone());
        let kept = (!facts.is_empty()).then_some(kept);
        world.retry_as(workflow, kept, u32::try_from(facts.len()).unwrap());
        Ok(world)
    }

    /// Starts the run as one that does another one over, of which this is kept.
    pub(crate) fn retry_as(&mut self, workflow: &Workflow, kept: Option<Payload>, facts: u32) {
        let run = run_id();
        self.retry((run, run), workflow, (kept, facts));
        while let Some(answer) = self.fetched(&self.partition).into_iter().next() {
            self.handle(answer);
        }
    }

    /// Starts a run that does another one over, of which this is kept.
    pub(crate) fn retry(
        &mut self,
        (run, of): (RunId, RunId),
        workflow: &Workflow,
        (kept, facts): (Option<Payload>, u32),
    ) -> Step {
        let (from, only, by) = (None, false, "ada".to_owned());
        let retry = Box::new(RetryOf { run: of, from, only, by, kept, facts });
        let start = Box::new(StartRun {
            run,
            workflow: workflow.name().to_string(),
            inputs: Payload::from_text("{}").unwrap(),
            parent: None,
            depth: 0,
            labels: BTreeMap::new(),
        });
        let workflow = self.resolved(workflow);
        self.handle(Input::Retry { start, workflow, retry })
    }

    /// Returns what happened to the run.
    pub(crate) fn history(&self) -> Vec<RunRecord> {
        let records = self.records.iter().filter_map(|record| match record {
            Record::Run(record) if record.run == run_id() => Some(record.clone()),
            _ => None,
        });
        records.collect()
    }

    /// Handles one input and checks whatever can be checked.
    pub(crate) fn handle(&mut self, input: Input) -> Step {
        let others = self.thorough.then(|| self.others()).into_iter().flatten();
        let same = input.clone();
        let is_wake = matches!(input, Input::Wake);
        let taken = self.thorough.then(|| (self.partition.snapshot(), self.partition.freeze()));
        let handled = self.partition.handle_recalling(input, self.now, &self.untouched);
        let handled = handled.expect("decisions fit the state");
        if let Some((before, frozen)) = taken {
            let mut bytes = Vec::new();
            frozen.write_onto(&mut bytes);
            assert_eq!(bytes, before, "what was taken of the state stays as it was");
        }
        self.blobs.extend(handled.blobs.iter().map(|bytes| (Hash::of(bytes), bytes.clone())));
        for (way, other) in others {
            self.check_other(way, other, same.clone(), &handled.records);
        }
        let before = self.records.len();
        self.records.extend(handled.records.iter().cloned());
        if self.thorough {
            self.check_cuts(before, is_wake.then_some(Input::Wake));
        }
        for record in &handled.records {
            self.audit.record(record, &self.partition).unwrap();
            if let Record::Run(record) = record
                && let skep_protocol::Event::AttemptScheduled(event) = &record.event
            {
                self.attempts.insert(event.step.clone(), event.attempt);
            }
        }
        let changes = self.partition.take_changes();
        self.follow(&changes);
        self.partition.check_invariants().unwrap();
        Step { handled, changes }
    }

    /// Hands a value in that was asked for from outside, then the same input again; only the
    /// partition that asked remembers that it did.
    pub(crate) fn asked_again<T>(
        &mut self,
        answer: Input,
        again: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let thorough = std::mem::replace(&mut self.thorough, false);
        self.handle(answer);
        let result = again(self);
        self.thorough = thorough;
        result
    }

    /// Adds the changes up and holds the sum against what the state says.
    fn follow(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Owed(effect) => {
                    self.owed.insert(effect.key(), effect.clone());
                }
                Change::Settled(key) => {
                    self.owed.remove(key);
                }
                Change::Withheld(attempt) => {
                    self.owed.remove(&EffectKey::Attempt(attempt.clone()));
                }
            }
        }
        let outstanding = self.partition.outstanding();
        let outstanding: BTreeMap<_, _> = outstanding.into_iter().map(|e| (e.key(), e)).collect();
        let sum: Vec<_> = self.owed.keys().collect();
        assert_eq!(sum, outstanding.keys().collect::<Vec<_>>(), "changes add up to what is owed");
        for (key, effect) in &outstanding {
            if !is_checkpoint_only(effect, &self.owed[key]) {
                assert_eq!(effect, &self.owed[key]);
            }
        }
    }

    /// Returns a partition replayed from the first record, and one restored from a snapshot.
    fn others(&self) -> [(&'static str, Partition); 2] {
        let mut replayed = self.replayed(self.records.len());
        assert_eq!(replayed.digest(), self.partition.digest(), "a replay gives the same state");
        let mut restored = Partition::restore(ID, &self.partition.snapshot()).unwrap();
        assert_eq!(restored.digest(), self.partition.digest(), "a snapshot gives the same state");
        assert_eq!(restored.next_wake(), self.partition.next_wake());
        assert_eq!(replayed.next_wake(), self.partition.next_wake());
        self.settle(&mut replayed);
        self.settle(&mut restored);
        [("a replay", replayed), ("a snapshot", restored)]
    }

    /// Lets another partition handle the same input, and wants the same. Values that the first one
    /// has at hand are fetched again.
    fn check_other(&self, way: &str, mut other: Partition, input: Input, expected: &[Record]) {
        let mut records = other.handle_recalling(input, self.now, &self.untouched).unwrap().records;
        let answers = self.unasked(&other);
        let (mut expected, in_order) = (expected.to_vec(), answers.is_empty());
        for answer in answers {
            records.extend(other.handle(answer, self.now).unwrap().records);
        }
        if !in_order {
            let text = |record: &Record| format!("{record:?}");
            expected.sort_by_key(text);
            records.sort_by_key(text);
        }
        assert_eq!(expected, records, "{way} decides otherwise");
        assert_eq!(self.partition.digest(), other.digest(), "{way} ends in another state");
    }

    /// Returns the answers to what `other` asks for and the first partition does not.
    fn unasked(&self, other: &Partition) -> Vec<Input> {
        let asked = self.fetched(&self.partition);
        let is_asked = |input: &Input| asked.iter().any(|asked| blob(asked) == blob(input));
        self.fetched(other).into_iter().filter(|input| !is_asked(input)).collect()
    }

    fn replayed(&self, len: usize) -> Partition {
        let mut partition = Partition::new(ID);
        for record in &self.records[..len] {
            partition.apply(record).unwrap();
        }
        partition
    }

    /// Looks at everything, as after a recovery; nothing may follow but questions for values. Those
    /// that were answered before are answered again.
    fn settle(&self, partition: &mut Partition) {
        let nothing = Input::ParentNotified { run: RunId::from_key("", "") };
        let handled = partition.handle_recalling(nothing, self.now, &self.untouched).unwrap();
        assert_eq!(handled.records, [], "a recovery decides nothing again");
        for answer in self.unasked(partition) {
            let handled = partition.handle(answer, self.now).unwrap();
            assert_eq!(handled.records, [], "a recovery decides nothing again");
        }
    }

    /// Cuts the journal inside the records of the last input, resumes, and wants the same end.
    fn check_cuts(&self, before: usize, again: Option<Input>) {
        let end = self.partition.digest();
        for cut in before + 1..self.records.len() {
            if matches!(self.records[cut - 1], Record::WorkflowAdded(_)) {
                continue;
            }
            let mut partition = self.replayed(cut);
            let mut rest = self.records[cut..].to_vec();
            let nothing = Input::ParentNotified { run: RunId::from_key("", "") };
            let mut found =
                partition.handle_recalling(nothing, self.now, &self.untouched).unwrap().records;
            loop {
                let wanted = self.unasked(&partition);
                if wanted.is_empty() {
                    break;
                }
                for input in wanted {
                    found.extend(
                        partition
                            .handle_recalling(input, self.now, &self.untouched)
                            .unwrap()
                            .records,
                    );
                }
            }
            if let Some(input) = again.clone() {
                found.extend(
                    partition.handle_recalling(input, self.now, &self.untouched).unwrap().records,
                );
            }
            let text = |record: &Record| format!("{record:?}");
            rest.sort_by_key(text);
            found.sort_by_key(text);
            assert_eq!(rest, found, "cut after {:?}", self.records[cut - 1]);
            assert_eq!(partition.digest(), end, "cut after {:?}", self.records[cut - 1]);
        }
    }

    /// Returns the answers to all questions for values.
    pub(crate) fn fetched(&self, partition: &Partition) -> Vec<Input> {
        let owed = partition.outstanding().into_iter();
        let answers = owed.filter_map(|effect| match effect {
            Effect::FetchBlob { blob } => {
                Some(Input::BlobFetched { blob, bytes: self.blobs.get(&blob.hash).cloned() })
            }
            Effect::OfferTask(_)
            | Effect::StartChild { .. }
            | Effect::CancelChild { .. }
            | Effect::NotifyParent { .. } => None,
        });
        answers.collect()
    }
}

/// A checkpoint reaches the next offer of a task; it is no reason to offer the task again.
fn is_checkpoint_only(a: &Effect, b: &Effect) -> bool {
    match (a, b) {
        (Effect::OfferTask(a), Effect::OfferTask(b)) => {
            let mut a = a.clone();
            a.terms.checkpoint.clone_from(&b.terms.checkpoint);
            a == *b
        }
        _ => false,
    }
}

fn blob(input: &Input) -> Option<BlobRef> {
    match input {
        Input::BlobFetched { blob, .. } => Some(*blob),
        _ => None,
    }
}
