//! What comes from outside and is too large, too long or wrong stops nobody else.

use skep_engine::{Input, Reply, Resolved};
use skep_protocol::limits::MAX_BATCH_BYTES;
use skep_protocol::{
    AgentId, AttemptId, CommandReply, Hash, IgnoreReason, Parent, Payload, Rejection, Report,
    ReportBody, RunId, StartRun, StepPath, Verdict, encode,
};

use crate::world::{World, digest, read, run_id};

const ONE: &str = "name: one\nsteps:\n  a: { agent: x }\n";

fn start() -> StartRun {
    StartRun {
        run: run_id(),
        workflow: "one".to_owned(),
        inputs: Payload::from_text("{}").unwrap(),
        parent: None,
        depth: 0,
        labels: Default::default(),
    }
}

fn resolved() -> Resolved {
    let workflow = read(ONE);
    Resolved { digest: digest(&workflow), workflow: Some(workflow), pinned: Default::default() }
}

/// Wants a start to be refused for its size, and the partition to go on.
fn refused(start: StartRun, workflow: Resolved) {
    let mut world = World::new();
    let handled = world.handle(Input::Start { start: Box::new(start), workflow }).handled;
    assert_eq!(handled.records, []);
    let Some(Reply::Command(CommandReply::Rejected(rejection))) = handled.reply else {
        panic!("{:?}", handled.reply);
    };
    assert!(matches!(rejection, Rejection::LimitExceeded { .. }), "{rejection:?}");
    assert!(!world.start(&read(ONE), "{}").is_empty());
}

#[test]
fn a_start_for_a_step_with_an_endless_path_is_refused() {
    let run = RunId::from_key("parent", "1");
    let step = StepPath::new(&"x".repeat(MAX_BATCH_BYTES + 1));
    refused(StartRun { parent: Some(Parent { run, step, attempt: 1 }), ..start() }, resolved());
}

#[test]
fn a_start_with_endless_labels_is_refused() {
    let long = "x".repeat(MAX_BATCH_BYTES);
    refused(StartRun { labels: [(long.clone(), String::new())].into(), ..start() }, resolved());
    refused(StartRun { labels: [("x".to_owned(), long)].into(), ..start() }, resolved());
    let many = (0..10_000).map(|number| (number.to_string(), String::new()));
    refused(StartRun { labels: many.collect(), ..start() }, resolved());
}

#[test]
fn a_start_that_pins_more_than_a_record_holds_is_refused() {
    let name = |number: usize| format!("{number:064}@{number}");
    let pinned = |many: usize| (0..many).map(|n| (name(n), Hash::ZERO)).collect();
    refused(start(), Resolved { pinned: pinned(10_000), ..resolved() });
    let mut world = World::new();
    let workflow = Resolved { pinned: pinned(5_000), ..resolved() };
    let records = world.handle(Input::Start { start: Box::new(start()), workflow }).handled.records;
    assert!(records.iter().all(|record| encode(record).len() < MAX_BATCH_BYTES));
    assert_eq!(records.len(), 3);
}

#[test]
fn a_path_is_written_in_one_way_only() {
    let mut world = World::new();
    let each = "name: each\nsteps:\n  a: { agent: x, for_each: '${{ [1, 2] }}' }\n";
    world.start(&read(each), "{}");
    let agent = AgentId::new("a1").unwrap();
    for index in ["01", "+1", "-1", "", "1 ", &"0".repeat(MAX_BATCH_BYTES)] {
        let (run, step) = (run_id(), StepPath::new(&format!("a[{index}]")));
        let attempt = AttemptId { run, step: step.clone(), attempt: 1 };
        let held = Input::Held { agent: agent.clone(), attempt: attempt.clone() };
        assert_eq!(world.handle(held).handled.records, []);
        let lost = Input::Lost { attempt, agent: None, cause: String::new() };
        assert_eq!(world.handle(lost).handled.records, []);
        let report = Report { run, step, attempt: 1, body: ReportBody::Taken {} };
        let handled = world.handle(Input::Report { agent: agent.clone(), report }).handled;
        assert_eq!(handled.records, []);
        let unknown = Reply::Verdict(Verdict::Ignored(IgnoreReason::Unknown));
        assert_eq!(handled.reply, Some(unknown));
    }
}
