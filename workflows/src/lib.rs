//! The definition language of skep: text in, a checked workflow out.
//!
//! [`read`] takes the bytes of a definition file and gives a [`Workflow`] that is valid by
//! construction, or every problem of the file at once as [`Rejected`]. Read [`Workflow`] first,
//! then [`Step`] and [`Expression`].
//!
//! This crate is pure. It never opens a file, never reads a clock, never starts anything, and
//! nothing that a file or a payload says makes it panic, hang or use memory without bound.
//!
//! ```
//! let file = b"name: hello\nsteps:\n  greet: { agent: greeter, with: { whom: world } }\n";
//! let workflow = skep_workflow::read(file, "hello.skep.yaml").expect("the file is valid");
//! assert_eq!(workflow.name(), "hello");
//! assert_eq!(workflow.steps().len(), 1);
//! ```

mod check;
mod definition;
mod diagnostic;
mod digest;
mod expression;
pub mod graph;
mod inputs;
mod limits;
mod name;
mod parse;
mod policy;
pub mod schema;
mod suggest;
mod workflow;

pub use check::read;
pub use diagnostic::{Code, Diagnostic, Rejected, Severity, Span, Style};
pub use digest::Digest;
pub use expression::{
    Condition, EvaluationError, Expression, Reference, Scope, StepPart, Template,
};
pub use inputs::{Input, InputProblem, Inputs};
pub use name::Name;
pub use policy::{
    Backoff, Breaker, Jitter, Join, Labels, OnFailure, OnTimeout, RetryPolicy, Share,
    StepOnFailure, Strategy, Supervision, Tolerate, WhenOpen,
};
pub use schema::{Schema, Violation};
pub use workflow::{ForEach, Remedy, Step, StepIndex, StepKind, WaitFor, Workflow};
