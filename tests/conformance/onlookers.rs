//! Somebody who watches what goes over the server, as an operator does with `nats sub`.

use async_nats::Subscriber;
use skep_broker::conformance::Harness as _;
use skep_broker::conformance::fixtures::{agent, while_serving};
use skep_broker::{Commands as _, Direct as _, Presence as _, Queries as _, RequestError};
use skep_protocol::{Delivery, PartitionId, TaskBatch};

use crate::harness::{NatsHarness, stranger};

/// Watches a subject; once this returns, everything is seen that is sent from then on.
async fn watch(harness: &NatsHarness, subject: &'static str) -> Subscriber {
    let stranger = stranger(harness).await;
    let seen = stranger.subscribe(subject).await.expect("subscribe");
    // The server has read what came before it when it says that nobody is there.
    stranger.request("nobody", "".into()).await.expect_err("nobody listens");
    seen
}

/// Whoever begins to listen comes to know that it does, although somebody takes the question that
/// nobody is to take.
#[tokio::test(flavor = "multi_thread")]
async fn agents_and_coordinators_begin_while_somebody_watches() {
    let harness = NatsHarness::start().await;
    let nats = harness.client().await;
    let _watching = watch(&harness, "skep.>").await;
    let _controls = nats.controls(&agent("a")).await.expect("listen for control");
    let _commands = nats.serve_commands(PartitionId::new(0)).await.expect("listen for commands");
    let _queries = nats.serve_queries().await.expect("listen for queries");
    let _beats = nats.beats().await.expect("listen for heartbeats");
    let tasks = nats.serve_tasks(&agent("a")).await.expect("listen for tasks");
    let (name, batch) = (agent("a"), TaskBatch { tasks: Vec::new() });
    let asked = nats.deliver(&name, &batch);
    let delivered = while_serving(tasks, |_| Some(Delivery::default()), asked).await;
    assert_eq!(delivered.expect("an answer"), Delivery::default());
}

/// Those who serve are no onlookers, whoever is one is found by what it watches, and that is what
/// the server says no more of that nobody is there.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_hides_that_others_are_gone_is_found() {
    let harness = NatsHarness::start().await;
    let nats = harness.client().await;
    let batch = TaskBatch { tasks: Vec::new() };
    let _tasks = nats.serve_tasks(&agent("a")).await.expect("listen for tasks");
    let _commands = nats.serve_commands(PartitionId::new(0)).await.expect("listen for commands");
    let _queries = nats.serve_queries().await.expect("listen for queries");
    let _beats = watch(&harness, "skep.beat.*").await;
    let _journals = watch(&harness, "skep.journal.*").await;
    let none: [&str; 0] = [];
    assert_eq!(nats.onlookers().await.expect("look"), none);
    let nobody = nats.deliver(&agent("gone"), &batch).await;
    assert!(matches!(nobody, Err(RequestError::NoResponders { .. })), "{nobody:?}");

    let one = watch(&harness, "skep.direct.*").await;
    assert_eq!(nats.onlookers().await.expect("look"), ["skep.direct.*"]);
    let nobody = nats.deliver(&agent("gone"), &batch).await;
    assert!(matches!(nobody, Err(RequestError::TimedOut { .. })), "{nobody:?}");
    drop(one);
    let _all = watch(&harness, "skep.>").await;
    let kinds = ["skep.command.*", "skep.report.*.*", "skep.query.to.*", "skep.direct.*"];
    assert_eq!(nats.onlookers().await.expect("look"), kinds);
}
