//! A coordinator without room for more runs: who is refused is told so, and has room later.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream::iter;
use serde_json::json;
use skep_broker::{Broker, Embedded, Journal as _};
use skep_coordinator::Config;
use skep_protocol::{
    Batch, Command, CommandReply, Event, PartitionCount, Payload, Record, Rejection, RunId, Seq,
    Signal, SignalId,
};

use crate::world::*;

/// A run that goes on until it is told to end.
const HELD: &str = "
name: held
inputs: { data: { type: string, default: \"\" } }
steps:
  one: { wait_for: { signal: go } }
";

async fn let_go<B: Broker>(broker: &B, run: RunId) {
    let (name, id) = ("go".to_owned(), SignalId::new("1").unwrap());
    let signal = Command::Signal(Signal { run, name, id, payload: Payload::null() });
    assert_eq!(command(broker, run, signal).await, CommandReply::Done {});
    history_to_end(broker, run).await;
}

/// Asks for a run once; returns whether there was room.
async fn has_room<B: Broker>(broker: &B, key: &str, inputs: serde_json::Value) -> bool {
    match command(broker, run_id(key), start_of(key, "held", inputs)).await {
        CommandReply::Started { existing: false, .. } => true,
        CommandReply::Rejected(Rejection::Busy { retry_after_ms }) => {
            assert!(retry_after_ms > 0);
            false
        }
        reply => panic!("neither started nor told to come back: {reply:?}"),
    }
}

/// Returns how many runs a partition had at a time, at most, as its journal tells it; and how many
/// were started.
async fn most_live(broker: &Embedded) -> (usize, usize) {
    let (mut most, mut started) = (0, 0);
    for partition in PartitionCount::DEFAULT.all() {
        let Some(last) = broker.last(partition).await.unwrap() else { continue };
        let mut messages = broker.follow(partition, Seq::new(1)).await.unwrap();
        let (mut live, mut read) = (0, Seq::ZERO);
        while read < last.seq {
            let message = messages.next().await.unwrap().unwrap();
            read = message.seq;
            for record in Batch::read(&message.bytes).unwrap().records {
                let Record::Run(record) = record else { continue };
                if matches!(record.event, Event::RunStarted(_)) {
                    (live, started) = (live + 1, started + 1);
                } else if record.event.ends_run() {
                    live -= 1;
                }
                most = most.max(live);
            }
        }
    }
    (most, started)
}

#[tokio::test]
async fn a_flood_of_starts_is_refused_until_there_is_room() {
    const RUNS: usize = 400;
    const MOST: usize = 10;
    let broker = embedded();
    let config = Config { max_runs_per_partition: MOST, ..Config::embedded() };
    let _coordinator = coordinator_with(&broker, config).await;
    register(&broker, HELD).await;
    let mut left: Vec<String> = (0..RUNS).map(|number| format!("run {number}")).collect();
    let mut refused = 0;
    while !left.is_empty() {
        let asking = left.drain(..).map(async |key| {
            let got_in = has_room(&broker, &key, json!({})).await;
            (key, got_in)
        });
        let asked: BTreeMap<String, bool> = iter(asking).buffer_unordered(RUNS).collect().await;
        for (key, got_in) in asked {
            if got_in {
                let_go(&broker, run_id(&key)).await;
            } else {
                refused += 1;
                left.push(key);
            }
        }
    }
    assert!(refused >= RUNS - MOST * usize::from(PartitionCount::DEFAULT.get()), "{refused}");
    assert_eq!(most_live(&broker).await, (MOST, RUNS));
}

#[tokio::test]
async fn runs_find_no_room_while_large_ones_take_all_the_memory() {
    let broker = embedded();
    let most = 256 * 1024;
    let config = Config { max_run_bytes: most, ..Config::embedded() };
    let _coordinator = coordinator_with(&broker, config).await;
    register(&broker, HELD).await;
    let large = "x".repeat(60_000);
    let mut held = Vec::new();
    // Whatever their partitions are.
    while has_room(&broker, &held.len().to_string(), json!({ "data": large })).await {
        held.push(run_id(&held.len().to_string()));
        assert!(held.len() * large.len() < most + large.len(), "{} large runs", held.len());
    }
    assert!(!has_room(&broker, "small", json!({})).await);
    for run in held {
        let_go(&broker, run).await;
    }
    assert!(has_room(&broker, "small", json!({})).await);
    assert!(has_room(&broker, "large", json!({ "data": large })).await);
}

#[tokio::test]
async fn what_makes_room_is_never_refused() {
    let broker = embedded();
    // Any run takes more than twice as much.
    let config = Config { max_run_bytes: 1, ..Config::embedded() };
    let _coordinator = coordinator_with(&broker, config).await;
    register(&broker, HELD).await;
    register(&broker, "{ name: outer, steps: { call: { workflow: held } } }").await;
    let outer = start(&broker, "outer", "outer").await;
    let child = loop {
        let outer = detail(&broker, outer).await.unwrap();
        if let Some(child) = outer.steps.first().and_then(|step| step.child) {
            break child;
        }
        tokio::task::yield_now().await;
    };
    assert!(!has_room(&broker, "another", json!({})).await);
    let signal = |name: &str| {
        let (name, id) = (name.to_owned(), SignalId::new(name).unwrap());
        Command::Signal(Signal { run: child, name, id, payload: Payload::null() })
    };
    // The child finds room, and begins to wait in its own time.
    history_until(&broker, child, |event| matches!(event, Event::WaitStarted(_))).await;
    let refused = CommandReply::Rejected(Rejection::BUSY);
    assert_eq!(command(&broker, child, signal("later")).await, refused);
    assert_eq!(command(&broker, child, signal("go")).await, CommandReply::Done {});
    history_to_end(&broker, outer).await;
    assert!(has_room(&broker, "another", json!({})).await);
}
