//! One writer for each journal, whatever happens to appends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use skep_broker::{Embedded, Journal as _};
use skep_coordinator::Config;
use skep_protocol::{CommandReply, PartitionCount, PartitionId, Rejection, Seq};

use crate::flaky::Flaky;
use crate::world::*;

#[tokio::test]
async fn a_standby_takes_over_when_nobody_answers() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    let config = Config { standby_every: Duration::from_millis(5), ..Config::embedded() };
    let second = skep_coordinator::Coordinator::start(broker.clone(), config).await.unwrap();
    register(&broker, CHAIN).await;
    let complete = |_: &_| Act::Complete(json!(1));
    let run = start(&broker, "k", "chain").await;
    first.kill().await;
    second.serving().await;
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &journal, complete).await;
    history_to_end(&broker, run).await;
    assert_nothing_ran_again(&journal);
    second.shutdown().await;
}

#[tokio::test]
async fn a_second_writer_makes_the_first_one_let_go() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let run = run_id("k");
    let partition = PartitionCount::DEFAULT.of(run);
    // Somebody else takes the partition over: the same journal, the next epoch.
    taken_over_by_somebody(&broker, partition, Duration::ZERO).await;
    // The first one finds out, drops the partition, loads it again and goes on from there.
    let reply = command(&broker, run, start_of("k", "chain", json!({}))).await;
    assert_eq!(reply, CommandReply::Started { run, existing: false });
    let epochs = epochs(&broker, partition).await;
    assert_eq!(epochs, (1..=epochs.len() as u64).collect::<Vec<_>>());
    assert!(epochs.len() >= 3);
}

async fn epochs(broker: &Embedded, partition: PartitionId) -> Vec<u64> {
    use futures::StreamExt as _;
    let last = broker.last(partition).await.unwrap().unwrap().seq;
    let mut messages = broker.follow(partition, Seq::new(1)).await.unwrap();
    let mut epochs = Vec::new();
    while let Some(Ok(message)) = messages.next().await {
        let batch: skep_protocol::Batch = skep_protocol::decode(&message.bytes).unwrap();
        for record in batch.records {
            if let skep_protocol::Record::OwnerChanged(changed) = record {
                epochs.push(changed.epoch);
            }
        }
        if message.seq == last {
            break;
        }
    }
    epochs
}

#[tokio::test]
async fn a_damaged_journal_stops_its_partition_and_no_other() {
    let (broker, journal) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    first.kill().await;
    let run = run_id("k");
    let partition = PartitionCount::DEFAULT.of(run);
    let last = broker.last(partition).await.unwrap().unwrap();
    broker.append(partition, last.seq, "{\"v\":1,\"garbage\":true}".into()).await.unwrap();
    let second = skep_coordinator::Coordinator::start(broker.clone(), Config::embedded());
    let _second = second.await.unwrap();
    let reply = command(&broker, run, start_of("k", "chain", json!({}))).await;
    let CommandReply::Rejected(Rejection::PartitionStopped { cause }) = reply else {
        panic!("the partition goes on: {reply:?}");
    };
    assert!(cause.contains("message 2") && cause.contains("cannot be read"), "{cause}");
    let complete = |_: &_| Act::Complete(json!(1));
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &journal, complete).await;
    let other = (0..)
        .map(|n| format!("o{n}"))
        .find(|key| PartitionCount::DEFAULT.of(run_id(key)) != partition);
    let other = start(&broker, &other.unwrap(), "chain").await;
    history_to_end(&broker, other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_without_an_answer_lose_and_repeat_nothing() {
    let inner = embedded();
    let broker = Flaky::losing_answers(inner);
    let journal = Arc::new(Ledger::default());
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let complete = |_: &_| Act::Complete(json!(1));
    let _agent = FakeAgent::start(&broker, "a", &[("work", 4)], &journal, complete).await;
    let mut runs = Vec::new();
    for number in 0..20 {
        runs.push(start(&broker, &format!("{number}"), "chain").await);
    }
    for run in runs {
        history_to_end(&broker, run).await;
    }
    assert!(broker.appends.load(Ordering::Relaxed) > 40);
    assert_eq!(journal.performed().len(), 60);
    assert_nothing_ran_again(&journal);
}
