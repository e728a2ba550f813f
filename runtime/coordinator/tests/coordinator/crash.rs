//! Coordinators that die, agents that die, reports that come late or twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skep_broker::{Journal as _, Reports as _, Snapshots as _};
use skep_coordinator::Config;
use skep_protocol::{
    AgentId, AttemptId, Event, Failure, FailureKind, IgnoreReason, PartitionCount, Payload, Report,
    ReportBatch, ReportBody, RunStatus, StepPath, Verdict,
};

use crate::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_work_nothing_is_lost_or_done_again() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let mut handle = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let mut agents = Vec::new();
    for name in ["a", "b"] {
        let complete = |_: &_| Act::Complete(json!(1));
        agents.push(FakeAgent::start(&broker, name, &[("work", 4)], &journal, complete).await);
    }
    let starter = {
        let broker = broker.clone();
        tokio::spawn(async move {
            let mut runs = Vec::new();
            for number in 0..100 {
                runs.push(start(&broker, &format!("{number}"), "chain").await);
            }
            runs
        })
    };
    for kill in 1..=3 {
        journal.until(|journal| journal.performed().len() >= kill * 60).await;
        handle.kill().await;
        handle = coordinator(&broker).await;
    }
    for run in starter.await.unwrap() {
        history_to_end(&broker, run).await;
    }
    assert_eq!(journal.performed().len(), 300);
    assert_nothing_ran_again(&journal);
    handle.shutdown().await;
}

#[tokio::test]
async fn what_an_agent_holds_over_a_crash_is_not_given_to_anybody_else() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let _slow = FakeAgent::start(&broker, "slow", &[("work", 1)], &journal, move |_| {
        Act::Wait(Arc::clone(&wait))
    })
    .await;
    let run = start(&broker, "k", "chain").await;
    journal.until(|journal| journal.performed().len() == 1).await;
    first.kill().await;
    let complete = |_: &_| Act::Complete(json!(1));
    let _quick = FakeAgent::start(&broker, "quick", &[("work", 1)], &journal, complete).await;
    let _second = coordinator(&broker).await;
    history_until(&broker, run, |event| matches!(event, Event::AttemptTaken { .. })).await;
    assert_eq!(journal.performed().len(), 1);
    gate.open();
    history_to_end(&broker, run).await;
    assert_nothing_ran_again(&journal);
}

#[tokio::test]
async fn a_report_left_while_nobody_listened_counts() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &journal, move |task| {
        match task.step.as_str() {
            "one" => Act::Wait(Arc::clone(&wait)),
            _ => Act::Complete(json!(1)),
        }
    })
    .await;
    let run = start(&broker, "k", "chain").await;
    journal.until(|journal| journal.performed().len() == 1).await;
    first.kill().await;
    gate.open();
    let _second = coordinator(&broker).await;
    history_to_end(&broker, run).await;
    assert_nothing_ran_again(&journal);
}

#[tokio::test]
async fn a_dead_agent_loses_its_attempt_and_its_late_report_changes_nothing() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let keep = |_: &_| Act::Keep;
    let dead = FakeAgent::start(&broker, "dead", &[("work", 2)], &journal, keep).await;
    let run = start(&broker, "k", "chain").await;
    journal.until(|journal| journal.performed().len() == 1).await;
    drop(dead);
    // The next delivery to it finds nobody there.
    start(&broker, "l", "chain").await;
    history_until(&broker, run, |event| matches!(event, Event::AttemptLost { .. })).await;
    let agent = AgentId::new("dead").unwrap();
    let zombie = AttemptId { run, step: StepPath::new("one"), attempt: 1 };
    let count = PartitionCount::DEFAULT;
    let verdict = report(&broker, count, &agent, &zombie, completed(&json!("zombie"))).await;
    assert_eq!(verdict, Some(Verdict::Ignored(IgnoreReason::Stale)));
    let complete = |_: &_| Act::Complete(json!("fresh"));
    let _agent = FakeAgent::start(&broker, "b", &[("work", 2)], &journal, complete).await;
    let history = history_to_end(&broker, run).await;
    assert!(words(&history).contains("report_ignored one"), "{}", words(&history));
    let detail = detail(&broker, run).await.unwrap();
    assert_eq!(detail.summary.status, RunStatus::Completed);
    assert_eq!(detail.steps[0].output, Some(json!("fresh").into()));
}

#[tokio::test]
async fn a_report_that_cannot_be_taken_fails_its_attempt_only() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let deep = "[".repeat(100) + &"]".repeat(100);
    let deep: serde_json::Value = serde_json::from_str(&deep).unwrap();
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &journal, move |_| {
        Act::Complete(deep.clone())
    })
    .await;
    let run = start(&broker, "k", "chain").await;
    history_to_end(&broker, run).await;
    let detail = detail(&broker, run).await.unwrap();
    assert_eq!(detail.error.unwrap().code, "output");
    let (_, verdict) = journal.verdicts().remove(0);
    assert!(matches!(&verdict, Verdict::Rejected(why) if why.contains("64 deep")), "{verdict:?}");

    // An empty batch and a report about nothing are answered too.
    let partition = PartitionCount::DEFAULT.of(run);
    let agent = AgentId::new("stranger").unwrap();
    let mut batch = ReportBatch { v: 1, agent, reports: Vec::new() };
    let reply = broker.report(partition, batch.clone()).await.unwrap();
    assert_eq!(reply.verdicts, []);
    let step = StepPath::new("nowhere");
    batch.reports.push(Report { run, step, attempt: 7, body: ReportBody::Taken {} });
    let reply = broker.report(partition, batch).await.unwrap();
    assert!(matches!(reply.verdicts[..], [Verdict::Ignored(_)]), "{reply:?}");
}

#[tokio::test]
async fn details_that_cannot_be_taken_leave_the_failure_what_it_is() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    let again = "
name: again
steps:
  one: { agent: work, retry: { attempts: 2, initial: 1ms, jitter: none } }
";
    register(&broker, again).await;
    let deep = "[".repeat(100) + &"]".repeat(100);
    let deep = Payload::from_text(&deep).unwrap();
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &journal, move |_| {
        let mut failure = Failure::new(FailureKind::Agent, "rate_limited", "come back");
        failure.details = Some(deep.clone());
        Act::Fail(failure)
    })
    .await;
    let run = start(&broker, "k", "again").await;
    history_to_end(&broker, run).await;
    let error = detail(&broker, run).await.unwrap().error.unwrap();
    assert_eq!((error.code.as_str(), error.details), ("rate_limited", None));
    assert_eq!(journal.performed().len(), 2, "it may be retried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_rest_of_the_journal_are_the_whole() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let config = Config {
        snapshot_after_records: 5,
        snapshot_every: Duration::from_secs(3_600),
        keep_messages: 0,
        ..Config::embedded()
    };
    let handle = coordinator_with(&broker, config.clone()).await;
    register(&broker, CHAIN).await;
    let gate = Arc::new(Gate::default());
    let wait = Arc::clone(&gate);
    let _agent = FakeAgent::start(&broker, "a", &[("work", 32)], &journal, move |task| match task
        .step
        .as_str()
    {
        "three" => Act::Wait(Arc::clone(&wait)),
        _ => Act::Complete(json!(1)),
    })
    .await;
    let mut runs = Vec::new();
    for number in 0..16 {
        runs.push(start(&broker, &format!("{number}"), "chain").await);
    }
    journal.until(|journal| journal.performed().len() >= 16 * 2).await;
    handle.shutdown().await;
    let mut snapshots = 0;
    for partition in PartitionCount::DEFAULT.all() {
        let kept = broker.snapshots(partition).await.unwrap();
        let last = broker.last(partition).await.unwrap().unwrap();
        assert_eq!(kept.first().map(|snapshot| snapshot.seq), Some(last.seq), "drained");
        snapshots += kept.len();
    }
    assert!(snapshots > 8, "only {snapshots} snapshots");
    gate.open();
    let _second = coordinator_with(&broker, config).await;
    for run in runs {
        loop {
            // Trimmed beginnings are not in the second coordinator's read model: ask the owner.
            let cancel = skep_protocol::Command::Resume { run, by: "test".to_owned() };
            match command(&broker, run, cancel).await {
                skep_protocol::CommandReply::Rejected(
                    skep_protocol::Rejection::RunAlreadyFinished { status, .. },
                ) => {
                    assert_eq!(status, RunStatus::Completed);
                    break;
                }
                _ => tokio::task::yield_now().await,
            }
        }
    }
    assert_nothing_ran_again(&journal);
}
