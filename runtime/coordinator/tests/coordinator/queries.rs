//! What those who ask are told.

use std::sync::Arc;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::json;
use skep_broker::{Blobs as _, Embedded, Journal as _, Queries as _};
use skep_coordinator::{Config, Coordinator};
use skep_protocol::limits::MAX_MESSAGE;
use skep_protocol::{
    Command, CommandReply, PartitionCount, PartitionId, Query, QueryReply, RunFilter, RunStatus,
    Seq, StepStatus, Task, decode, encode,
};

use crate::world::*;

async fn first_kept(broker: &Embedded, partition: PartitionId) -> Seq {
    let mut messages = broker.follow(partition, Seq::new(1)).await.unwrap();
    messages.next().await.unwrap().unwrap().seq
}

#[tokio::test]
async fn a_run_older_than_its_journal_is_known_to_a_new_read_model() {
    let broker = embedded();
    let config = || Config { snapshot_after_records: 1, keep_messages: 0, ..Config::embedded() };
    let first = coordinator_with(&broker, config()).await;
    register(&broker, CHAIN).await;
    let old = start(&broker, "old", "chain").await;
    let partition = PartitionCount::DEFAULT.of(old);
    let history = history_until(&broker, old, |_| true).await;
    assert_eq!(words(&history).lines().next(), Some("run_started"));
    let begun = broker.last(partition).await.unwrap().unwrap().seq;
    for number in 0.. {
        if first_kept(&broker, partition).await > begun {
            break;
        }
        start(&broker, &format!("{number}"), "chain").await;
    }
    first.kill().await;

    let _second = coordinator_with(&broker, config()).await;
    let found = detail(&broker, old).await.unwrap();
    assert_eq!(found.summary.status, RunStatus::Running);
    let steps: Vec<_> = found.steps.iter().map(|step| (step.step.as_str(), step.status)).collect();
    let pending = StepStatus::Pending;
    assert_eq!(steps, [("one", StepStatus::Scheduled), ("two", pending), ("three", pending)]);
    assert_eq!(found.waiting.len(), 3, "{:?}", found.waiting);
    let history = history_until(&broker, old, |_| true).await;
    assert_eq!(words(&history), "run_started\n");
}

#[tokio::test]
async fn those_who_follow_keep_nobody_from_asking() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let run = start(&broker, "k", "chain").await;
    let after = history_until(&broker, run, |_| true).await.last().unwrap().number;
    let query = || broker.query(Query::History { run, after, limit: 10, wait_ms: 30_000 });
    let mut followers: FuturesUnordered<_> = std::iter::repeat_with(query).take(2_000).collect();
    // Each is looked at once, and so has asked.
    assert!(followers.next().now_or_never().is_none());
    let asked = broker.query(Query::Runs(RunFilter::default())).await;
    assert!(matches!(asked, Ok(QueryReply::Runs(runs)) if runs.len() == 1));
    let ended = followers.next().now_or_never();
    assert!(ended.is_none(), "a follower did not wait: {ended:?}");
}

#[tokio::test]
async fn whoever_is_asked_tells_what_the_owner_knows() {
    let broker = embedded();
    let _owner = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let _standby = Coordinator::start(broker.clone(), Config::embedded()).await.unwrap();
    let run = start(&broker, "k", "chain").await;
    let ask = command(&broker, run, Command::Ask(Query::run(run))).await;
    assert!(matches!(&ask, CommandReply::Answer(reply) if matches!(**reply, QueryReply::Run(_))));
    assert_eq!(decode::<CommandReply>(&encode(&ask)).unwrap(), ask);
    // Each of them answers some of the questions.
    for _ in 0..10 {
        let found = detail(&broker, run).await.unwrap();
        let one = found.waiting.iter().find(|waiting| waiting.step.as_str() == "one");
        assert_eq!(one.unwrap().reason, "no live agent offers work");
    }
    let pause = Command::Pause { run, by: "test".to_owned() };
    assert_eq!(command(&broker, run, pause).await, CommandReply::Done {});
    for _ in 0..10 {
        let found = detail(&broker, run).await.unwrap();
        assert_eq!(found.summary.status, RunStatus::Paused);
        assert_eq!(found.paused.as_ref().and_then(|paused| paused.by.as_deref()), Some("test"));
        for view in &found.waiting {
            assert!(view.reason.starts_with("the run is paused by test since "), "{view:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_fits_into_a_message_and_leaves_nothing_out() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    let workflow = "
name: much
steps:
  fan: { agent: work, for_each: '${{ range(600) }}' }
";
    register(&broker, workflow).await;
    let output = |step: &str| json!(format!("{step}{}", "x".repeat(60_000)));
    let handler = move |task: &Task| Act::Complete(output(task.step.as_str()));
    let _agent = FakeAgent::start(&broker, "a", &[("work", 64)], &ledger, handler).await;
    let run = start(&broker, "k", "much").await;
    history_to_end(&broker, run).await;
    let found = detail(&broker, run).await.unwrap();
    assert!(encode(&found).len() < MAX_MESSAGE, "{}", encode(&found).len());
    let items: Vec<_> = found.steps.iter().filter(|step| step.step.as_str() != "fan").collect();
    assert_eq!(items.len(), 600);
    for step in items {
        let kept = step.output.as_ref().unwrap();
        let bytes = match kept.blob() {
            Some(blob) => broker.blob(blob).await.unwrap().unwrap(),
            None => bytes::Bytes::copy_from_slice(kept.text().unwrap().as_bytes()),
        };
        assert_eq!(bytes, output(step.step.as_str()).to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_confirmed_is_in_every_list() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    for number in 0..100 {
        let run = start(&broker, &format!("{number}"), "chain").await;
        let newest = RunFilter { limit: 1_000, ..RunFilter::default() };
        let Ok(QueryReply::Runs(runs)) = broker.query(Query::Runs(newest)).await else {
            panic!("no list");
        };
        assert!(runs.iter().any(|listed| listed.run == run), "{number}");
    }
}

#[tokio::test]
async fn a_step_that_an_agent_holds_is_running_and_those_to_come_are_pending() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &ledger, |_| Act::Keep).await;
    let run = start(&broker, "k", "chain").await;
    let found = loop {
        let found = detail(&broker, run).await.unwrap();
        if found.steps[0].status == StepStatus::Running {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let attempt = &found.steps[0].attempts[0];
    assert_eq!(attempt.agent.as_ref().map(|agent| agent.as_str()), Some("a"));
    assert!(found.waiting.iter().all(|view| view.step.as_str() != "one"), "{:?}", found.waiting);
    let to_come: Vec<_> = found.steps[1..].iter().map(|step| step.status).collect();
    assert!(to_come.iter().all(|status| *status == StepStatus::Pending), "{to_come:?}");
    assert_eq!(found.steps.len() as u32, found.summary.steps);
}
