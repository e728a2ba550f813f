//! The port through which coordinators and agents reach the world, and the in-process broker.
//!
//! The port speaks skep, not NATS: typed messages of `skep-protocol`, partitions, capabilities,
//! agents. This crate never decides anything about runs and never touches the network. Its contract
//! is a list of numbered **clauses** (C1, C2, …), written where the traits are; [`conformance`]
//! holds a test for each, and every implementation has to pass them all.
//!
//! Read [`Broker`] first: it names the parts. [`Embedded`] is the implementation that needs no
//! server: the pure machine of [`memory`] on the real clock. For tests there are [`faulty`], a
//! wrapper that fails by script, and [`differential`], which compares two brokers by random
//! operations.
//!
//! Dropping a future of the port before it is done leaves open whether what it asked for happens,
//! unless its documentation says more; it never disturbs anybody else.

mod blobs;
pub mod conformance;
pub mod differential;
mod directory;
mod embedded;
mod error;
pub mod faulty;
pub mod host;
mod journal;
pub mod memory;
mod reports;
mod requests;
mod tasks;

pub use blobs::{Blobs, Snapshot, Snapshots};
pub use directory::{
    Bucket, COORDINATORS_KEPT, Entry, Presence, PutError, Registry, Revision, is_key,
};
pub use embedded::Embedded;
pub use error::{PutBlobError, RequestError, Unavailable};
pub use journal::{AppendError, Journal, JournalMessage, JournalReader, ReadError};
pub use reports::{DurableReport, Late, Reports};
pub use requests::{Commands, Direct, Queries, Request, Requests, Responder};
pub use tasks::{Delivered, Hold, QueueDepth, Settle, Tasks};

/// Everything a coordinator needs of the world. Agents need [`AgentBroker`] only.
pub trait Broker: AgentBroker + Journal + Queries + Commands + Registry + Snapshots {}

impl<T> Broker for T where T: AgentBroker + Journal + Queries + Commands + Registry + Snapshots {}

/// What an agent needs of the world.
pub trait AgentBroker:
    Tasks + Direct + Reports + Presence + Blobs + Clone + Send + Sync + 'static
{
}

impl<T> AgentBroker for T where
    T: Tasks + Direct + Reports + Presence + Blobs + Clone + Send + Sync + 'static
{
}
