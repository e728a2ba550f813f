//! Runs that are over are done over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use expect_test::expect;
use serde_json::json;
use skep_broker::{Bucket, Embedded, Queries as _, Registry as _};
use skep_coordinator::{Config, ReadModelAt};
use skep_protocol::{
    Command, CommandReply, Event, Failure, FailureKind, PartitionCount, Payload, Query, QueryReply,
    Rejection, RetryRun, RunFilter, RunId, RunStatus, StepPath, StepStatus, Task,
};

use crate::world::*;

fn retry_of(of: RunId, from: Option<&str>) -> RetryRun {
    let from = from.map(StepPath::new);
    RetryRun::new((of, PartitionCount::DEFAULT), (from, false), None, "ada".to_owned())
}

async fn retry(broker: &Embedded, retry: RetryRun) -> CommandReply {
    command(broker, retry.run, Command::Retry(Box::new(retry))).await
}

fn broken() -> Act {
    Act::Fail(Failure::new(FailureKind::Agent, "broken", "on purpose").fatal())
}

/// Starts an agent that fails one step until it is mended.
async fn failing(broker: &Embedded, ledger: &Arc<Ledger>, step: &str) -> (FakeAgent, Mended) {
    let mended = Arc::new(AtomicBool::new(false));
    let (well, step) = (Arc::clone(&mended), step.to_owned());
    let act = move |task: &Task| match task.step.as_str() == step && !well.load(Ordering::Relaxed) {
        true => broken(),
        false => Act::Complete(json!({ "by": task.step.as_str(), "got": task.input })),
    };
    (FakeAgent::start(broker, "a", &[("work", 8)], ledger, act).await, mended)
}

type Mended = Arc<AtomicBool>;

#[tokio::test]
async fn a_run_is_done_over_from_where_it_failed() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let (_agent, mended) = failing(&broker, &ledger, "two").await;
    let old = start(&broker, "k", "chain").await;
    history_to_end(&broker, old).await;
    mended.store(true, Ordering::Relaxed);

    let asked = retry_of(old, None);
    let run = asked.run;
    let reply = retry(&broker, asked.clone()).await;
    assert_eq!(reply, CommandReply::Started { run, existing: false });
    let history = history_to_end(&broker, run).await;
    expect![[r#"
        run_started
        step_kept one
        step_kept two
        attempt_scheduled two
        attempt_completed two
        attempt_scheduled three
        attempt_completed three
        run_completed
    "#]]
    .assert_eq(&words(&history));
    let steps = |run| {
        let of_run = ledger.performed().into_iter().filter(move |id| id.run == run);
        of_run.map(|id| id.to_string().replace(&run.to_string(), "")).collect::<Vec<_>>()
    };
    assert_eq!(steps(run), ["/two/2", "/three/1"]);

    // The answer was lost, say: the same once more.
    let reply = retry(&broker, asked).await;
    assert_eq!(reply, CommandReply::Started { run, existing: true });
    let found = detail(&broker, run).await.unwrap();
    assert_eq!((found.summary.status, found.summary.retry_of), (RunStatus::Completed, Some(old)));
    assert_eq!((found.summary.steps, found.summary.steps_ended), (3, 3));
    assert!(found.steps[0].kept && !found.steps[1].kept);
    assert_eq!(detail(&broker, old).await.unwrap().retried_by, [run]);
}

#[tokio::test]
async fn what_is_kept_is_not_copied_if_it_is_large() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(
        &broker,
        "
name: large
on_failure: continue
steps:
  fan: { agent: work, for_each: '${{ range(300) }}' }
  big: { agent: work }
  last: { agent: work, needs: [fan, big] }
",
    )
    .await;
    let mended = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&mended);
    let act = move |task: &Task| match task.step.as_str() {
        "fan[7]" if !well.load(Ordering::Relaxed) => broken(),
        "big" => Act::Complete(json!("x".repeat(100_000))),
        step => Act::Complete(json!(format!("{step}{}", "y".repeat(60_000)))),
    };
    let _agent = FakeAgent::start(&broker, "a", &[("work", 32)], &ledger, act).await;
    let old = start(&broker, "k", "large").await;
    history_to_end(&broker, old).await;
    mended.store(true, Ordering::Relaxed);
    let before = ledger.performed().len();
    let asked = retry_of(old, None);
    let run = asked.run;
    assert!(matches!(retry(&broker, asked).await, CommandReply::Started { .. }));
    let history = history_to_end(&broker, run).await;
    let again: BTreeSet<String> =
        ledger.performed()[before..].iter().map(|id| id.step.to_string()).collect();
    assert_eq!(again, BTreeSet::from(["fan[7]".to_owned(), "last".to_owned()]));
    let outputs = history.iter().filter_map(|entry| match &entry.record.event {
        Event::StepKept(kept) => kept.output.as_ref(),
        _ => None,
    });
    let inline = outputs.filter(|output| output.text().is_some_and(|text| text.len() > 512));
    assert_eq!(inline.count(), 0, "18 MB are more than a run keeps inline");
    let found = detail(&broker, run).await.unwrap();
    assert_eq!(found.summary.status, RunStatus::Completed);
    assert_eq!((found.summary.steps, found.summary.steps_ended), (303, 303));
}

async fn refused(broker: &Embedded, asked: RetryRun) -> String {
    let of = asked.of;
    match retry(broker, asked).await {
        CommandReply::Rejected(Rejection::CannotRetry { run, cause, help }) if run == of => {
            format!("{cause}; {help}").replace(&of.to_string(), "RUN")
        }
        CommandReply::Rejected(rejection) => rejection.to_string(),
        reply => panic!("{reply:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_done_over_is_refused() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    register(&broker, "name: outer\nsteps:\n  call: { workflow: chain }\n").await;
    let waiting = start(&broker, "waiting", "chain").await;
    history_until(&broker, waiting, |_| true).await;
    let mut told = vec![refused(&broker, retry_of(waiting, None)).await];
    let (_agent, mended) = failing(&broker, &ledger, "two").await;
    history_to_end(&broker, waiting).await;
    told.push(refused(&broker, retry_of(waiting, Some("four"))).await);
    mended.store(true, Ordering::Relaxed);
    let outer = start(&broker, "outer", "outer").await;
    history_to_end(&broker, outer).await;
    told.push(refused(&broker, retry_of(outer, None)).await);
    let child = RunId::child(outer, &StepPath::new("call"), 1);
    told.push(refused(&broker, retry_of(child, None)).await.replace(&outer.to_string(), "OUTER"));
    let wrong = Some(Payload::from(json!({ "nope": 1 })));
    let other =
        RetryRun::new((waiting, PartitionCount::DEFAULT), (None, false), wrong, "ada".to_owned());
    told.push(refused(&broker, other).await);
    let nobody = run_id("nobody");
    let none = refused(&broker, retry_of(nobody, None)).await;
    told.push(none.replace(&nobody.to_string(), "NOBODY"));
    expect![[r#"
        it is not over; wait for its end, or end it: skep cancel RUN
        it has no step `four`; its steps are one, two, three
        it is completed, and every step of it completed; name a step that shall run again: skep retry RUN --from STEP
        step `call` of run OUTER started it; retry that run, which starts this one anew: skep retry OUTER
        input `nope`: the workflow has no inputs
        there is no run NOBODY"#]].assert_eq(&told.join("\n"));
}

#[tokio::test]
async fn a_run_is_done_over_once_and_then_the_next_one_is() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let (_agent, mended) = failing(&broker, &ledger, "two").await;
    let old = start(&broker, "k", "chain").await;
    history_to_end(&broker, old).await;

    // Two people at the same time, who want it in different ways.
    let ways = [retry_of(old, None), retry_of(old, Some("one"))];
    let runs = ways.clone().map(|way| way.run);
    let [one, other] = ways.clone().map(|way| retry(&broker, way));
    let started = |run| CommandReply::Started { run, existing: false };
    let replies = futures::join!(one, other);
    let won = usize::from(replies.1 == started(runs[1]));
    let lost = [&replies.1, &replies.0][won];
    assert_eq!([&replies.0, &replies.1][won], &started(runs[won]));
    let by = runs[won];
    let told = |reply: &CommandReply| match reply {
        CommandReply::Rejected(Rejection::CannotRetry { run, cause, help }) if *run == old => {
            format!("{cause}; {help}").replace(&by.to_string(), "BY")
        }
        reply => panic!("{reply:?}"),
    };
    let once = "run BY does it over; should that one fail, do it over in its turn: skep retry BY";
    assert_eq!(told(lost), once);
    history_to_end(&broker, by).await;

    // So it is for those who ask later, and for a coordinator that begins anew.
    first.shutdown().await;
    let _second = coordinator(&broker).await;
    assert_eq!(told(&retry(&broker, ways[1 - won].clone()).await), once);
    let same = retry(&broker, ways[won].clone()).await;
    assert_eq!(same, CommandReply::Started { run: by, existing: true });

    mended.store(true, Ordering::Relaxed);
    let next = retry_of(by, None);
    let run = next.run;
    assert_eq!(retry(&broker, next).await, started(run));
    history_to_end(&broker, run).await;
    let performed = ledger.performed().into_iter().filter(|id| id.step.as_str() == "two");
    let numbers: Vec<u32> = performed.map(|id| id.attempt).collect();
    assert_eq!(numbers, [1, 2, 3], "each attempt has a number of its own");
}

#[tokio::test]
async fn a_definition_that_is_gone_is_said_to_be() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let (agent, _) = failing(&broker, &ledger, "two").await;
    let old = start(&broker, "k", "chain").await;
    history_to_end(&broker, old).await;
    drop(agent);
    first.shutdown().await;
    for key in broker.keys(Bucket::Workflows, "digest.").await.unwrap() {
        let entry = broker.get(Bucket::Workflows, &key).await.unwrap().unwrap();
        broker.put(Bucket::Workflows, &key, "name: [".into(), entry.revision).await.unwrap();
    }
    let _second = coordinator(&broker).await;
    let told = refused(&broker, retry_of(old, None)).await;
    assert!(told.contains("error"), "{told}");
}

#[tokio::test]
async fn other_inputs_reach_what_runs_again() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(
        &broker,
        "
name: given
inputs: { n: { type: integer } }
steps:
  one: { agent: work, with: '${{ inputs.n }}' }
  two: { agent: work, with: '${{ inputs.n }}', needs: [one] }
",
    )
    .await;
    let (_agent, mended) = failing(&broker, &ledger, "two").await;
    let old = run_id("k");
    command(&broker, old, start_of("k", "given", json!({ "n": 1 }))).await;
    history_to_end(&broker, old).await;
    mended.store(true, Ordering::Relaxed);
    let inputs = Some(Payload::from(json!({ "n": 2 })));
    let asked =
        RetryRun::new((old, PartitionCount::DEFAULT), (None, false), inputs, "ada".to_owned());
    let run = asked.run;
    assert!(matches!(retry(&broker, asked).await, CommandReply::Started { .. }));
    history_to_end(&broker, run).await;
    let found = detail(&broker, run).await.unwrap();
    assert_eq!(found.inputs, Payload::from(json!({ "n": 2 })));
    let got: Vec<_> = found.steps.iter().map(|step| step.output.clone().unwrap()).collect();
    let expected = |step: &str, n: u32| Payload::from(json!({ "by": step, "got": { "json": n } }));
    assert_eq!(got, [expected("one", 1), expected("two", 2)]);
}

#[tokio::test]
async fn without_a_read_model_the_journal_is_asked() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let (_agent, mended) = failing(&broker, &ledger, "three").await;
    let old = start(&broker, "k", "chain").await;
    history_to_end(&broker, old).await;
    first.shutdown().await;
    mended.store(true, Ordering::Relaxed);
    let config = Config { read_model: ReadModelAt::Nowhere, ..Config::embedded() };
    let _second = coordinator_with(&broker, config).await;
    let asked = retry_of(old, None);
    let run = asked.run;
    assert!(matches!(retry(&broker, asked).await, CommandReply::Started { .. }));
    ledger.until(|ledger| ledger.performed().iter().any(|id| id.run == run)).await;
    let again = ledger.performed().into_iter().filter(|id| id.run == run);
    assert_eq!(again.map(|id| id.step.to_string()).collect::<Vec<_>>(), ["three"]);
}

#[tokio::test]
async fn a_list_tells_what_does_over_what() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let (_agent, _) = failing(&broker, &ledger, "two").await;
    let mut run = start(&broker, "k", "chain").await;
    let mut chain = vec![run];
    for _ in 0..3 {
        history_to_end(&broker, run).await;
        let asked = retry_of(run, None);
        run = asked.run;
        assert!(matches!(retry(&broker, asked).await, CommandReply::Started { .. }));
        chain.push(run);
    }
    history_to_end(&broker, run).await;
    let Ok(QueryReply::Runs(runs)) = broker.query(Query::Runs(RunFilter::default())).await else {
        panic!("no list");
    };
    let before = |run: RunId| runs.iter().find(|one| one.run == run).unwrap().retry_of;
    assert_eq!(before(chain[0]), None);
    for pair in chain.windows(2) {
        assert_eq!(before(pair[1]), Some(pair[0]));
    }
    let found = detail(&broker, run).await.unwrap();
    assert_eq!(found.steps[0].status, StepStatus::Completed);
    assert_eq!(found.steps[1].attempts[0].attempt, 4);
    // So that fencing tokens, which begin with the epoch of a partition, go on rising.
    let partitions: BTreeSet<_> =
        chain.iter().map(|run| PartitionCount::DEFAULT.of(*run)).collect();
    assert_eq!(partitions.len(), 1);
}
