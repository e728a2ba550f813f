//! A simulated world for workflows: real coordinators and agents, and everything that goes wrong
//! around them, from one seed.
//!
//! It is for those who write workflows and handlers as much as for skep's own tests: run your own
//! definition under faults, fail each of its steps in turn, repeat every attempt, cut the journal
//! anywhere and resume. Nothing takes real time, nothing leaves the process, and a seed that fails
//! fails again.
//!
//! It never mocks what it tests: the coordinators and the agents are those that run in production.
//! What is simulated is the world: the broker, the network, clocks, crashes.
//!
//! Read [`Simulation`] first, then [`Fault`].
//!
//! ```
//! use serde_json::json;
//! use skep_agent::Result;
//! use skep_testkit::Simulation;
//!
//! async fn greet(name: String) -> Result<String> {
//!     Ok(format!("Hello, {name}!"))
//! }
//!
//! # fn main() -> Result<(), skep_testkit::Failed> {
//! let definition = "
//! name: hello
//! steps:
//!   greet: { agent: greeter, with: world, retry: { attempts: 5 } }
//! ";
//! for seed in 0..3 {
//!     let simulation =
//!         Simulation::new(seed).workflow(definition).agent("greeter", greet).start(
//!             "hello",
//!             "1",
//!             json!({}),
//!         );
//!     let outcome = simulation.run()?;
//!     assert_eq!(outcome.runs.len(), 1);
//! }
//! # Ok(())
//! # }
//! ```

mod chance;
mod clients;
mod director;
mod faults;
mod host;
mod link;
mod network;
mod scene;
mod simulation;
mod trials;
mod watched;
mod witness;
mod world;

pub use chance::Chance;
pub use faults::{Fault, Faults};
pub use simulation::{Failed, Outcome, Simulation};
pub use skep_engine::Violation;
#[cfg(feature = "planted-bugs")]
pub use skep_engine::planted;
