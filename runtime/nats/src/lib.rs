//! The port over NATS JetStream, the production broker: server 2.12 or newer, single or clustered.
//!
//! This crate maps the clauses of `skep-broker` to what NATS does and adds nothing of its own: no
//! consensus, no replication, no storage, and no decision about runs. What a server forgets when it
//! restarts (the queue lane, subscriptions) is made again by whoever needs it next.
//!
//! Read [`Nats`] first: it implements every trait of the port. [`ConnectOptions`] tells how it gets
//! there, [`server`] finds, fetches and starts a nats-server for `skep dev` and for tests.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use skep_nats::{ConnectOptions, Nats};
//! use skep_protocol::PartitionCount;
//!
//! let nats = Nats::connect(ConnectOptions::url("nats://localhost:4222")).await?;
//! nats.ensure_layout(PartitionCount::DEFAULT).await?;
//! # Ok(())
//! # }
//! ```

mod ask;
mod blobs;
pub mod by_hand;
mod chunks;
mod connect;
mod ensure;
mod groups;
mod inspect;
mod intake;
mod journal;
mod layout;
mod link;
mod mux;
mod namespace;
mod nats;
mod onlookers;
mod options;
mod parts;
mod ping;
mod presence;
mod registry;
mod reports;
mod requests;
pub mod server;
mod settings;
mod shared;
mod snapshots;
mod tail;
mod tasks;
mod version;

pub use connect::ConnectError;
pub use ensure::LayoutError;
pub use inspect::{Inspection, StreamView, SyncPolicy};
pub use namespace::{Namespace, NamespaceError};
pub use nats::Nats;
pub use options::{ConnectOptions, ContextError, Credentials, Tls};
pub use version::{OLDEST_SUPPORTED, Version};
