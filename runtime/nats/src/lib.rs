//! The port over NATS JetStream.
//!
//! [`server`] finds, fetches and starts a nats-server for `skep dev` and for tests.

pub mod server;
mod version;

pub use version::{OLDEST_SUPPORTED, Version};
