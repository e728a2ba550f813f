//! Runs from their start to their end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use serde_json::json;
use skep_broker::{Blobs as _, Queries as _};
use skep_coordinator::Config;
use skep_protocol::{
    Command, CommandReply, Event, Failure, FailureKind, Payload, Query, QueryReply, Rejection,
    RunFilter, RunStatus, Signal, SignalId, StepStatus,
};

use crate::world::*;

#[tokio::test]
async fn a_run_goes_to_its_end() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let _agent = FakeAgent::start(&broker, "a", &[("work", 2)], &journal, |task| {
        Act::Complete(json!(task.step.as_str()))
    })
    .await;
    let run = start(&broker, "k", "chain").await;
    let history = history_to_end(&broker, run).await;
    expect![[r#"
        run_started
        attempt_scheduled one
        attempt_completed one
        attempt_scheduled two
        attempt_completed two
        attempt_scheduled three
        attempt_completed three
        run_completed
    "#]]
    .assert_eq(&words(&history));

    let detail = detail(&broker, run).await.unwrap();
    assert_eq!(detail.summary.status, RunStatus::Completed);
    assert_eq!((detail.summary.steps, detail.summary.steps_ended), (3, 3));
    assert_eq!(detail.outputs.unwrap(), Payload::from(json!({ "last": "three" })));
    let three = &detail.steps[2];
    assert_eq!((three.step.as_str(), three.status), ("three", StepStatus::Completed));
    assert_eq!(three.attempts[0].agent.as_ref().unwrap().as_str(), "a");

    let again = command(&broker, run, start_of("k", "chain", json!({}))).await;
    assert_eq!(again, CommandReply::Started { run, existing: true });
    assert_nothing_ran_again(&journal);
    coordinator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_runs_at_a_time() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let mut agents = Vec::new();
    for name in ["a", "b", "c"] {
        let complete = |_: &_| Act::Complete(json!(1));
        agents.push(FakeAgent::start(&broker, name, &[("work", 8)], &journal, complete).await);
    }
    let mut runs = Vec::new();
    for number in 0..200 {
        runs.push(start(&broker, &format!("{number}"), "chain").await);
    }
    for run in &runs {
        history_to_end(&broker, *run).await;
    }
    assert_eq!(journal.performed().len(), 600);
    assert_nothing_ran_again(&journal);
    let filter = RunFilter { limit: 500, status: vec![RunStatus::Completed], ..filter() };
    let Ok(QueryReply::Runs(list)) =
        skep_broker::Queries::query(&broker, Query::Runs(filter)).await
    else {
        panic!("no list");
    };
    assert_eq!(list.len(), 200);
}

fn filter() -> RunFilter {
    RunFilter::default()
}

#[tokio::test]
async fn what_has_priority_goes_first() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(
        &broker,
        "
name: mixed
steps:
  gate: { agent: gate }
  low: { agent: work, needs: [gate], priority: 1 }
  mid: { agent: work, needs: [gate] }
  high: { agent: work, needs: [gate], priority: 9 }
",
    )
    .await;
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let _gate = FakeAgent::start(&broker, "g", &[("gate", 1)], &journal, move |_| {
        Act::Wait(Arc::clone(&wait))
    })
    .await;
    let run = start(&broker, "k", "mixed").await;
    journal.until(|journal| journal.performed().len() == 1).await;
    let _worker =
        FakeAgent::start(&broker, "w", &[("work", 1)], &journal, |_| Act::Complete(json!(1))).await;
    gate.open();
    history_to_end(&broker, run).await;
    let order: Vec<String> =
        journal.performed().iter().map(|id| id.step.as_str().to_owned()).collect();
    assert_eq!(order, ["gate", "high", "mid", "low"]);
}

/// It does not matter where the inputs lie.
#[tokio::test]
async fn inputs_that_not_everybody_reads_alike_are_refused() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, "name: any\ninputs: { a: {} }\nsteps:\n  one: { agent: work }\n").await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    for (text, problem) in [
        (r#"{"a":1,"a":2}"#, "the JSON of the inputs has the key `a` twice at line 1 column 10"),
        (&deep, "the JSON of the inputs is nested more than 64 deep"),
    ] {
        let blob = broker.put_blob(text.to_owned().into()).await.unwrap();
        for inputs in [Payload::from(blob), Payload::from_text(text).unwrap()] {
            let Command::Start(mut start) = start_of("k", "any", json!({})) else { unreachable!() };
            start.inputs = inputs;
            let reply = command(&broker, run_id("k"), Command::Start(start)).await;
            let problems = vec![problem.to_owned()];
            assert_eq!(reply, CommandReply::Rejected(Rejection::InvalidInputs { problems }));
        }
    }
}

#[tokio::test]
async fn wrong_starts_are_refused_before_the_run_exists() {
    let broker = embedded();
    let config = Config { max_runs_per_partition: 0, ..Config::embedded() };
    let _coordinator = coordinator(&broker).await;
    register(
        &broker,
        "
name: greedy
inputs: { count: { type: integer, minimum: 1 } }
steps:
  one: { agent: work, with: { n: \"${{ inputs.count }}\" } }
",
    )
    .await;
    let start = |inputs| command(&broker, run_id("k"), start_of("k", "greedy", inputs));
    let CommandReply::Rejected(Rejection::InvalidInputs { problems }) =
        start(json!({ "count": 0, "more": 1 })).await
    else {
        panic!("wrong inputs were taken");
    };
    let problems = problems.join("\n");
    assert!(problems.contains("`count`") && problems.contains("minimum"), "{problems}");
    assert!(problems.contains("`more`"), "{problems}");
    let none = Rejection::RunNotFound { run: run_id("k") };
    let cancel = Command::Cancel { run: run_id("k"), reason: String::new() };
    assert_eq!(command(&broker, run_id("k"), cancel).await, CommandReply::Rejected(none));

    let unknown = command(&broker, run_id("k"), start_of("k", "nobody", json!({}))).await;
    let workflow = "nobody".to_owned();
    assert_eq!(unknown, CommandReply::Rejected(Rejection::UnknownWorkflow { workflow }));

    let CommandReply::Rejected(Rejection::InvalidDefinition { rendered, .. }) =
        register(&broker, "name: bad\nsteps:\n  a: { agnet: x }\n").await
    else {
        panic!("a bad definition was taken");
    };
    assert!(rendered.contains("agnet"), "{rendered}");
    drop(_coordinator);
    let _busy = coordinator_with(&broker, config).await;
    let busy = command(&broker, run_id("k"), start_of("k", "greedy", json!({ "count": 1 }))).await;
    assert!(matches!(busy, CommandReply::Rejected(Rejection::Busy { .. })), "{busy:?}");
}

#[tokio::test]
async fn a_capability_that_nobody_offers_is_said() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let run = start(&broker, "k", "chain").await;
    loop {
        let detail = detail(&broker, run).await;
        let reasons: Vec<String> = detail
            .into_iter()
            .flat_map(|detail| detail.waiting)
            .map(|waiting| format!("{}: {}", waiting.step, waiting.reason))
            .collect();
        if reasons.iter().any(|reason| reason == "one: no live agent offers work") {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_nobody_knows_is_not_waited_for() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let quiet = start(&broker, "k", "chain").await;
    let history = |run, after, wait_ms| {
        let query = Query::History { run, after, limit: 10, wait_ms };
        broker.query(query)
    };
    let reply = history(quiet, 0, 0).await.unwrap();
    assert!(matches!(reply, QueryReply::History(_)), "whoever started it finds it: {reply:?}");
    let reply = tokio::select! { biased;
        reply = history(quiet, 2, 500) => reply,
        reply = history(run_id("unknown"), 0, 30_000) => reply,
    };
    assert_eq!(reply.unwrap(), QueryReply::NotFound {});
}

#[tokio::test]
async fn a_failing_step_is_tried_again_and_then_fails_the_run() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(
        &broker,
        "
name: failing
steps:
  one: { agent: work, retry: { attempts: 3, backoff: constant, initial: 1ms, jitter: none } }
",
    )
    .await;
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &journal, |_| {
        Act::Fail(Failure::new(FailureKind::Agent, "broken", "it does not work"))
    })
    .await;
    let run = start(&broker, "k", "failing").await;
    let history = history_to_end(&broker, run).await;
    expect![[r#"
        run_started
        attempt_scheduled one
        attempt_failed one
        attempt_scheduled one
        attempt_failed one
        attempt_scheduled one
        attempt_failed one
        step_failed one
        run_failed
    "#]]
    .assert_eq(&words(&history));
    assert_eq!(detail(&broker, run).await.unwrap().error.unwrap().code, "broken");
}

#[tokio::test]
async fn cancel_pause_resume_and_signal() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(
        &broker,
        "
name: patient
steps:
  ask: { wait_for: { signal: go, timeout: 1h } }
  act: { agent: work, needs: [ask] }
",
    )
    .await;
    let keep = |_: &_| Act::Keep;
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &journal, keep).await;
    let run = start(&broker, "k", "patient").await;
    let pause = Command::Pause { run, by: "me".to_owned() };
    assert_eq!(command(&broker, run, pause).await, CommandReply::Done {});
    let signal = Command::Signal(Signal {
        run,
        name: "go".to_owned(),
        id: SignalId::new("1").unwrap(),
        payload: Payload::null(),
    });
    assert_eq!(command(&broker, run, signal).await, CommandReply::Done {});
    assert_eq!(journal.performed(), []);
    let resume = Command::Resume { run, by: "me".to_owned() };
    assert_eq!(command(&broker, run, resume).await, CommandReply::Done {});
    journal.until(|journal| journal.performed().len() == 1).await;
    let cancel = Command::Cancel { run, reason: "enough".to_owned() };
    assert_eq!(command(&broker, run, cancel).await, CommandReply::Done {});
    history_until(&broker, run, |event| matches!(event, Event::RunCancelled {})).await;
    journal.until(|journal| journal.cancelled() == journal.performed()).await;
}

#[tokio::test]
async fn sub_workflows_run_in_their_own_partitions() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    let parent = "
name: parent
steps:
  inner: { workflow: chain, for_each: \"${{ [1, 2, 3, 4, 5, 6] }}\" }
outputs: { all: \"${{ steps.inner.outputs }}\" }
";
    register(&broker, parent).await;
    let missing = command(&broker, run_id("k"), start_of("k", "parent", json!({}))).await;
    let workflow = "chain".to_owned();
    assert_eq!(missing, CommandReply::Rejected(Rejection::UnknownWorkflow { workflow }));

    register(&broker, CHAIN).await;
    let complete = |_: &_| Act::Complete(json!("x"));
    let _agent = FakeAgent::start(&broker, "a", &[("work", 4)], &journal, complete).await;
    let run = start(&broker, "k", "parent").await;
    history_to_end(&broker, run).await;
    let detail = detail(&broker, run).await.unwrap();
    let one = json!({ "last": "x" });
    let all = json!({ "all": [one, one, one, one, one, one] });
    assert_eq!(detail.outputs.unwrap(), Payload::from(all));
    assert_nothing_ran_again(&journal);
    let count = skep_protocol::PartitionCount::DEFAULT;
    let mut partitions = BTreeMap::new();
    for attempt in journal.performed() {
        *partitions.entry(count.of(attempt.run)).or_insert(0) += 1;
    }
    assert!(partitions.len() > 1, "all children are in one partition: {partitions:?}");
}

#[tokio::test]
async fn a_full_partition_takes_the_children_of_its_runs() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let config = Config { max_runs_per_partition: 1, ..Config::embedded() };
    let _coordinator = coordinator_with(&broker, config).await;
    register(&broker, CHAIN).await;
    let parent = "
name: parent
steps:
  inner: { workflow: chain, for_each: \"${{ range(40) }}\" }
";
    register(&broker, parent).await;
    let run = start(&broker, "k", "parent").await;
    let complete = |_: &_| Act::Complete(json!("x"));
    let _agent = FakeAgent::start(&broker, "a", &[("work", 8)], &journal, complete).await;
    let ended = tokio::time::timeout(Duration::from_secs(30), history_to_end(&broker, run)).await;
    assert!(ended.is_ok(), "the children wait for room that their parent takes");
    assert_nothing_ran_again(&journal);
}
