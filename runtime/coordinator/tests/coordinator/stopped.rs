//! Partitions, loops and jobs that cannot go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::{AppendError, Commands as _, Journal as _};
use skep_coordinator::{Config, Coordinator};
use skep_protocol::{Command, CommandReply, PartitionCount, Rejection};
use tokio::task::JoinSet;

use crate::flaky::{Call, Flaky};
use crate::world::*;

fn quick() -> Config {
    Config { standby_every: Duration::from_millis(5), ..Config::embedded() }
}

fn stopped() -> CommandReply {
    CommandReply::Rejected(Rejection::PartitionStopped { cause: "a test".to_owned() })
}

#[tokio::test]
async fn a_standby_takes_over_what_its_owner_cannot_go_on_with() {
    let broker = embedded();
    let mut owners = JoinSet::new();
    for partition in PartitionCount::DEFAULT.all() {
        let mut commands = broker.serve_commands(partition).await.unwrap();
        owners.spawn(async move {
            while let Some(request) = commands.next().await {
                request.responder.send(stopped());
            }
        });
    }
    let standby = Coordinator::start(broker.clone(), quick()).await.unwrap();
    standby.serving().await;
}

#[tokio::test]
async fn a_stopped_partition_is_left_to_whoever_writes_its_journal() {
    let broker = embedded();
    let run = run_id("k");
    let partition = PartitionCount::DEFAULT.of(run);
    let garbage = bytes::Bytes::from_static(b"{}");
    let end = broker.append(partition, skep_protocol::Seq::ZERO, garbage.clone()).await.unwrap();
    let _stopped = Coordinator::start(broker.clone(), quick()).await.unwrap();
    let ask = || command(&broker, run, Command::Resume { run, by: "test".to_owned() });
    let reply = ask().await;
    assert!(
        matches!(reply, CommandReply::Rejected(Rejection::PartitionStopped { .. })),
        "{reply:?}"
    );
    // Somebody who can read it goes on, and is the only one to answer.
    let mut commands = broker.serve_commands(partition).await.unwrap();
    broker.append(partition, end, garbage).await.unwrap();
    let mut asked = 0;
    while asked < 3 {
        let request = commands.next().await.unwrap();
        asked +=
            u32::from(matches!(&request.message, Command::Resume { by, .. } if by == "standby"));
        request.responder.send(CommandReply::Done {});
    }
}

/// Lets the hook do its work once.
fn once(work: impl Fn() + Send + Sync + 'static) -> impl Fn() + Send + Sync + 'static {
    let done = AtomicBool::new(false);
    move || {
        if !done.swap(true, Ordering::Relaxed) {
            work();
        }
    }
}

#[tokio::test]
async fn what_the_broker_refuses_has_not_happened_and_the_partition_goes_on() {
    let inner = embedded();
    let count = std::sync::atomic::AtomicU32::new(0);
    let broker = Flaky::hooked(inner.clone(), move |call| {
        let refused = matches!(call, Call::Append(_)) && count.fetch_add(1, Ordering::Relaxed) == 9;
        refused.then_some(AppendError::TooLarge { size: 2, limit: 1 })
    });
    let ledger = Arc::new(Ledger::default());
    let _coordinator = coordinator(&broker).await;
    register(&inner, CHAIN).await;
    let complete = |_: &_| Act::Complete(json!(1));
    let _agent = FakeAgent::start(&inner, "a", &[("work", 1)], &ledger, complete).await;
    let run = start(&inner, "k", "chain").await;
    history_to_end(&inner, run).await;
    assert_nothing_ran_again(&ledger);
}

#[tokio::test]
async fn an_effect_that_panics_is_tried_again() {
    let inner = embedded();
    let panic = once(|| panic!("on purpose"));
    let broker = Flaky::hooked(inner.clone(), move |call| {
        if let Call::Command(Command::Start(start)) = call
            && start.parent.is_some()
        {
            panic();
        }
        None
    });
    let ledger = Arc::new(Ledger::default());
    let _coordinator = coordinator(&broker).await;
    register(&inner, CHAIN).await;
    register(&inner, "{ name: outer, steps: { call: { workflow: chain } } }").await;
    let complete = |_: &_| Act::Complete(json!(1));
    let _agent = FakeAgent::start(&inner, "a", &[("work", 1)], &ledger, complete).await;
    let run = start(&inner, "k", "outer").await;
    history_to_end(&inner, run).await;
    assert_eq!(ledger.performed().len(), 3);
}

#[tokio::test]
async fn a_loop_that_panics_stops_its_partition_and_no_other() {
    let inner = embedded();
    let count = std::sync::atomic::AtomicU32::new(0);
    let broker = Flaky::hooked(inner.clone(), move |call| {
        let panics = matches!(call, Call::Append(_)) && count.fetch_add(1, Ordering::Relaxed) == 8;
        assert!(!panics, "on purpose");
        None
    });
    let _coordinator = coordinator(&broker).await;
    register(&inner, CHAIN).await;
    let run = run_id("k");
    let reply = command(&inner, run, start_of("k", "chain", json!({}))).await;
    let reply = match reply {
        CommandReply::Rejected(_) => reply,
        _ => command(&inner, run, start_of("k", "chain", json!({}))).await,
    };
    let CommandReply::Rejected(Rejection::PartitionStopped { cause }) = reply else {
        panic!("the partition goes on: {reply:?}");
    };
    assert!(cause.contains("panicked"), "{cause}");
    let other = (0..).map(|n| run_id(&format!("o{n}")));
    let mut other =
        other.filter(|other| PartitionCount::DEFAULT.of(*other) != PartitionCount::DEFAULT.of(run));
    let other = other.next().unwrap();
    let reply = command(&inner, other, Command::Resume { run: other, by: "test".into() }).await;
    assert_eq!(reply, CommandReply::Rejected(Rejection::RunNotFound { run: other }));
}

#[tokio::test]
async fn without_its_fleet_a_coordinator_ends() {
    let inner = embedded();
    let dead = Arc::new(AtomicBool::new(false));
    let dies = Arc::clone(&dead);
    let broker = Flaky::hooked(inner.clone(), move |call| {
        let dies = matches!(call, Call::IsConnected) && dies.load(Ordering::Relaxed);
        assert!(!dies, "on purpose");
        None
    });
    let mut handle = coordinator(&broker).await;
    dead.store(true, Ordering::Relaxed);
    handle.stopped().await;
}
