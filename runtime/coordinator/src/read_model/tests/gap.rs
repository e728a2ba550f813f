//! A read model that a trim overtook, beside one that read everything.

use std::collections::BTreeMap;

use bytes::Bytes;
use skep_engine::{Effect, Input, Partition, Resolved};
use skep_protocol::{
    Failure, FailureKind, Outcome, PartitionCount, Report, ReportBody, Signal, SignalId, StartRun,
    Task,
};

use super::*;
use crate::read_model::repair::Gap;

const DEFINITION: &str = "
name: w
steps:
  a: { agent: x }
  g:
    retry: { attempts: 2, initial: 1s, jitter: none }
    steps:
      b: { agent: x }
      c: { agent: x, for_each: '${{ [1, 2] }}', needs: [b] }
      d: { agent: x, needs: [c] }
  ask: { needs: [a], wait_for: { signal: go } }
  last: { agent: x, needs: [g, ask] }
";

/// A journal with a snapshot behind each message.
struct Journal {
    id: PartitionId,
    engine: Partition,
    now: u64,
    messages: Vec<Batch>,
    snapshots: Vec<Bytes>,
}

impl Journal {
    fn append(&mut self, input: Input) {
        let records = self.engine.handle(input, Timestamp::from_millis(self.now)).unwrap().records;
        self.now += 10;
        if records.is_empty() {
            return;
        }
        let previous = Hash::ZERO;
        self.messages.push(Batch { v: 1, partition: self.id, epoch: 1, previous, records });
        self.snapshots.push(self.engine.snapshot());
    }

    fn start(&mut self, run: RunId, labels: BTreeMap<String, String>) {
        let workflow = skep_workflow::read(DEFINITION.as_bytes(), "w").unwrap();
        let digest = Hash::from_bytes(*workflow.digest().as_bytes());
        let (inputs, workflow_name) = (Payload::from_text("{}").unwrap(), "w".to_owned());
        let start = Box::new(StartRun {
            run,
            workflow: workflow_name,
            inputs,
            parent: None,
            depth: 0,
            labels,
        });
        let workflow = Resolved { digest, workflow: Some(workflow), pinned: BTreeMap::new() };
        self.append(Input::Start { start, workflow });
    }

    /// Performs what is owed until nothing is.
    fn work(&mut self) {
        loop {
            let mut owed = self.engine.outstanding().into_iter();
            let offer = owed.find_map(|effect| match effect {
                Effect::OfferTask(offer) => Some(offer),
                Effect::StartChild { .. }
                | Effect::CancelChild { .. }
                | Effect::NotifyParent { .. }
                | Effect::FetchBlob { .. } => None,
            });
            let Some(offer) = offer else { return };
            self.now = self.now.max(offer.not_before.as_millis());
            self.report(&offer.task(), ReportBody::Taken {});
            let fails = offer.id.step.as_str() == "g/d" && offer.id.attempt == 1;
            let outcome = if fails {
                let failure = Failure::new(FailureKind::Agent, "broken", "it broke");
                Outcome::Failed { failure, duration_ms: 1 }
            } else {
                Outcome::Completed { output: Payload::null(), duration_ms: 1 }
            };
            self.report(&offer.task(), ReportBody::Outcome(outcome));
        }
    }

    fn report(&mut self, task: &Task, body: ReportBody) {
        let (run, step, attempt) = (task.run, task.step.clone(), task.attempt);
        let agent = AgentId::new("agent").unwrap();
        self.append(Input::Report { agent, report: Report { run, step, attempt, body } });
    }

    fn signal(&mut self, run: RunId) {
        let (name, id) = ("go".to_owned(), SignalId::new("s").unwrap());
        self.append(Input::Signal(Signal { run, name, id, payload: Payload::null() }));
    }

    async fn store(&self, model: &ReadModel, messages: std::ops::Range<usize>) {
        for index in messages {
            let seq = Seq::new(index as u64 + 1);
            let batch = self.messages[index].clone();
            model.work.send(message(seq, batch)).await.unwrap();
        }
    }

    /// Stores all up to `end` but what lies between `read` and `kept`; the snapshot is behind
    /// `taken` messages.
    async fn with_gap(&self, case: Case) -> ReadModel {
        let Case { read, kept, taken, end } = case;
        let model = empty();
        self.store(&model, 0..read).await;
        let state = Partition::restore(self.id, &self.snapshots[taken - 1]).unwrap();
        let gap = Gap {
            partition: self.id,
            first: Seq::new(kept as u64 + 1),
            at: Some(Timestamp::from_millis(77)),
            state: Some((Seq::new(taken as u64), Box::new(state))),
        };
        model.work.send(Work::Entry(Entry::Gap(gap))).await.unwrap();
        self.store(&model, kept..end).await;
        model
    }
}

fn empty() -> ReadModel {
    open(&ReadModelAt::Temporary, &Settings::of_tests("one"))
}

/// Two runs of one partition, one of which ends in the middle.
fn journal() -> (Journal, [RunId; 2]) {
    let runs = [run(), other()];
    let id = PartitionCount::DEFAULT.of(run());
    let (engine, now) = (Partition::new(id), 1_000);
    let mut journal = Journal { id, engine, now, messages: Vec::new(), snapshots: Vec::new() };
    journal.start(runs[0], BTreeMap::new());
    journal.work();
    journal.start(runs[1], BTreeMap::from([("which".to_owned(), "second".to_owned())]));
    journal.signal(runs[0]);
    journal.work();
    journal.append(Input::Pause { run: runs[1], by: "me".to_owned() });
    journal.append(Input::Resume { run: runs[1], by: "me".to_owned() });
    journal.append(Input::Cancel { run: runs[1], reason: "enough".to_owned() });
    (journal, runs)
}

/// Another run of the same partition.
fn other() -> RunId {
    let partition = PartitionCount::DEFAULT.of(run());
    let mut all = (0..).map(|key| RunId::from_key("w", &key.to_string()));
    all.find(|other| PartitionCount::DEFAULT.of(*other) == partition).unwrap()
}

async fn detail(model: &ReadModel, run: RunId) -> Option<skep_protocol::RunDetail> {
    let reply = model.ask(Question::Run(run)).await;
    if let QueryReply::Run(detail) = reply { Some(*detail) } else { None }
}

/// What both models have to agree on.
fn view(detail: &skep_protocol::RunDetail) -> String {
    let steps: BTreeMap<_, _> =
        detail.steps.iter().map(|step| (step.step.as_str(), step.status)).collect();
    let summary = &detail.summary;
    format!("{} {}/{} {steps:?}", summary.status, summary.steps_ended, summary.steps)
}

/// Both runs as a read model tells of them.
type Told = [Option<skep_protocol::RunDetail>; 2];

/// What was read, and what was there to be read.
#[derive(Debug, Clone, Copy)]
struct Case {
    read: usize,
    kept: usize,
    taken: usize,
    end: usize,
}

impl Case {
    fn check(self, which: usize, whole: &[Told], found: Option<&skep_protocol::RunDetail>) {
        let Self { read, kept, taken, end } = self;
        let is_live =
            |at: usize| whole[at][which].as_ref().map(|run| !run.summary.status.is_final());
        let (seeded, complete) = (is_live(taken) == Some(true), is_live(kept).is_none());
        if complete && end < taken {
            // It may be ahead, until its beginning is read.
            return;
        }
        // A seeded run whose beginning is gone never goes back behind its snapshot.
        let at = if seeded && !complete { end.max(taken) } else { end };
        let Some(wanted) = &whole[at][which] else {
            return assert_eq!(found, None, "{which} {self:?}");
        };
        let Some(found) = found else {
            return assert!(!seeded && is_live(read).is_none(), "{which} {self:?}: gone");
        };
        if !seeded && !complete {
            // It ended unseen: how is known, the way there is not.
            assert!(found.summary.status.is_final(), "{which} {self:?}");
            let open = found.steps.iter().filter(|step| !step.status.is_final());
            return assert!(end < taken || open.count() == 0, "{which} {self:?}");
        }
        assert_eq!(view(found), view(wanted), "{which} {self:?}");
        if read == taken {
            let outputs = |detail: &skep_protocol::RunDetail| {
                detail.steps.iter().filter(|step| step.output.is_some()).count()
            };
            assert_eq!(outputs(found), outputs(wanted), "{which} {self:?}");
        }
    }
}

#[tokio::test]
async fn behind_a_gap_it_tells_the_same_of_every_live_run() {
    let (journal, runs) = journal();
    let all = journal.messages.len();
    let mut whole = Vec::new();
    for end in 0..=all {
        let model = empty();
        journal.store(&model, 0..end).await;
        whole.push([detail(&model, runs[0]).await, detail(&model, runs[1]).await]);
    }
    for taken in 1..=all {
        for kept in [taken, taken.saturating_sub(1), taken / 2] {
            for read in [0, kept / 2, kept] {
                for end in [usize::midpoint(kept, taken), taken, all] {
                    let case = Case { read, kept, taken, end };
                    let model = journal.with_gap(case).await;
                    for (which, run) in runs.into_iter().enumerate() {
                        case.check(which, &whole, detail(&model, run).await.as_ref());
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_knows_behind_a_gap_is_gone() {
    let (journal, runs) = journal();
    let model = empty();
    journal.store(&model, 0..3).await;
    let first = Seq::new(9);
    let gap = Gap { partition: journal.id, first, at: None, state: None };
    model.work.send(Work::Entry(Entry::Gap(gap))).await.unwrap();
    assert_eq!(detail(&model, runs[0]).await, None);
    assert_eq!(model.positions().of(journal.id), Seq::new(8));
}

#[tokio::test]
async fn the_history_of_a_run_that_began_in_a_gap_begins_with_its_start() {
    let (journal, [run, _]) = journal();
    let model = journal.with_gap(Case { read: 0, kept: 3, taken: 3, end: 5 }).await;
    let history = async || {
        let reply = model.ask(Question::History { run, after: 0, limit: 100 }).await;
        if let QueryReply::History(entries) = reply { entries } else { panic!("{reply:?}") }
    };
    let unsaved = history().await;
    assert!(matches!(unsaved[0].record.event, Event::RunStarted(_)), "{unsaved:?}");
    let behind = journal.messages[3..5].iter().flat_map(|message| &message.records);
    let told = unsaved[1..].iter().map(|entry| Record::Run(entry.record.clone()));
    assert!(told.eq(behind.cloned()), "{unsaved:?}");
    // All is written before a list is told of.
    assert!(runs(&model, RunFilter::default()).await.iter().any(|one| one.run == run));
    assert_eq!(history().await, unsaved);
    journal.store(&model, 5..6).await;
    let more = history().await;
    assert!(more.starts_with(&unsaved) && more.len() > unsaved.len());
}
