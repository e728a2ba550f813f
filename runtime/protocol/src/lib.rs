//! Everything that skep stores or sends, as types: ids, events, tasks, reports, commands, payloads.
//!
//! This crate never does I/O, never reads a clock and never mints an id. Both the coordinator and
//! the agent SDK depend on it, so it stays small: no YAML, no expression language, no NATS.
//!
//! Stored formats are versioned JSON. Changes are additive; enums are externally tagged, because
//! only that representation lets a [`Payload`] pass through without being parsed again.
//!
//! Read [`Record`] first: it is what a journal holds. Then [`Task`] and [`Report`], which travel
//! between coordinators and agents, and [`Command`], which comes from users.
//!
//! ```
//! use skep_protocol::{AttemptId, PartitionCount, RunId, StepPath};
//!
//! let run: RunId = "0192d3a4-1b2c-7def-8123-456789abcdef".parse()?;
//! let attempt = AttemptId { run, step: StepPath::new("review[2]"), attempt: 1 };
//! assert_eq!(attempt.to_string(), "0192d3a4-1b2c-7def-8123-456789abcdef/review[2]/1");
//! assert!(PartitionCount::DEFAULT.of(run).get() < 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agent;
mod board;
mod codec;
mod command;
mod event;
mod failure;
mod flaw;
mod ids;
mod letter;
pub mod limits;
mod member;
mod order;
mod partition;
mod payload;
mod query;
mod record;
mod report;
mod sealed;
mod task;
mod text;
mod time;
mod view;
mod waiting;

pub use agent::{Control, Heartbeat, Held, Lane, Offer, Progress, Ration, RollCall};
pub use board::{Board, BreakerPhase, BreakerRecord, QuarantineRecord};
pub use codec::{Answer, CodecError, Misread, Versioned, decode, decode_known, encode};
pub use command::{
    ChildOutcome, Command, CommandReply, RegisterWorkflow, Rejection, RetryRun, Signal, StartRun,
};
pub use event::{
    AttemptCompleted, AttemptFailed, AttemptScheduled, CancelReason, ChildStarted, Event,
    IgnoreReason, Parent, ReportIgnored, RetryOf, RunStarted, SkipReason, StepExpanded, StepKept,
    WaitStarted, WaitingFor,
};
pub use failure::{Failure, FailureKind};
pub use flaw::{flaw, unbearable, unsound};
pub use ids::{AgentId, AttemptId, CoordinatorId, Hash, IdError, RunId, SignalId, StepPath};
pub use letter::{DeadLetter, Dropped, LetterFilter};
pub use member::{Member, MemberPhase};
pub use order::Order;
pub use partition::{PartitionCount, PartitionId, fnv1a32};
pub use payload::{BlobRef, Payload, is_within_depth};
pub use query::{
    AttemptView, HistoryEntry, Query, QueryReply, RunDetail, RunFilter, RunStatus, RunSummary,
    StepStatus, StepView,
};
pub use record::{Batch, ChainError, OwnerChanged, Record, RunRecord, Seq, WorkflowAdded};
pub use report::{Outcome, Report, ReportBatch, ReportBody, ReportReply, Verdict};
pub use sealed::{Draft, Texts};
pub use task::{Delivery, Refusal, Task, TaskBatch};
pub use text::StoredText;
pub use time::Timestamp;
pub use view::{
    AgentHealth, AgentStanding, AgentView, BreakerShare, BreakerView, ClusterAgents,
    ClusterBreakers, HealthShare,
};
pub use waiting::{PausedView, WaitingCause, WaitingView};
