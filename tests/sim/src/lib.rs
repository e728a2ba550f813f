//! Random workflows under random faults: what `cargo xtask sim` runs.
//!
//! A seed says everything: which workflows there are, what their handlers do, what goes wrong. This
//! crate never checks anything itself; that is the business of [`skep_testkit`].
//!
//! Read [`simulation`] first.

mod points;
mod workload;

pub use points::POINTS;
pub use workload::simulation;
