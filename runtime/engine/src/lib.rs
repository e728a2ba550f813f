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
//! [`Input`] and gives the records to append. Which coordinator serves which partition is decided
//! in [`placement`].
//!
//! ```
//! use skep_engine::{Effect, Input, Partition, Resolved};
//! use skep_protocol::{Hash, PartitionId, Payload, RunId, StartRun, Timestamp};
//!
//! let file = b"name: hello\nsteps:\n  greet: { agent: greeter, with: { whom: world } }\n";
//! let workflow = skep_workflow::read(file, "hello.skep.yaml")?;
//! let digest = Hash::from_bytes(*workflow.digest().as_bytes());
//! let start = StartRun {
//!     run: RunId::from_key("hello", "1"),
//!     workflow: "hello".to_owned(),
//!     inputs: Payload::from_text("{}")?,
//!     parent: None,
//!     depth: 0,
//!     labels: Default::default(),
//! };
//! let resolved = Resolved { digest, workflow: Some(workflow), pinned: Default::default() };
//!
//! let mut partition = Partition::new(PartitionId::new(0));
//! let input = Input::Start { start: Box::new(start), workflow: resolved };
//! let handled = partition.handle(input, Timestamp::from_millis(1_700_000_000_000))?;
//! // The definition, the start of the run, the first attempt of `greet`: to be appended. Once
//! // they are durable, the task of that attempt is owed to an agent.
//! assert_eq!(handled.records.len(), 3);
//! assert!(matches!(partition.outstanding()[..], [Effect::OfferTask(_)]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attempts;
mod decide;
mod desk;
mod effect;
mod error;
pub mod fleet;
mod frontier;
mod input;
mod invariant;
mod larder;
mod partition;
mod past;
pub mod placement;
mod plan;
pub mod planted;
mod rare;
mod recall;
mod render;
mod retry;
mod run;
mod size;
mod wake;

pub use effect::{Change, Effect, EffectKey, OfferTask, Round, TaskSpec, Terms};
pub use error::{FoldError, RestoreError};
pub use input::{Handled, Input, Reply, Resolved};
pub use invariant::{Audit, Violation};
pub use partition::{Frozen, Partition};
pub use past::{Again, CannotRetry, Past};
pub use rare::{Blank, Rare};
pub use recall::{NoRecall, Recall};
pub use wake::{Wake, WakeReason};
