//! Journals that were written by hosts whose clocks were wrong.

mod jumps;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::{Embedded, Journal as _};
use skep_coordinator::Config;
use skep_protocol::{
    Batch, Command, Failure, FailureKind, PartitionCount, PartitionId, Record, RunStatus, Seq,
    Timestamp,
};

use crate::world::*;

const WAITS: &str = "{ name: waits, steps: { one: { wait: 30m } } }";
const RETRIES: &str = "
name: retries
steps:
  one: { agent: work, retry: { attempts: 2, backoff: constant, initial: 10ms } }
";

/// Leaves a cluster in which a host an hour ahead went on with the journal of a partition; a run
/// waits in another one.
async fn hour_ahead(broker: &Embedded) -> PartitionId {
    let first = coordinator(broker).await;
    register(broker, WAITS).await;
    register(broker, RETRIES).await;
    start(broker, &key_of(PartitionId::new(3)), "waits").await;
    first.kill().await;
    taken_over_by_somebody(broker, PartitionId::new(1), Duration::from_secs(3_600)).await;
    PartitionId::new(1)
}

fn key_of(partition: PartitionId) -> String {
    let mut keys = (0..).map(|n| format!("{n}"));
    keys.find(|key| PartitionCount::DEFAULT.of(run_id(key)) == partition).unwrap()
}

#[tokio::test]
async fn a_journal_from_the_future_moves_no_other_time() {
    let broker = embedded();
    hour_ahead(&broker).await;
    let _second = coordinator(&broker).await;
    let run = run_id(&key_of(PartitionId::new(3)));
    for _ in 0..200 {
        command(&broker, run, Command::Resume { run, by: "test".to_owned() }).await;
    }
    let status = detail(&broker, run).await.unwrap().summary.status;
    assert!(!status.is_final(), "{status:?}");
}

#[tokio::test]
async fn a_delay_counts_from_the_time_of_its_own_journal() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let partition = hour_ahead(&broker).await;
    let _second = coordinator(&broker).await;
    let tries = AtomicU32::new(0);
    let _agent = FakeAgent::start(&broker, "a", &[("work", 1)], &ledger, move |_| {
        match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Act::Fail(Failure::new(FailureKind::Agent, "flaky", "once")),
            _ => Act::Complete(json!(1)),
        }
    })
    .await;
    let run = start(&broker, &key_of(partition), "retries").await;
    history_to_end(&broker, run).await;
    assert_eq!(detail(&broker, run).await.unwrap().summary.status, RunStatus::Completed);
}

#[tokio::test]
async fn a_snapshot_of_all_of_a_journal_does_not_turn_back_its_time() {
    let broker = embedded();
    let partition = hour_ahead(&broker).await;
    for _ in 0..2 {
        // It ends with a snapshot of everything.
        let config = Config { keep_messages: 1_000, ..Config::embedded() };
        coordinator_with(&broker, config).await.shutdown().await;
    }
    let last = broker.last(partition).await.unwrap().unwrap().seq;
    let mut messages = broker.follow(partition, Seq::new(1)).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..last.get() {
        let message = messages.next().await.unwrap().unwrap();
        let batch: Batch = skep_protocol::decode(&message.bytes).unwrap();
        let time = |record: &Record| match record {
            Record::OwnerChanged(changed) => changed.at,
            Record::WorkflowAdded(_) => Timestamp::EPOCH,
            Record::Run(record) => record.at,
        };
        times.extend(batch.records.iter().map(time).max());
    }
    assert!(times.is_sorted(), "{times:?}");
}
