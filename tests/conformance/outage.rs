//! The server is killed in the middle of work and comes back.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use skep_broker::conformance::fixtures::{agent, heartbeat, partition, soon, task};
use skep_broker::{
    AppendError, Direct as _, Journal as _, Presence as _, QueueDepth, RequestError, Tasks as _,
};
use skep_nats::server::{Options, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::{Delivery, Seq, TaskBatch};
use tokio::sync::watch;

use crate::harness::{NatsHarness, connect};

/// A writer appends all the time, retrying what has an unknown outcome, while the server is killed
/// again and again: the journal has every message once, in order, and a follower sees them all.
#[tokio::test(flavor = "multi_thread")]
async fn appends_through_kills_are_stored_once() {
    const MESSAGES: u64 = 3_000;
    let harness = NatsHarness::start().await;
    let (writer, reader) = (connect(&harness, |_| {}).await, connect(&harness, |_| {}).await);
    let p = partition(0);
    let mut follower = reader.follow(p, Seq::ZERO).await.expect("follow");
    let (progress, mut seen) = watch::channel((0, 0));
    // On a thread of its own, so that it is in the middle of something when the server dies.
    let writing = tokio::spawn(async move {
        let mut unknown = 0;
        for number in 1..=MESSAGES {
            unknown += append_until_stored(&writer, number).await;
            progress.send_replace((number, unknown));
        }
    });
    let killing = async {
        for kill in 1..=11 {
            let due = seen.wait_for(|(number, _)| *number >= kill * 250).await;
            let (_, unknown) = *due.expect("a writer");
            if kill > 3 && unknown > 0 {
                return;
            }
            harness.server.lock().await.restart().await.expect("the server again");
        }
    };
    let reading = async {
        for number in 1..=MESSAGES {
            let read = follower.next().await.expect("a message").expect("no hole");
            assert_eq!((read.seq, read.bytes), (Seq::new(number), body(number)));
        }
    };
    let all = async { tokio::join!(writing, killing, reading) };
    let ended = tokio::time::timeout(Duration::from_secs(100), Box::pin(all)).await;
    ended.expect("an end").0.expect("the writer");
    assert!(seen.borrow().1 > 0, "no append was interrupted: the test tests nothing");
    let mut again = connect(&harness, |_| {}).await.follow(p, Seq::ZERO).await.expect("follow");
    for number in 1..=MESSAGES {
        let read = soon("a message", again.next()).await.expect("a message").expect("no hole");
        assert_eq!((read.seq, read.bytes), (Seq::new(number), body(number)));
    }
}

fn body(number: u64) -> Bytes {
    Bytes::from(format!("message {number}"))
}

/// Appends by the rules: an unknown outcome is tried again with the same expectation, and a
/// conflict with one's own bytes at the end is a success. Returns how often it was unknown.
async fn append_until_stored(writer: &Nats, number: u64) -> u32 {
    let (p, expected) = (partition(0), Seq::new(number - 1));
    let mut unknown = 0;
    loop {
        match writer.append(p, expected, body(number)).await {
            Ok(seq) => {
                assert_eq!(seq, Seq::new(number));
                return unknown;
            }
            Err(AppendError::Conflict { last, .. }) => {
                assert_eq!(last, Seq::new(number), "only an append of ours can be in the way");
                let stored = writer.last(p).await.expect("last").expect("a message");
                assert_eq!((stored.seq, stored.bytes), (Seq::new(number), body(number)));
                return unknown;
            }
            Err(AppendError::Unknown { .. }) => {
                unknown += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(other) => panic!("message {number}: {other}"),
        }
    }
}

/// A server that restarts makes no agent look dead: "nobody listens" is not believed until
/// everybody had time to come back. The queue lane is empty and works again.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_listeners_are_found_again() {
    let harness = NatsHarness::start().await;
    let (coordinator, a) = (connect(&harness, |_| {}).await, agent("a"));
    let sdk = connect(&harness, |_| {}).await;
    let mut tasks = sdk.serve_tasks(&a).await.expect("serve");
    let serving = tokio::spawn(async move {
        while let Some(request) = tasks.next().await {
            request.responder.send(Delivery::default());
        }
    });
    coordinator.offer(task("writer", "lost"), 1).await.expect("offer");
    for _ in 0..3 {
        harness.server.lock().await.restart().await.expect("the server again");
        let delivering = async {
            loop {
                match coordinator.deliver(&a, &TaskBatch::default()).await {
                    Ok(_) => return,
                    Err(RequestError::Unavailable(_) | RequestError::TimedOut { .. }) => {}
                    Err(other) => panic!("the agent is there: {other}"),
                }
            }
        };
        soon("a delivery", delivering).await;
    }
    let depth = soon("the depth", coordinator.depth("writer")).await.expect("depth");
    assert_eq!(depth, QueueDepth::default(), "memory streams are empty after a restart");
    coordinator.offer(task("writer", "again"), 1).await.expect("offer");
    let pulled = sdk.pull("writer", 9, Duration::from_secs(10)).await.expect("pull");
    assert_eq!(pulled.len(), 1);
    serving.abort();
}

/// An agent that is there before the coordinator does not make the stream of the queue lane,
/// because it does not know how; it waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_waits_for_the_queue_that_a_coordinator_makes() {
    let server = ThrowawayServer::start(Options::default()).await.expect("a server");
    let join = async || Nats::connect(ConnectOptions::url(&server.url())).await.expect("joined");
    let (sdk, coordinator) = (join().await, join().await);
    let pulled = sdk.pull("writer", 9, Duration::from_millis(1)).await.expect("nothing to do yet");
    assert_eq!(pulled.len(), 0);
    let streams = coordinator.inspect().await.expect("an inspection").streams;
    assert_eq!(streams, [], "an agent made a stream");
    let pulling = sdk.pull("writer", 9, Duration::from_secs(20));
    let offering = coordinator.offer(task("writer", "first"), 1);
    let (pulled, offered) = tokio::join!(pulling, offering);
    offered.expect("offered");
    assert_eq!(pulled.expect("pulled").len(), 1);
}

/// Without a connection nothing is sent late: heartbeats fail at once, and the link says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_noticed_and_comes_back() {
    let harness = NatsHarness::start().await;
    let nats = connect(&harness, |options| options.request_timeout = Duration::from_secs(2)).await;
    let mut server = harness.server.lock().await;
    server.kill().expect("killed");
    soon("the loss", until(|| !nats.is_connected())).await;
    nats.beat(heartbeat("a", 1)).await.expect_err("there is no connection");
    let p = partition(0);
    let unknown = nats.append(p, Seq::ZERO, Bytes::from_static(b"{}")).await;
    assert!(matches!(unknown, Err(AppendError::Unknown { .. })), "{unknown:?}");
    let failed = nats.deliver(&agent("a"), &TaskBatch::default()).await;
    assert!(matches!(failed, Err(RequestError::Unavailable(_))), "{failed:?}");
    server.restart().await.expect("the server again");
    soon("the return", until(|| nats.is_connected())).await;
    let last = nats.last(p).await.expect("last");
    assert_eq!(last, None, "nothing was stored late");
    nats.append(p, Seq::ZERO, Bytes::from_static(b"{}")).await.expect("append");
}

/// A server that takes nothing any more, although the connection stands, holds up nobody for longer
/// than anybody may take to answer.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_holds_up_no_sender() {
    let harness = NatsHarness::start().await;
    let patience = Duration::from_secs(1);
    let nats = connect(&harness, |options| options.request_timeout = patience).await;
    let pid = harness.server.lock().await.pid().expect("a server").to_string();
    let signal = |name: &str| {
        let status = std::process::Command::new("kill").args([name, &pid]).status();
        assert!(status.expect("kill").success());
    };
    signal("-STOP");
    let mut large = heartbeat("a", 1);
    large.software = "x".repeat(900_000);
    // The kernel takes some megabytes before a sender has to wait.
    let beating = async {
        loop {
            if let Err(error) = nats.beat(large.clone()).await {
                return error.to_string();
            }
        }
    };
    let error = soon("an error", beating).await;
    signal("-CONT");
    assert!(error.contains("did not answer in time"), "{error}");
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
