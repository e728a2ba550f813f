//! One writer for each journal, whatever happens to appends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use serde_json::json;
use skep_broker::*;
use skep_coordinator::Config;
use skep_protocol::{
    AgentId, BlobRef, Command, CommandReply, Control, Delivery, Heartbeat, PartitionCount,
    PartitionId, Query, QueryReply, Rejection, ReportBatch, ReportReply, Seq, Task, TaskBatch,
};

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
    let broker = Flaky { inner, appends: Arc::new(AtomicU32::new(0)) };
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

/// A broker whose appends often get no answer: some were stored all the same, some were not, and
/// some are stored later, when nobody expects them any more.
#[derive(Clone)]
struct Flaky {
    inner: Embedded,
    appends: Arc<AtomicU32>,
}

impl Journal for Flaky {
    async fn append(
        &self,
        partition: PartitionId,
        expected: Seq,
        message: bytes::Bytes,
    ) -> Result<Seq, AppendError> {
        let unknown = || AppendError::Unknown { reason: "lost on the way".to_owned() };
        match self.appends.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => Err(unknown()),
            1 => {
                self.inner.append(partition, expected, message).await?;
                Err(unknown())
            }
            2 => {
                let inner = self.inner.clone();
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    let _ = inner.append(partition, expected, message).await;
                });
                Err(unknown())
            }
            _ => self.inner.append(partition, expected, message).await,
        }
    }

    async fn last(&self, partition: PartitionId) -> Result<Option<JournalMessage>, Unavailable> {
        self.inner.last(partition).await
    }

    async fn follow(
        &self,
        partition: PartitionId,
        from: Seq,
    ) -> Result<JournalReader, Unavailable> {
        self.inner.follow(partition, from).await
    }

    async fn trim(&self, partition: PartitionId, first_kept: Seq) -> Result<(), Unavailable> {
        self.inner.trim(partition, first_kept).await
    }
}

/// Hands a method on to the broker inside.
macro_rules! hand_on {
    ($port:ident { $(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $out:ty;)* }) => {
        impl $port for Flaky {
            $(async fn $name(&self $(, $arg: $type)*) -> $out {
                self.inner.$name($($arg),*).await
            })*
        }
    };
}

hand_on!(Commands {
    fn command(&self, partition: PartitionId, command: Command)
        -> Result<CommandReply, RequestError>;
    fn serve_commands(&self, partition: PartitionId)
        -> Result<Requests<Command, CommandReply>, Unavailable>;
});
hand_on!(Queries {
    fn query(&self, query: Query) -> Result<QueryReply, RequestError>;
    fn serve_queries(&self) -> Result<Requests<Query, QueryReply>, Unavailable>;
});
hand_on!(Direct {
    fn deliver(&self, agent: &AgentId, tasks: TaskBatch) -> Result<Delivery, RequestError>;
    fn serve_tasks(&self, agent: &AgentId)
        -> Result<Requests<TaskBatch, Delivery>, Unavailable>;
    fn control(&self, agent: Option<&AgentId>, control: Control) -> Result<(), Unavailable>;
    fn controls(&self, agent: &AgentId)
        -> Result<BoxStream<'static, Control>, Unavailable>;
});
hand_on!(Tasks {
    fn offer(&self, task: Task, sending: u32) -> Result<(), RequestError>;
    fn pull(&self, capability: &str, max: usize, wait: Duration)
        -> Result<Vec<Delivered>, Unavailable>;
    fn depth(&self, capability: &str) -> Result<QueueDepth, Unavailable>;
    fn clear(&self, capability: &str) -> Result<(), Unavailable>;
});
hand_on!(Reports {
    fn report(&self, partition: PartitionId, batch: ReportBatch)
        -> Result<ReportReply, RequestError>;
    fn report_durably(&self, partition: PartitionId, batch: ReportBatch)
        -> Result<(), RequestError>;
    fn serve_reports(&self, partition: PartitionId)
        -> Result<Requests<ReportBatch, ReportReply>, Unavailable>;
    fn durable_reports(&self, partition: PartitionId)
        -> Result<BoxStream<'static, Late>, Unavailable>;
});
hand_on!(Blobs {
    fn put_blob(&self, bytes: bytes::Bytes) -> Result<BlobRef, PutBlobError>;
    fn blob(&self, blob: BlobRef) -> Result<Option<bytes::Bytes>, Unavailable>;
});
hand_on!(Snapshots {
    fn put_snapshot(&self, partition: PartitionId, snapshot: Snapshot) -> Result<(), Unavailable>;
    fn snapshots(&self, partition: PartitionId) -> Result<Vec<Snapshot>, Unavailable>;
});
hand_on!(Registry {
    fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>, Unavailable>;
    fn put(&self, bucket: Bucket, key: &str, value: bytes::Bytes, expected: Revision)
        -> Result<Revision, PutError>;
    fn keys(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, Unavailable>;
});

impl Presence for Flaky {
    async fn beat(&self, heartbeat: Heartbeat) -> Result<(), Unavailable> {
        self.inner.beat(heartbeat).await
    }

    async fn beats(&self) -> Result<BoxStream<'static, Heartbeat>, Unavailable> {
        self.inner.beats().await
    }

    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }
}
