//! A history without faults: the real engine, and an agent that does what it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skep_engine::{Input, Partition, Resolved};
use skep_protocol::{
    AgentId, Batch, CoordinatorId, Event, Failure, FailureKind, Hash, Outcome, PartitionId,
    Payload, Record, Report, ReportBody, RunId, Seq, StartRun, StepPath, Timestamp,
};

use super::super::super::deeds::{Deed, What};
use super::super::super::history::{Asked, History, Journal, LABEL};
use super::super::super::journals;
use super::super::super::kinds::{KINDS, Kind};

const LABEL_VALUE: &str = "played";

/// What there is to be done.
struct Scheduled {
    run: RunId,
    step: StepPath,
    attempt: u32,
    input: serde_json::Value,
}

struct Play {
    partition: Partition,
    now: Timestamp,
    messages: Vec<(Seq, bytes::Bytes)>,
    previous: Hash,
    scheduled: VecDeque<Scheduled>,
    deeds: Vec<Deed>,
    stuck: Vec<(RunId, StepPath)>,
    agent: AgentId,
}

/// Plays runs of all kinds that need neither timers nor other partitions.
pub(super) fn play() -> History {
    let mut play = Play {
        partition: Partition::new(PartitionId::new(0)),
        now: Timestamp::from_millis(1_000),
        messages: Vec::new(),
        previous: Hash::ZERO,
        scheduled: VecDeque::new(),
        deeds: Vec::new(),
        stuck: Vec::new(),
        agent: AgentId::new("agent-1").unwrap(),
    };
    play.input(Input::TookOver { coordinator: CoordinatorId::new("coordinator-1").unwrap() });
    let mut asked = Vec::new();
    for kind in KINDS.iter().filter(|kind| !matches!(kind.name, "chaos_parent" | "chaos_timer")) {
        let run = RunId::from_key("chaos", kind.name);
        asked.push(Asked { run, kind, acknowledged: true, cancelled: false });
        play.start(run, kind);
        play.perform();
    }
    let journals = vec![Journal { partition: play.partition.id(), messages: play.messages }];
    History {
        asked,
        deeds: play.deeds,
        entries: journals::entries(&journals),
        journals,
        broken: (Timestamp::EPOCH, Timestamp::EPOCH),
        seen_stuck: play.stuck.iter().map(|(run, _)| *run).collect::<BTreeSet<_>>(),
        surprises: Vec::new(),
        label: LABEL_VALUE.to_owned(),
        slots: 2,
    }
}

impl Play {
    fn start(&mut self, run: RunId, kind: &Kind) {
        let workflow = skep_workflow::read(kind.source.as_bytes(), kind.name).unwrap();
        let start = StartRun {
            run,
            workflow: kind.name.to_owned(),
            inputs: Payload::from(serde_json::json!({ "ms": 10 })),
            parent: None,
            depth: 0,
            labels: BTreeMap::from([(LABEL.to_owned(), LABEL_VALUE.to_owned())]),
        };
        let workflow = Resolved {
            digest: Hash::from_bytes(*workflow.digest().as_bytes()),
            workflow: Some(workflow),
            pinned: BTreeMap::new(),
        };
        self.input(Input::Start { start: Box::new(start), workflow });
    }

    /// Hands something to the engine and appends what it decides.
    fn input(&mut self, input: Input) {
        self.now = self.now.after(std::time::Duration::from_millis(5));
        let handled = self.partition.handle(input, self.now).unwrap();
        drop(self.partition.take_changes());
        for record in &handled.records {
            let Record::Run(record) = record else { continue };
            if let Event::AttemptScheduled(event) = &record.event {
                let input = event.input.as_ref().and_then(|input| input.text());
                let input = input.map(|text| serde_json::from_str(text).unwrap());
                self.scheduled.push_back(Scheduled {
                    run: record.run,
                    step: event.step.clone(),
                    attempt: event.attempt,
                    input: input.unwrap_or_default(),
                });
                self.now = self.now.max(event.not_before);
            }
            if let Event::RunStuck { step, .. } = &record.event {
                self.stuck.push((record.run, step.clone()));
            }
        }
        if !handled.records.is_empty() {
            self.append(handled.records);
        }
    }

    fn append(&mut self, records: Vec<Record>) {
        let (partition, epoch) = (self.partition.id(), self.partition.epoch());
        let batch = Batch { v: Batch::VERSION, partition, epoch, previous: self.previous, records };
        let bytes = batch.encode();
        self.previous = Hash::of(&bytes);
        self.messages.push((Seq::new(self.messages.len() as u64 + 1), bytes));
    }

    /// Does what is scheduled until nothing is.
    fn perform(&mut self) {
        loop {
            if let Some(next) = self.scheduled.pop_front() {
                self.perform_one(next);
            } else if let Some((run, step)) =
                self.stuck.last().filter(|(run, _)| self.partition.status(*run).is_some()).cloned()
            {
                let before = self.messages.len();
                self.input(Input::Skip { run, step, by: "chaos".to_owned() });
                if self.messages.len() == before {
                    return;
                }
            } else {
                return;
            }
        }
    }

    fn perform_one(&mut self, one: Scheduled) {
        let Scheduled { run, step, attempt, input } = one;
        let fails = input["fails"].as_u64().unwrap_or_default() >= u64::from(attempt);
        let broken = input["broken"].as_bool().unwrap_or_default();
        self.deed(What::Begun, run, &step, attempt);
        self.now = self.now.after(std::time::Duration::from_millis(10));
        let outcome = if fails || broken {
            self.deed(What::Failed, run, &step, attempt);
            let failure = Failure::new(FailureKind::Agent, "chaos", "as it was told to");
            let failure = if broken { failure.fatal() } else { failure };
            Outcome::Failed { failure, duration_ms: 10 }
        } else {
            self.deed(What::Done, run, &step, attempt);
            Outcome::Completed { output: Payload::from(serde_json::json!({})), duration_ms: 10 }
        };
        let report = Report { run, step, attempt, body: ReportBody::Outcome(outcome) };
        self.input(Input::Report { agent: self.agent.clone(), report });
    }

    fn deed(&mut self, what: What, run: RunId, step: &StepPath, attempt: u32) {
        let (step, agent, at) = (step.clone(), self.agent.clone(), self.now);
        self.deeds.push(Deed { what, run, step, attempt, token: u64::from(attempt), agent, at });
    }
}
