//! A broker in the process that fails in ways of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use skep_broker::*;
use skep_protocol::{
    AgentId, BlobRef, Command, CommandReply, Control, Delivery, Heartbeat, PartitionId, Query,
    QueryReply, ReportBatch, ReportReply, Seq, Task, TaskBatch,
};

/// What is asked of a broker.
pub(crate) enum Call<'a> {
    Append(PartitionId),
    Last(PartitionId),
    Command(&'a Command),
    IsConnected,
}

/// Looks at a call before it is made: what is asked of a journal may fail, and
/// anything may panic.
type Hook = Arc<dyn Fn(Call<'_>) -> Option<AppendError> + Send + Sync>;

/// A broker that fails in ways of its own.
#[derive(Clone)]
pub(crate) struct Flaky {
    inner: Embedded,
    pub(crate) appends: Arc<AtomicU32>,
    loses_answers: bool,
    hook: Hook,
}

impl Flaky {
    /// Its appends often get no answer: some were stored all the same, some were not, and some are
    /// stored later, when nobody expects them any more.
    pub(crate) fn losing_answers(inner: Embedded) -> Self {
        Self { loses_answers: true, ..Self::hooked(inner, |_| None) }
    }

    /// It does what `hook` says.
    pub(crate) fn hooked(
        inner: Embedded,
        hook: impl Fn(Call<'_>) -> Option<AppendError> + Send + Sync + 'static,
    ) -> Self {
        let (appends, hook) = (Arc::new(AtomicU32::new(0)), Arc::new(hook));
        Self { inner, appends, loses_answers: false, hook }
    }
}

impl Journal for Flaky {
    async fn append(
        &self,
        partition: PartitionId,
        expected: Seq,
        message: bytes::Bytes,
    ) -> Result<Seq, AppendError> {
        let unknown = || AppendError::Unknown { reason: "lost on the way".to_owned() };
        if let Some(error) = (self.hook)(Call::Append(partition)) {
            return Err(error);
        }
        match self.appends.fetch_add(1, Ordering::Relaxed) % 4 {
            _ if !self.loses_answers => self.inner.append(partition, expected, message).await,
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
        if let Some(error) = (self.hook)(Call::Last(partition)) {
            let (attempted, reason) = ("read the end of a journal", error.to_string());
            return Err(Unavailable { attempted, reason });
        }
        self.inner.last(partition).await
    }

    async fn age(&self, partition: PartitionId) -> Result<Duration, Unavailable> {
        self.inner.age(partition).await
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

impl Commands for Flaky {
    async fn command(
        &self,
        partition: PartitionId,
        command: Command,
    ) -> Result<CommandReply, RequestError> {
        (self.hook)(Call::Command(&command));
        self.inner.command(partition, command).await
    }

    async fn serve_commands(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<Command, CommandReply>, Unavailable> {
        self.inner.serve_commands(partition).await
    }
}

hand_on!(Queries {
    fn query(&self, query: Query) -> Result<QueryReply, RequestError>;
    fn serve_queries(&self) -> Result<Requests<Query, QueryReply>, Unavailable>;
});
hand_on!(Direct {
    fn deliver(&self, agent: &AgentId, tasks: &TaskBatch) -> Result<Delivery, RequestError>;
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
        (self.hook)(Call::IsConnected).is_none() && self.inner.is_connected()
    }
}
