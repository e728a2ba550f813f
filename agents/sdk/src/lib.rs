//! The agent SDK of skep: an async function becomes an agent that performs steps of workflows.
//!
//! ```
//! use serde_json::json;
//! use skep_agent::{Agent, Result};
//!
//! async fn greet(name: String) -> Result<String> {
//!     Ok(format!("Hello, {name}!"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let agent = Agent::builder("greeter").serve("greet", greet).build()?;
//! assert_eq!(agent.perform("greet", json!("Ada")).await?, json!("Hello, Ada!"));
//! # Ok(())
//! # }
//! ```
//!
//! [`Agent::perform`] needs no server: it dispatches one task as a coordinator does, for tests of
//! handlers. To join a cluster call `run(agent)` instead, which finds NATS by `SKEP_NATS_URL`; or
//! [`Agent::run`] with any broker. Steps reach the handler with `agent: greet` in a definition.
//!
//! The SDK takes care of leases, heartbeats, time limits, cancellation, large payloads, reports
//! that survive outages of the coordinator, and an orderly end. It never decides whether a step is
//! tried again (the coordinator does), and it never promises that a handler runs once: see
//! [`Context`] for the idempotency key and the fencing token.
//!
//! Read [`Agent`] first, then [`Context`] and [`Failure`].

mod agent;
mod answers;
mod attempt;
mod backoff;
mod clock;
mod context;
mod drain;
mod failure;
mod handler;
mod handlers;
mod lease;
mod listen;
#[cfg(feature = "nats")]
mod nats;
mod news;
mod outbox;
mod payloads;
mod perform;
mod queue;
mod table;
mod worker;

pub use agent::{Agent, AgentBuilder, BuildError, RunError};
pub use context::Context;
pub use drain::terminated;
pub use failure::{Failure, Result};
pub use handler::Handler;
#[cfg(feature = "nats")]
pub use nats::{JoinError, JoinedAgent, run};
#[cfg(feature = "nats")]
pub use skep_nats::{ConnectError, ConnectOptions};
pub use skep_protocol::{AgentId, AttemptId, FailureKind, Lane, RunId, StepPath, Timestamp};
