//! Queues that vanish while the connection stays: somebody deletes them, or a server loses them.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config;
use futures::StreamExt as _;
use skep_broker::conformance::fixtures::{soon, task, text};
use skep_broker::{QueueDepth, RequestError, Settle, Tasks as _};
use skep_protocol::encode;

use crate::harness::{NatsHarness, connect, stranger};

const WAIT: Duration = Duration::from_secs(10);
/// Long enough for whatever is on its way.
const MOMENT: Duration = Duration::from_millis(300);

/// An agent that makes no consumers, as those who speak the protocol by hand, pulls again what was
/// in the queue: the coordinator sees the loss when it asks for the depth.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_lost_its_consumer_gets_another() {
    let harness = NatsHarness::start().await;
    let nats = connect(&harness, |_| {}).await;
    let js = async_nats::jetstream::new(stranger(&harness).await);
    for step in ["one", "two"] {
        nats.offer(task("writer", step), 1).await.expect("offer");
    }
    let stream = js.get_stream("skep_tasks").await.expect("the stream");
    stream.delete_consumer("writer").await.expect("deleted");
    nats.offer(task("writer", "three"), 1).await.expect("offer");
    let depth = nats.depth("writer").await.expect("depth");
    assert_eq!(depth, QueueDepth { waiting: 3, held: 0 });
    let consumer = js.get_consumer_from_stream::<Config, _, _>("writer", "skep_tasks");
    let consumer = consumer.await.expect("a consumer again");
    let mut batch = consumer.fetch().max_messages(9).messages().await.expect("a batch");
    let mut pulled = 0;
    while let Some(message) = soon("a task", batch.next()).await {
        message.expect("a task").ack().await.expect("acknowledged");
        pulled += 1;
    }
    assert_eq!(pulled, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_of_tasks_is_made_again_for_every_capability() {
    let harness = NatsHarness::start().await;
    let (nats, agent) = (connect(&harness, |_| {}).await, connect(&harness, |_| {}).await);
    let js = async_nats::jetstream::new(stranger(&harness).await);
    for capability in ["writer", "reader"] {
        nats.offer(task(capability, capability), 1).await.expect("offer");
        assert_eq!(agent.pull(capability, 1, WAIT).await.expect("pull").len(), 1);
    }
    js.delete_stream("skep_tasks").await.expect("deleted");
    // Whoever asks how full a queue is learns that it is empty, and offers again.
    for capability in ["writer", "reader"] {
        let depth = nats.depth(capability).await.expect("depth");
        assert_eq!(depth, QueueDepth::default(), "{capability}");
        nats.offer(task(capability, capability), 2).await.expect("offer");
        let depth = nats.depth(capability).await.expect("depth");
        assert_eq!(depth, QueueDepth { waiting: 1, held: 0 }, "{capability}");
        let mut pulled = agent.pull(capability, 1, WAIT).await.expect("pull");
        assert_eq!(pulled.len(), 1, "{capability}");
        pulled[0].settle(Settle::Ack).await.expect("settled");
    }
}

/// The server tells of the last one alone that there is no stream: all of them go out again.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_go_together_all_find_a_stream_that_was_deleted() {
    let harness = NatsHarness::start().await;
    let nats = connect(&harness, |_| {}).await;
    let js = async_nats::jetstream::new(stranger(&harness).await);
    let tasks = |sending: u32| (0..300).map(move |n| (task("writer", &format!("s{n}")), sending));
    nats.offer_all(tasks(1).collect()).await.expect("offer");
    js.delete_stream("skep_tasks").await.expect("deleted");
    nats.offer_all(tasks(2).collect()).await.expect("offer");
    let depth = nats.depth("writer").await.expect("depth");
    assert_eq!(depth, QueueDepth { waiting: 300, held: 0 });
}

/// One that is too large keeps none of the others away.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_too_large_is_told_and_the_others_are_there() {
    let harness = NatsHarness::start().await;
    let nats = connect(&harness, |_| {}).await;
    let mut large = task("writer", "large");
    large.input = text(&"x".repeat(2 << 20));
    let tasks = [task("writer", "a"), large, task("writer", "b")].map(|task| (task, 1));
    let error = nats.offer_all(tasks.to_vec()).await.expect_err("too large");
    assert!(matches!(error, RequestError::TooLarge { .. }), "{error}");
    let limit = stranger(&harness).await.server_info().max_payload;
    let sized = |size: usize| {
        let mut task = task("writer", &format!("of {size}"));
        task.input = text("");
        let headers = "NATS/1.0\r\nNats-Msg-Id: \r\n\r\n".len() + 64;
        task.input = text(&"x".repeat(size - headers - encode(&task).len()));
        task
    };
    nats.offer(sized(limit), 1).await.expect("it just fits");
    let error = nats.offer(sized(limit + 1), 1).await.expect_err("too large");
    assert!(matches!(error, RequestError::TooLarge { .. }), "{error}");
    let depth = nats.depth("writer").await.expect("depth");
    assert_eq!(depth, QueueDepth { waiting: 3, held: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_waits_gets_the_next_task_after_its_queue_vanished() {
    let harness = NatsHarness::start().await;
    let (nats, agent) = (connect(&harness, |_| {}).await, connect(&harness, |_| {}).await);
    let js = async_nats::jetstream::new(stranger(&harness).await);
    nats.offer(task("writer", "first"), 1).await.expect("offer");
    for mut taken in agent.pull("writer", 1, WAIT).await.expect("pull") {
        taken.settle(Settle::Ack).await.expect("settled");
    }
    for (round, what) in ["consumer", "stream"].into_iter().enumerate() {
        let waiting = agent.pull("writer", 1, WAIT);
        let deleting = async {
            let stream = js.get_stream("skep_tasks").await.expect("the stream");
            match what {
                "consumer" => drop(stream.delete_consumer("writer").await.expect("deleted")),
                _ => drop(js.delete_stream("skep_tasks").await.expect("deleted")),
            }
            nats.offer(task("writer", what), round as u32).await.expect("offer");
        };
        let both = Box::pin(async { tokio::join!(waiting, deleting) });
        let (pulled, ()) = soon("a task", both).await;
        let mut pulled = pulled.expect("pull");
        assert_eq!(pulled.len(), 1, "after the {what} vanished");
        assert_eq!(pulled[0].task.step.to_string(), what);
        pulled[0].settle(Settle::Ack).await.expect("settled");
    }
}

/// One confirmation is that of all which were done at the same moment: none of them comes again.
/// What that moment is follows from the one thread.
#[tokio::test]
async fn tasks_that_are_done_together_share_a_confirmation() {
    const TASKS: usize = 300;
    let harness = NatsHarness::start().await;
    let (nats, agent) = (connect(&harness, |_| {}).await, connect(&harness, |_| {}).await);
    let tasks = (0..TASKS).map(|n| (task("writer", &format!("s{n}")), 1)).collect();
    nats.offer_all(tasks).await.expect("offered");
    let mut pulled = Vec::new();
    while pulled.len() < TASKS {
        pulled.extend(agent.pull("writer", TASKS, WAIT).await.expect("pull"));
    }
    // Somebody who listens sees what is answered, and how often.
    let seer = stranger(&harness).await;
    let mut answers = seer.subscribe("_INBOX.>").await.expect("subscribed");
    seer.publish("_INBOX.listens", "now".into()).await.expect("sent");
    soon("its own message", answers.next()).await;
    let settled = pulled.iter_mut().map(|task| task.settle(Settle::Ack));
    for settled in futures::future::join_all(settled).await {
        settled.expect("acknowledged");
    }
    assert_eq!(nats.depth("writer").await.expect("depth"), QueueDepth::default());
    let mut empty = 0;
    while let Ok(Some(answer)) = tokio::time::timeout(MOMENT, answers.next()).await {
        empty += usize::from(answer.payload.is_empty() && answer.status.is_none());
    }
    assert!((1..=TASKS / 100).contains(&empty), "{empty} confirmations");
}
