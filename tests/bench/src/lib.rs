//! What is measured of the pure parts: reading a definition, templates, what is stored and sent,
//! decisions, recovery.
//!
//! It never reads a clock: that is done by `benches/micro`, which `cargo xtask bench` runs. Read
//! [`Case`] first; [`cases`] returns all of them.

mod case;
mod fleet;
mod journal;
mod messages;
mod partition;
mod samples;
mod workflow;

pub use case::{Case, Work, cases};
