//! The async shell that drives runs: it moves bytes between the engine and the world.
//!
//! A [`Coordinator`] is generic over the port ([`skep_broker::Broker`]). It owns partitions, feeds
//! what happens into the engine, appends the records that follow as group commits, and performs
//! effects once they are durable. It never decides anything about a run, and it never lets an
//! effect or an answer out before its event is in the journal.
//!
//! Read [`Coordinator::start`] first, then `partition/serve.rs`: the loop that owns a partition.
//!
//! ```
//! use skep_broker::{Commands, Embedded};
//! use skep_coordinator::{Config, Coordinator};
//! use skep_protocol::{Command, CommandReply, PartitionId, RegisterWorkflow};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Embedded::new();
//! let coordinator = Coordinator::start(broker.clone(), Config::embedded()).await?;
//! coordinator.serving().await;
//! let register = Command::Register(RegisterWorkflow {
//!     source: "name: hello\nsteps:\n  greet: { agent: greeter }\n".into(),
//!     file: "hello.skep.yaml".into(),
//!     publish: true,
//! });
//! let reply = broker.command(PartitionId::new(0), register).await?;
//! assert!(matches!(reply, CommandReply::Registered { name, .. } if name == "hello"));
//! coordinator.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod catalog;
mod chain;
mod clock;
mod config;
mod coordinator;
mod fleet_loop;
mod members;
mod observe;
mod ownership;
mod partition;
mod queries;
mod read_model;
mod room;
mod settings;
mod untouched;

pub use catalog::definition;
pub use config::{Config, ReadModelAt, Retention};
pub use coordinator::{Coordinator, Handle, StartError};
pub use settings::{SettingsError, partitions};
