//! The in-process broker: the memory machine on the real clock.
//!
//! Each part of the machine has a lock of its own, held for one operation, never across an `await`
//! and never while a waker runs or a message is dropped. Typed messages are handed over as they
//! are, without being encoded. A waiter that nothing has changed for is not woken.

mod directory;
mod journal;
mod part;
mod reports;
mod requests;
mod stores;
mod tasks;

use std::sync::Arc;

use skep_protocol::{
    AgentId, Command, CommandReply, Control, Delivery, Heartbeat, PartitionId, Query, QueryReply,
    ReportBatch, ReportReply, TaskBatch, Timestamp,
};
use tokio::time::Instant;

use self::part::Part;
use crate::memory::{
    BlobStore, Broadcast, DurableReports, Journals, Mailboxes, Memory, Queues, Registers, Settings,
    SnapshotStore,
};

/// The in-process broker. Cloning it gives another handle to the same one.
///
/// ```
/// use skep_broker::{Embedded, Journal};
/// use skep_protocol::{PartitionId, Seq};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (broker, partition) = (Embedded::new(), PartitionId::new(0));
/// let seq = broker.append(partition, Seq::ZERO, "one".into()).await?;
/// assert!(broker.append(partition, Seq::ZERO, "two".into()).await.is_err());
/// assert_eq!(broker.clone().last(partition).await?.map(|message| message.seq), Some(seq));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Embedded {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    settings: Settings,
    started: Instant,
    journals: Arc<Part<Journals>>,
    queues: Arc<Part<Queues>>,
    commands: Arc<Part<Mailboxes<PartitionId, Command, CommandReply>>>,
    reports: Arc<Part<Mailboxes<PartitionId, ReportBatch, ReportReply>>>,
    deliveries: Arc<Part<Mailboxes<AgentId, TaskBatch, Delivery>>>,
    queries: Arc<Part<Mailboxes<(), Query, QueryReply>>>,
    beats: Arc<Part<Broadcast<(), Heartbeat>>>,
    controls: Arc<Part<Broadcast<AgentId, Control>>>,
    durable: Arc<Part<DurableReports>>,
    blobs: Part<BlobStore>,
    snapshots: Part<SnapshotStore>,
    registers: Part<Registers>,
}

impl Embedded {
    /// Creates an empty broker. It starts no threads and needs no runtime before it is used.
    pub fn new() -> Self {
        Self::with_settings(Settings::default())
    }

    /// Creates an empty broker with other bounds than the default ones.
    pub fn with_settings(settings: Settings) -> Self {
        let memory = Memory::new(settings);
        let parts = Parts {
            settings: memory.settings,
            started: Instant::now(),
            journals: Part::shared(memory.journals),
            queues: Part::shared(memory.queues),
            commands: Part::shared(memory.commands),
            reports: Part::shared(memory.reports),
            deliveries: Part::shared(memory.deliveries),
            queries: Part::shared(memory.queries),
            beats: Part::shared(memory.beats),
            controls: Part::shared(memory.controls),
            durable: Part::shared(memory.durable),
            blobs: Part::new(memory.blobs),
            snapshots: Part::new(memory.snapshots),
            registers: Part::new(memory.registers),
        };
        Self { parts: Arc::new(parts) }
    }

    /// Forgets what a broker may forget when it restarts: the queues of tasks.
    pub fn forget_volatile(&self) {
        self.parts.queues.with(|queues, _| queues.lose());
    }
}

impl Default for Embedded {
    fn default() -> Self {
        Self::new()
    }
}

impl Parts {
    /// Returns the time since the broker was created: the machine needs no more than that.
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH.after(self.started.elapsed())
    }

    fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(Timestamp::EPOCH)
    }
}
