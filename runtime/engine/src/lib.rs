//! The pure core of skep: it decides, applies and owes effects; it never does them.
//!
//! Nothing in here reads a clock, does I/O, draws a random number, starts a thread or depends on
//! the order of a hash map: `now` and every id come in as arguments. Four laws:
//!
//! 1. deciding looks at the state and never changes it;
//! 2. applying a record changes the state and never decides;
//! 3. what the world is owed ([`Effect`]) follows from the state alone;
//! 4. so does when time matters next ([`Wake`]).
//!
//! Read [`Partition`] first: it is the fold of one journal. [`Partition::handle`] takes an
//! [`Input`] and gives the records to append.

mod decide;
mod depth;
mod desk;
mod effect;
mod error;
pub mod fleet;
mod frontier;
mod input;
mod invariant;
mod larder;
mod partition;
mod plan;
mod render;
mod retry;
mod run;
mod wake;

pub use effect::{Change, Effect, EffectKey, OfferTask};
pub use error::{FoldError, RestoreError};
pub use input::{Handled, Input, Reply, Resolved};
pub use invariant::{Audit, Violation};
pub use partition::Partition;
pub use wake::{Wake, WakeReason};
