//! The port, through the script.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_protocol::{
    AgentId, BlobRef, Command, CommandReply, Control, Delivery, Heartbeat, PartitionId, Query,
    QueryReply, ReportBatch, ReportReply, Seq, Task, TaskBatch,
};

use super::{Fault, Faulty, Operation, Script};
use crate::blobs::{Blobs, Snapshot, Snapshots};
use crate::directory::{Bucket, Entry, Presence, PutError, Registry, Revision};
use crate::error::{PutBlobError, RequestError, Unavailable};
use crate::journal::{AppendError, Journal, JournalMessage, JournalReader};
use crate::reports::{DurableReport, Late, Reports};
use crate::requests::{Commands, Direct, Queries, Requests};
use crate::tasks::{Delivered, Hold, QueueDepth, Tasks};

/// What a caller sees of an operation that failed by script.
trait Failed {
    /// It does not know what became of it.
    fn lost() -> Self;
    /// Nothing was done.
    fn refused() -> Self;
}

impl Failed for Unavailable {
    fn lost() -> Self {
        Self { attempted: "reach the broker", reason: "the script says so".to_owned() }
    }

    fn refused() -> Self {
        Self::lost()
    }
}

impl Failed for PutBlobError {
    fn lost() -> Self {
        Self::Unavailable(Failed::lost())
    }

    fn refused() -> Self {
        Self::lost()
    }
}

impl Failed for RequestError {
    fn lost() -> Self {
        Self::TimedOut { what: "a request that the script fails".to_owned(), within_ms: 0 }
    }

    fn refused() -> Self {
        Self::NoResponders { what: "a request that the script fails".to_owned(), sent: false }
    }
}

impl Failed for AppendError {
    fn lost() -> Self {
        Self::Unknown { reason: "the script says so".to_owned() }
    }

    fn refused() -> Self {
        Self::lost()
    }
}

impl Failed for PutError {
    fn lost() -> Self {
        Self::Unavailable(Failed::lost())
    }

    fn refused() -> Self {
        Self::Conflict { key: "a key that the script fails".to_owned() }
    }
}

impl<B: Clone + Send + 'static> Faulty<B> {
    /// Performs an operation as the script says.
    async fn perform<T, E, F>(
        &self,
        operation: Operation,
        work: impl FnOnce(B) -> F + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: Failed + Send,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let work = work(self.inner.clone());
        scripted(&self.script, operation, E::refused, work).await
    }
}

async fn scripted<T, E, F>(
    script: &Script,
    operation: Operation,
    refused: impl FnOnce() -> E + Send,
    work: F,
) -> Result<T, E>
where
    T: Send,
    E: Failed + Send,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    match script.begin(operation) {
        None => work.await,
        Some(Fault::Lose) => Err(E::lost()),
        Some(Fault::Refuse) => Err(refused()),
        Some(Fault::LoseAnswer) => {
            drop(work.await);
            Err(E::lost())
        }
        Some(Fault::DoLater) => {
            script.haunt(Box::pin(async move { drop(work.await) }));
            Err(E::lost())
        }
        Some(Fault::Hold) => {
            script.hold().await;
            work.await
        }
        Some(Fault::HoldAnswer) => {
            let answer = work.await;
            script.hold().await;
            answer
        }
    }
}

impl<B: Journal> Journal for Faulty<B> {
    async fn append(
        &self,
        partition: PartitionId,
        expected: Seq,
        message: Bytes,
    ) -> Result<Seq, AppendError> {
        let inner = self.inner.clone();
        let work = async move { inner.append(partition, expected, message).await };
        let refused = || AppendError::Conflict { expected, last: expected.next() };
        scripted(&self.script, Operation::Append, refused, work).await
    }

    async fn last(&self, partition: PartitionId) -> Result<Option<JournalMessage>, Unavailable> {
        self.perform(Operation::Last, |b| async move { b.last(partition).await }).await
    }

    async fn age(&self, partition: PartitionId) -> Result<Duration, Unavailable> {
        self.perform(Operation::Age, |b| async move { b.age(partition).await }).await
    }

    async fn follow(
        &self,
        partition: PartitionId,
        from: Seq,
    ) -> Result<JournalReader, Unavailable> {
        self.perform(Operation::Follow, |b| async move { b.follow(partition, from).await }).await
    }

    async fn trim(&self, partition: PartitionId, first_kept: Seq) -> Result<(), Unavailable> {
        self.perform(Operation::Trim, |b| async move { b.trim(partition, first_kept).await }).await
    }
}

impl<B: Tasks> Tasks for Faulty<B> {
    async fn offer(&self, task: Task, sending: u32) -> Result<(), RequestError> {
        self.perform(Operation::Offer, |b| async move { b.offer(task, sending).await }).await
    }

    async fn pull(
        &self,
        capability: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivered>, Unavailable> {
        let capability = capability.to_owned();
        let work = |b: B| async move { b.pull(&capability, max, wait).await };
        let pulled = self.perform(Operation::Pull, work).await?;
        Ok(pulled.into_iter().map(|task| scripted_settle(&self.script, task)).collect())
    }

    async fn depth(&self, capability: &str) -> Result<QueueDepth, Unavailable> {
        let capability = capability.to_owned();
        self.perform(Operation::Depth, |b| async move { b.depth(&capability).await }).await
    }

    async fn clear(&self, capability: &str) -> Result<(), Unavailable> {
        let capability = capability.to_owned();
        self.perform(Operation::Clear, |b| async move { b.clear(&capability).await }).await
    }
}

fn scripted_settle(script: &Arc<Script>, delivered: Delivered) -> Delivered {
    let (script, hold) = (Arc::clone(script), Arc::new(tokio::sync::Mutex::new(delivered.hold)));
    let hold = Hold::new(move |settle| {
        let (script, hold) = (Arc::clone(&script), Arc::clone(&hold));
        Box::pin(async move {
            let work = async move { hold.lock().await.settle(settle).await };
            scripted(&script, Operation::Settle, Unavailable::refused, work).await
        })
    });
    Delivered { hold, ..delivered }
}

impl<B: Commands> Commands for Faulty<B> {
    async fn command(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> Result<CommandReply, RequestError> {
        let work = |b: B| async move { b.command(partition, command).await };
        self.perform(Operation::Command, work).await
    }

    async fn serve_commands(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<Command, CommandReply>, Unavailable> {
        self.perform(Operation::Listen, |b| async move { b.serve_commands(partition).await }).await
    }
}

impl<B: Queries> Queries for Faulty<B> {
    async fn query(&self, query: Query) -> Result<QueryReply, RequestError> {
        self.perform(Operation::Query, |b| async move { b.query(query).await }).await
    }

    async fn serve_queries(&self) -> Result<Requests<Query, QueryReply>, Unavailable> {
        self.perform(Operation::Listen, |b| async move { b.serve_queries().await }).await
    }
}

impl<B: Direct> Direct for Faulty<B> {
    async fn deliver(&self, agent: &AgentId, tasks: &TaskBatch) -> Result<Delivery, RequestError> {
        let (agent, tasks) = (agent.clone(), tasks.clone());
        self.perform(Operation::Deliver, |b| async move { b.deliver(&agent, &tasks).await }).await
    }

    async fn serve_tasks(
        &self,
        agent: &AgentId,
    ) -> Result<Requests<TaskBatch, Delivery>, Unavailable> {
        let agent = agent.clone();
        self.perform(Operation::Listen, |b| async move { b.serve_tasks(&agent).await }).await
    }

    async fn control(&self, agent: Option<&AgentId>, control: Control) -> Result<(), Unavailable> {
        let agent = agent.cloned();
        let work = |b: B| async move { b.control(agent.as_ref(), control).await };
        self.perform(Operation::Control, work).await
    }

    async fn controls(&self, agent: &AgentId) -> Result<BoxStream<'static, Control>, Unavailable> {
        let agent = agent.clone();
        self.perform(Operation::Listen, |b| async move { b.controls(&agent).await }).await
    }
}

impl<B: Reports> Reports for Faulty<B> {
    async fn report(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<ReportReply, RequestError> {
        self.perform(Operation::Report, |b| async move { b.report(partition, batch).await }).await
    }

    async fn report_durably(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<(), RequestError> {
        let work = |b: B| async move { b.report_durably(partition, batch).await };
        self.perform(Operation::ReportDurably, work).await
    }

    async fn serve_reports(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<ReportBatch, ReportReply>, Unavailable> {
        self.perform(Operation::Listen, |b| async move { b.serve_reports(partition).await }).await
    }

    async fn durable_reports(
        &self,
        partition: PartitionId,
    ) -> Result<BoxStream<'static, Late>, Unavailable> {
        let work = |b: B| async move { b.durable_reports(partition).await };
        let reports = self.perform(Operation::Listen, work).await?;
        let script = Arc::clone(&self.script);
        let reports = reports.then(move |late| {
            let script = Arc::clone(&script);
            async move {
                if let Some(Fault::Hold | Fault::HoldAnswer) = script.begin(Operation::ReadLate) {
                    script.hold().await;
                }
                (script, late)
            }
        });
        let reports = reports.map(|(script, late)| {
            let Late::Reports(report) = late else { return late };
            Late::Reports(DurableReport::new(report.batch.clone(), || {
                Box::pin(async move {
                    scripted(&script, Operation::Confirm, Unavailable::refused, report.confirm())
                        .await
                })
            }))
        });
        Ok(reports.boxed())
    }
}

impl<B: Presence> Presence for Faulty<B> {
    async fn beat(&self, heartbeat: Heartbeat) -> Result<(), Unavailable> {
        self.perform(Operation::Beat, |b| async move { b.beat(heartbeat).await }).await
    }

    async fn beats(&self) -> Result<BoxStream<'static, Heartbeat>, Unavailable> {
        self.perform(Operation::Listen, |b| async move { b.beats().await }).await
    }

    fn is_connected(&self) -> bool {
        !self.script.is_cut_off() && self.inner.is_connected()
    }
}

impl<B: Blobs> Blobs for Faulty<B> {
    async fn put_blob(&self, bytes: Bytes) -> Result<BlobRef, PutBlobError> {
        self.perform(Operation::PutBlob, |b| async move { b.put_blob(bytes).await }).await
    }

    async fn blob(&self, blob: BlobRef) -> Result<Option<Bytes>, Unavailable> {
        self.perform(Operation::Blob, |b| async move { b.blob(blob).await }).await
    }
}

impl<B: Snapshots> Snapshots for Faulty<B> {
    async fn put_snapshot(
        &self,
        partition: PartitionId,
        snapshot: Snapshot,
    ) -> Result<(), Unavailable> {
        let work = |b: B| async move { b.put_snapshot(partition, snapshot).await };
        self.perform(Operation::PutSnapshot, work).await
    }

    async fn snapshots(&self, partition: PartitionId) -> Result<Vec<Snapshot>, Unavailable> {
        self.perform(Operation::Snapshots, |b| async move { b.snapshots(partition).await }).await
    }
}

impl<B: Registry> Registry for Faulty<B> {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>, Unavailable> {
        let key = key.to_owned();
        self.perform(Operation::Get, |b| async move { b.get(bucket, &key).await }).await
    }

    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, PutError> {
        let key = key.to_owned();
        let work = |b: B| async move { b.put(bucket, &key, value, expected).await };
        self.perform(Operation::Put, work).await
    }

    async fn keys(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, Unavailable> {
        let prefix = prefix.to_owned();
        self.perform(Operation::Keys, |b| async move { b.keys(bucket, &prefix).await }).await
    }
}
