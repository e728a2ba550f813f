//! Every workflow of the catalog, played to its end: as it should go, with each step failing in
//! turn, and with everything from outside handed in twice. The world cuts the journal everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use skep_engine::{Effect, Input, OfferTask};
use skep_protocol::{
    AgentId, ChildOutcome, Event, Failure, FailureKind, Outcome, Payload, Record, Report,
    ReportBody, Signal, SignalId, StartRun, StepPath, WaitingFor,
};

use crate::world::{World, read, run_id};

/// What is given to the runs of a file.
fn inputs(file: &str) -> &'static str {
    match file {
        "fan_out_review" => r#"{"change": "-a +b"}"#,
        "human_approval" => r#"{"topic": "bees"}"#,
        "nightly_batch" => r#"{"folder": "/in", "at": "2026-12-24T02:00:00Z"}"#,
        "notify" => r#"{"channel": "chat", "text": "hello"}"#,
        "patient_call" => r#"{"url": "https://example.org"}"#,
        "release" => r#"{"tag": "v1.2.3"}"#,
        file => panic!("{file}: nobody said which inputs its runs get"),
    }
}

/// What the agents of a capability answer.
fn output(capability: &str) -> &'static str {
    match capability {
        "reviewer" => r#"{"score": 0.5, "remarks": []}"#,
        "writer" | "read-file" | "http" => r#"{"text": "some"}"#,
        "list-files" => r#"{"files": ["a", "b"]}"#,
        "builder" => r#"{"artifact": "a1"}"#,
        "publisher" => r#"{"url": "https://example.org/1"}"#,
        "tester" => r#"{"passed": 3}"#,
        "editor" | "index-text" | "reporter" | "notifier" | "summarizer" => "{}",
        capability => panic!("{capability}: nobody said what its agents answer"),
    }
}

fn payload(text: &str) -> Payload {
    Payload::from_text(text).unwrap()
}

fn failure() -> Failure {
    Failure::new(FailureKind::Agent, "broken", "it broke").fatal()
}

/// Returns the path without the items: that of the step as the file has it.
fn written(step: &StepPath) -> String {
    let parts = step.as_str().split(['[', ']']);
    parts.step_by(2).collect()
}

/// One run of a file, in which one step may fail and everything may be said twice.
struct Play {
    world: World,
    fails: Option<String>,
    times: usize,
}

impl Play {
    fn of(file: &str, text: &str, fails: Option<&str>, times: usize) -> Self {
        let fails = fails.map(ToOwned::to_owned);
        let mut play = Self { world: World::new(), fails, times };
        play.world.start(&read(text), inputs(file));
        for _ in 0..100 {
            if play.world.partition.live_runs() == 0 {
                return play;
            }
            play.turn();
        }
        panic!("{file}: the run does not end");
    }

    /// Answers whatever is owed; then what is waited for comes.
    fn turn(&mut self) {
        let owed: Vec<Effect> = self.world.owed.values().cloned().collect();
        let quiet = owed.is_empty();
        for effect in owed {
            match effect {
                Effect::OfferTask(offer) => self.report(&offer),
                Effect::StartChild { start, .. } => self.end_child(*start),
                effect => panic!("nobody asked for {effect:?}"),
            }
        }
        if let Some(step) = self.waits_for_signal()
            && !self.is_to_fail(&step)
        {
            let (name, payload) = ("approved".to_owned(), payload(r#"{"by": "ada"}"#));
            let (run, id) = (run_id(), SignalId::new("s1").unwrap());
            self.say(&Input::Signal(Signal { run, name, id, payload }));
        } else if quiet {
            let wake = self.world.partition.next_wake().expect("something is to happen");
            self.world.now = wake.at;
            self.say(&Input::Wake);
        }
    }

    fn is_to_fail(&self, step: &StepPath) -> bool {
        self.fails.as_ref().is_some_and(|fails| *fails == written(step))
    }

    /// Hands an input in as often as it is to be; what comes again changes nothing.
    fn say(&mut self, input: &Input) {
        self.world.handle(input.clone());
        for _ in 1..self.times {
            let live = self.world.partition.live_runs();
            let records = self.world.handle(input.clone()).handled.records;
            let ignored = |record: &Record| matches!(event(record), Some(Event::ReportIgnored(_)));
            assert!(records.iter().all(ignored), "{input:?} counted twice: {records:?}");
            assert_eq!(live, self.world.partition.live_runs());
        }
    }

    fn report(&mut self, offer: &OfferTask) {
        self.world.now = self.world.now.max(offer.not_before);
        let id = offer.id.clone();
        let outcome = if self.is_to_fail(&id.step) {
            Outcome::Failed { failure: failure(), duration_ms: 1 }
        } else {
            let output = payload(output(&offer.spec.capability));
            Outcome::Completed { output, duration_ms: 1 }
        };
        let body = ReportBody::Outcome(outcome);
        let report = Report { run: id.run, step: id.step, attempt: id.attempt, body };
        self.say(&Input::Report { agent: AgentId::new("a1").unwrap(), report });
    }

    fn end_child(&mut self, start: StartRun) {
        let parent = start.parent.expect("a child has a parent");
        let outcome = if self.is_to_fail(&parent.step) {
            ChildOutcome::Failed(failure())
        } else {
            ChildOutcome::Completed(payload("{}"))
        };
        self.say(&Input::ChildEnded { parent, child: start.run, outcome });
    }

    /// Returns what happened, without what was ignored.
    fn events(&self) -> Vec<&Event> {
        let events = self.world.records.iter().filter_map(event);
        events.filter(|event| !matches!(event, Event::ReportIgnored(_))).collect()
    }

    /// Returns the steps that can fail, as the file has them.
    fn steps(&self) -> BTreeSet<String> {
        let can_fail = |event: &&Event| match event {
            Event::AttemptScheduled(_) | Event::ChildStarted(_) => true,
            Event::WaitStarted(wait) => matches!(wait.waiting_for, WaitingFor::Signal(_)),
            _ => false,
        };
        let events = self.events().into_iter().filter(can_fail);
        events.filter_map(Event::step).map(written).collect()
    }

    fn waits_for_signal(&self) -> Option<StepPath> {
        match self.events().last() {
            Some(Event::WaitStarted(wait)) => match wait.waiting_for {
                WaitingFor::Signal(_) => Some(wait.step.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Says how the run ended, and each step of the run itself that did not complete.
    fn end(&self) -> String {
        let mut run = "?";
        let mut steps = BTreeMap::new();
        for event in self.events() {
            let how = match event {
                Event::RunCompleted { .. } | Event::StepCompleted { .. } => "completed",
                Event::AttemptCompleted(_) => "completed",
                Event::RunCompensated { .. } => "compensated",
                Event::RunFailed { .. } | Event::StepFailed { .. } => "failed",
                Event::RunCancelled {} | Event::StepCancelled { .. } => "cancelled",
                Event::StepSkipped { .. } => "skipped",
                _ => continue,
            };
            match event.step() {
                None => run = how,
                Some(step) if step.as_str().contains(['[', '/']) => {}
                Some(step) => {
                    steps.insert(step.as_str(), how);
                }
            }
        }
        let other = steps.iter().filter(|(_, how)| **how != "completed");
        let other: String = other.map(|(step, how)| format!(", {step} {how}")).collect();
        format!("{run}{other}")
    }
}

fn event(record: &Record) -> Option<&Event> {
    match record {
        Record::Run(record) => Some(&record.event),
        _ => None,
    }
}

/// Plays every file in every way, and says how each run ended.
fn check(expected: Expect) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../workflows/catalog");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut said = String::new();
    for path in entries.collect::<BTreeSet<_>>() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = name.strip_suffix(".skep.yaml").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let good = Play::of(file, &text, None, 1);
        let twice = Play::of(file, &text, None, 2);
        assert_eq!(good.events(), twice.events(), "{file}: saying things twice changes something");
        writeln!(said, "{file}\n  {}", good.end()).unwrap();
        for step in good.steps() {
            let bad = Play::of(file, &text, Some(&step), 1);
            writeln!(said, "  {step} fails\n    {}", bad.end()).unwrap();
        }
    }
    expected.assert_eq(&said);
}

#[test]
fn every_workflow_of_the_catalog_ends_whatever_fails() {
    check(expect![[r#"
        fan_out_review
          completed
          review fails
            failed, review failed, verdict skipped
          verdict fails
            failed, verdict failed
        human_approval
          completed, withdraw skipped
          approve fails
            failed, approve failed, publish skipped
          draft fails
            failed, approve skipped, draft failed, publish skipped
          publish fails
            failed, publish failed, withdraw skipped
        nightly_batch
          completed
          file/index fails
            failed, cool_down skipped, file failed
          file/read fails
            failed, cool_down skipped, file failed
          list fails
            failed, cool_down skipped, file skipped, list failed
          report fails
            failed, report failed
        notify
          completed, send_by_mail skipped
          send fails
            completed, send failed
        patient_call
          completed
          digest fails
            failed, digest failed
          mirror fails
            completed, mirror failed
          primary fails
            completed, primary failed
        release
          completed
          announce fails
            failed, announce failed
          build fails
            failed, announce skipped, build failed, checks skipped
          checks/load fails
            completed
          checks/unit fails
            failed, announce skipped, checks failed
    "#]]);
}
