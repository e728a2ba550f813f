//! The semantics of the port as a pure machine: what a broker keeps, and what it answers.
//!
//! [`Memory`] is made of parts, one for each kind of thing that a broker keeps. A part has no
//! clock, no threads and no runtime: operations take `&mut self` and, where it matters, `now`, and
//! return values. Nothing in here depends on the order of a hash table.
//!
//! **Waiting** is a value too. Whoever may have to wait (a reader of a journal, a listener, an
//! asker, a puller) is a [`Waiter`]. It asks for what it wants; if there is nothing yet, the part
//! remembers it, and the operation that changes this names it in [`Ready`]. A shell turns the name
//! into a wake-up: [`Embedded`](crate::Embedded) into that of a task, a simulator into an event of
//! its own schedule. A waiter that was named and finds nothing is remembered again: names are
//! hints, so that a simulator may also delay them, repeat them or wake everybody.
//!
//! **Lost wake-ups** are what such a design has to fear. Two rules prevent them: a waiter is put
//! down as waiting by the very operation that found nothing, and whoever stops waiting hands its
//! turn on (`Queues::leave`). One task names one puller, which names the next when it has pulled,
//! so that a thousand idle pullers cost nothing.
//!
//! **Memory** is bounded by [`Settings`]: queues, requests, heartbeats, durable reports and blobs
//! refuse or lose what is too much. A journal is as long as its owner lets it be: it is trimmed
//! behind the last snapshots.
//!
//! **A simulator** holds a [`Memory`] and implements the port over it. What a network does to a
//! message (delay, loss, repetition) it does between a call of the port and the operation, or
//! between the operation and its answer; a ghost is an `append` that is performed later; a broker
//! that restarts calls [`Queues::lose`]; a process that is killed has its waiters closed.
//!
//! **Time** passes only in [`Queues`]: `next_wake` tells when something changes by itself. Time
//! limits of requests belong to the shell, which calls `give_up`.

mod blobs;
mod broadcast;
mod durable;
mod journal;
mod mailbox;
mod queue;
mod registry;
mod size;
mod snapshots;
mod waiter;

use std::time::Duration;

use skep_protocol::{
    AgentId, Command, CommandReply, Control, Delivery, Heartbeat, PartitionId, Query, QueryReply,
    ReportBatch, ReportReply, TaskBatch,
};

pub use blobs::{BlobStore, Full};
pub use broadcast::Broadcast;
pub use durable::{DurableReports, Kept, Read};
pub use journal::{Journals, Overtaken};
pub use mailbox::{AskRefused, Deserted, Mailboxes, Spread};
pub use queue::{Pulled, QueueFull, Queues, Ticket};
pub use registry::{PutRefused, Registers};
pub use size::Weigh;
pub use snapshots::SnapshotStore;
pub use waiter::{Ready, Waiter};

/// The bounds of a broker in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Largest message, in bytes; the default is that of a NATS server.
    pub max_message: usize,
    /// How long a pulled task may stay silent before it comes again.
    pub ack_wait: Duration,
    /// How long an asker waits for an answer.
    pub request_timeout: Duration,
    /// Tasks that one queue holds.
    pub max_queued: usize,
    /// For how long the same sending of the same attempt is recognised.
    pub dedup_window: Duration,
    /// Requests that wait for one listener.
    pub max_asked: usize,
    /// Heartbeats, or controls, that wait for one slow listener before it loses the oldest.
    pub max_unheard: usize,
    /// Batches of durable reports that one partition keeps.
    pub max_durable: usize,
    /// Bytes of all blobs.
    pub max_blob_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message: 1024 * 1024,
            ack_wait: Duration::from_secs(30),
            request_timeout: Duration::from_secs(15),
            max_queued: 100_000,
            dedup_window: Duration::from_secs(120),
            max_asked: 16_384,
            max_unheard: 16_384,
            max_durable: 100_000,
            max_blob_bytes: 4 * 1024 * 1024 * 1024,
        }
    }
}

/// A broker in memory.
///
/// The parts do not know of each other, so a shell may guard each by a lock of its own.
#[derive(Debug)]
pub struct Memory {
    /// The bounds.
    pub settings: Settings,
    /// The journal of each partition.
    pub journals: Journals,
    /// The queue of each capability.
    pub queues: Queues,
    /// Commands to the owners of partitions.
    pub commands: Mailboxes<PartitionId, Command, CommandReply>,
    /// Reports to the owners of partitions.
    pub reports: Mailboxes<PartitionId, ReportBatch, ReportReply>,
    /// Tasks sent to agents.
    pub deliveries: Mailboxes<AgentId, TaskBatch, Delivery>,
    /// Questions to any coordinator.
    pub queries: Mailboxes<(), Query, QueryReply>,
    /// Heartbeats.
    pub beats: Broadcast<(), Heartbeat>,
    /// What agents are told.
    pub controls: Broadcast<AgentId, Control>,
    /// Reports left for the next owner of a partition.
    pub durable: DurableReports,
    /// Large values.
    pub blobs: BlobStore,
    /// Snapshots of partitions.
    pub snapshots: SnapshotStore,
    /// Small facts.
    pub registers: Registers,
}

impl Memory {
    /// Creates an empty broker.
    pub fn new(settings: Settings) -> Self {
        Self {
            journals: Journals::new(settings.max_message),
            queues: Queues::new(&settings),
            commands: Mailboxes::new(Spread::Newest, settings.max_asked),
            reports: Mailboxes::new(Spread::Newest, settings.max_asked),
            deliveries: Mailboxes::new(Spread::Newest, settings.max_asked),
            queries: Mailboxes::new(Spread::Turns, settings.max_asked),
            beats: Broadcast::new(settings.max_unheard),
            controls: Broadcast::new(settings.max_unheard),
            durable: DurableReports::new(settings.max_durable),
            blobs: BlobStore::new(settings.max_blob_bytes),
            snapshots: SnapshotStore::default(),
            registers: Registers::default(),
            settings,
        }
    }
}
