//! Several coordinators that share the partitions: who serves what, and what their ends cost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::json;
use skep_broker::faulty::{Fault, Faulty, Operation};
use skep_broker::{AppendError, Broker, Embedded, Journal as _, Snapshots as _};
use skep_coordinator::{Config, Coordinator, Handle};
use skep_protocol::{CoordinatorId, PartitionCount, PartitionId, RunId, Seq};
use tokio::task::JoinHandle;

use crate::flaky::{Call, Flaky};
use crate::world::*;

const ALL: usize = PartitionCount::DEFAULT.get() as usize;

pub(crate) async fn named<B: Broker>(broker: &B, name: &str) -> Handle {
    let coordinator = Some(CoordinatorId::new(name).unwrap());
    let config = Config { coordinator, ..Config::embedded() };
    Coordinator::start(broker.clone(), config).await.unwrap()
}

/// Waits until each partition is served by one of them, and by those that `fit`.
async fn until_served(handles: &mut [&mut Handle], fit: impl Fn(&[Vec<PartitionId>]) -> bool) {
    loop {
        let owned: Vec<Vec<PartitionId>> = handles.iter().map(|handle| handle.owned()).collect();
        let all: BTreeSet<_> = owned.iter().flatten().collect();
        if all.len() == ALL && owned.iter().map(Vec::len).sum::<usize>() == ALL && fit(&owned) {
            return;
        }
        let changed = handles.iter_mut().map(|handle| Box::pin(handle.owned_changed()));
        futures::future::select_all(changed).await;
    }
}

/// Waits until each of them serves something.
pub(crate) async fn until_shared(handles: &mut [&mut Handle]) {
    until_served(handles, |owned| owned.iter().all(|owned| !owned.is_empty())).await;
}

fn load(broker: &Embedded, runs: usize) -> JoinHandle<Vec<RunId>> {
    let broker = broker.clone();
    tokio::spawn(async move {
        let mut started = Vec::new();
        for number in 0..runs {
            started.push(start(&broker, &format!("{number}"), "chain").await);
        }
        started
    })
}

async fn workers(broker: &Embedded, ledger: &Arc<Ledger>) -> Vec<FakeAgent> {
    let mut agents = Vec::new();
    for name in ["one", "two"] {
        let complete = |_: &_| Act::Complete(json!(1));
        agents.push(FakeAgent::start(broker, name, &[("work", 8)], ledger, complete).await);
    }
    agents
}

/// Starts three coordinators that share everything, and 200 runs; returns once some work is done.
async fn three_under_load(
    broker: &Embedded,
    ledger: &Arc<Ledger>,
) -> ([Handle; 3], Vec<FakeAgent>, JoinHandle<Vec<RunId>>) {
    let (mut a, mut b, mut c) =
        (named(broker, "a").await, named(broker, "b").await, named(broker, "c").await);
    until_shared(&mut [&mut a, &mut b, &mut c]).await;
    register(broker, CHAIN).await;
    let agents = workers(broker, ledger).await;
    let runs = load(broker, 200);
    ledger.until(|ledger| ledger.performed().len() >= 100).await;
    ([a, b, c], agents, runs)
}

/// Waits for the end of 200 runs, each step of which was done once.
async fn all_done_once(broker: &Embedded, ledger: &Ledger, runs: JoinHandle<Vec<RunId>>) {
    for run in runs.await.unwrap() {
        history_to_end(broker, run).await;
    }
    assert_eq!(ledger.performed().len(), 600);
    assert_nothing_ran_again(ledger);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_gets_its_share_under_load_and_nothing_is_done_twice() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let mut a = named(&broker, "a").await;
    a.serving().await;
    register(&broker, CHAIN).await;
    let _agents = workers(&broker, &ledger).await;
    let runs = load(&broker, 200);
    let (mut b, mut c) = (named(&broker, "b").await, named(&broker, "c").await);
    until_shared(&mut [&mut a, &mut b, &mut c]).await;
    all_done_once(&broker, &ledger, runs).await;
}

#[tokio::test(start_paused = true)]
async fn who_drains_hands_over_and_the_others_go_on() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let ([a, mut b, mut c], _agents, runs) = three_under_load(&broker, &ledger).await;
    a.shutdown().await;
    until_served(&mut [&mut b, &mut c], |_| true).await;
    b.shutdown().await;
    c.serving().await;
    all_done_once(&broker, &ledger, runs).await;
}

#[tokio::test(start_paused = true)]
async fn the_dead_are_replaced_under_load_and_nothing_is_done_twice() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let ([a, mut b, mut c], _agents, runs) = three_under_load(&broker, &ledger).await;
    a.kill().await;
    until_served(&mut [&mut b, &mut c], |_| true).await;
    ledger.until(|ledger| ledger.performed().len() >= 200).await;
    let mut again = named(&broker, "a").await;
    until_shared(&mut [&mut again, &mut b, &mut c]).await;
    b.kill().await;
    all_done_once(&broker, &ledger, runs).await;
}

/// What the world sees of a stopped process: it listens, and answers nobody; nothing it sends gets
/// anywhere. Once it goes on, everything it had decided is refused.
#[tokio::test(start_paused = true)]
async fn a_hung_owner_is_replaced_and_gets_nothing_in_when_it_wakes_up() {
    let (inner, ledger) = (embedded(), Arc::new(Ledger::default()));
    let hung = Arc::new(AtomicBool::new(false));
    let hangs = Arc::clone(&hung);
    let broker = Flaky::hooked(inner.clone(), move |call| {
        let hangs = hangs.load(Ordering::Relaxed);
        let fails = match call {
            Call::Append(_) | Call::Last(_) => hangs,
            Call::Command(_) | Call::IsConnected => false,
        };
        fails.then(|| AppendError::Unknown { reason: "it is stopped".to_owned() })
    });
    let mut a = named(&broker, "a").await;
    a.serving().await;
    let mut b = named(&inner, "b").await;
    until_shared(&mut [&mut a, &mut b]).await;
    register(&inner, CHAIN).await;
    let _agents = workers(&inner, &ledger).await;
    let runs = load(&inner, 100);
    ledger.until(|ledger| ledger.performed().len() >= 60).await;
    hung.store(true, Ordering::Relaxed);
    b.serving().await;
    hung.store(false, Ordering::Relaxed);
    for run in runs.await.unwrap() {
        history_to_end(&inner, run).await;
    }
    assert_nothing_ran_again(&ledger);
    until_shared(&mut [&mut a, &mut b]).await;
    let run = start(&inner, "after", "chain").await;
    history_to_end(&inner, run).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_nothing_ran_again(&ledger);
}

/// A snapshot of what was decided, and never got into the journal, would make it happen.
#[tokio::test]
async fn who_is_replaced_while_it_drains_leaves_no_snapshot() {
    let inner = embedded();
    let (broker, script) = Faulty::new(inner.clone());
    let mut first = named(&broker, "a").await;
    first.serving().await;
    register(&inner, CHAIN).await;
    let partition = PartitionCount::DEFAULT.of(run_id("k"));
    script.next(Operation::Append, Fault::Hold);
    let client = inner.clone();
    let asked = tokio::spawn(async move { start(&client, "k", "chain").await });
    script.held(1).await;
    first.drain();
    while first.owned() != [partition] {
        first.owned_changed().await;
    }
    let end = inner.last(partition).await.unwrap().unwrap().seq;
    inner.append(partition, end, Bytes::from_static(b"of a successor")).await.unwrap();
    script.release().await;
    first.stopped().await;
    assert!(inner.snapshots(partition).await.unwrap().is_empty());
    asked.abort();
}

/// A journal is not damaged because somebody kept a snapshot and trimmed it meanwhile.
#[tokio::test]
async fn who_takes_long_to_load_is_overtaken_by_a_trim_and_stops_nothing() {
    let inner = embedded();
    let (slow, script) = Faulty::new(inner.clone());
    for _ in 0..ALL {
        script.next(Operation::Snapshots, Fault::HoldAnswer);
    }
    let mut late = named(&slow, "late").await;
    script.held(ALL).await;
    let config = Config { snapshot_after_records: 1, keep_messages: 0, ..Config::embedded() };
    let owner = coordinator_with(&inner, config).await;
    register(&inner, CHAIN).await;
    let ledger = Arc::new(Ledger::default());
    let _workers = workers(&inner, &ledger).await;
    let partition = PartitionCount::DEFAULT.of(run_id("0"));
    let mut runs = 0..;
    while inner.follow(partition, Seq::new(1)).await.unwrap().next().await.unwrap().unwrap().seq
        == Seq::new(1)
    {
        let run = start(&inner, &runs.next().unwrap().to_string(), "chain").await;
        history_to_end(&inner, run).await;
    }
    script.release().await;
    owner.kill().await;
    // It stops for good if the journal is damaged.
    late.serving().await;
    late.drain();
    late.stopped().await;
}
