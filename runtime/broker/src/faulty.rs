//! A broker that fails when it is told to: for tests of those who use the port.
//!
//! [`Faulty`] wraps a broker. A test scripts what goes wrong through its [`Script`]: nothing is
//! random and nothing depends on time, so that a failing test fails again.
//!
//! ```
//! use skep_broker::faulty::{Fault, Faulty, Operation};
//! use skep_broker::{AppendError, Embedded, Journal};
//! use skep_protocol::{PartitionId, Seq};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (broker, script) = Faulty::new(Embedded::new());
//! script.next(Operation::Append, Fault::LoseAnswer);
//! let partition = PartitionId::new(0);
//! let appended = broker.append(partition, Seq::ZERO, "stored all the same".into()).await;
//! assert!(matches!(appended, Err(AppendError::Unknown { .. })));
//! assert_eq!(broker.last(partition).await?.map(|last| last.seq), Some(Seq::new(1)));
//! # Ok(())
//! # }
//! ```

mod port;
mod script;

use std::sync::Arc;

pub use self::script::Script;

/// What can go wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It reaches the broker never; the caller sees that the broker cannot be reached, or does not
    /// know (an append, a request).
    Lose,
    /// It is done, and the caller sees what it sees with [`Lose`](Self::Lose).
    LoseAnswer,
    /// The caller sees what it sees with [`Lose`](Self::Lose), and it is done when the test calls
    /// [`Script::release`]: a ghost.
    DoLater,
    /// It waits, and is done when the test calls [`Script::release`].
    Hold,
    /// It is done, and the caller sees the answer when the test calls [`Script::release`].
    HoldAnswer,
    /// It is refused: an append and a write of a fact as a conflict, a request for lack of
    /// responders, anything else as with [`Lose`](Self::Lose). Nothing is done.
    Refuse,
}

/// The operations of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`Journal::append`](crate::Journal::append).
    Append,
    /// [`Journal::last`](crate::Journal::last).
    Last,
    /// [`Journal::age`](crate::Journal::age).
    Age,
    /// [`Journal::follow`](crate::Journal::follow).
    Follow,
    /// [`Journal::trim`](crate::Journal::trim).
    Trim,
    /// [`Tasks::offer`](crate::Tasks::offer).
    Offer,
    /// [`Tasks::pull`](crate::Tasks::pull).
    Pull,
    /// [`Delivered::settle`](crate::Delivered::settle).
    Settle,
    /// [`Tasks::depth`](crate::Tasks::depth).
    Depth,
    /// [`Tasks::clear`](crate::Tasks::clear).
    Clear,
    /// [`Commands::command`](crate::Commands::command).
    Command,
    /// [`Queries::query`](crate::Queries::query).
    Query,
    /// [`Direct::deliver`](crate::Direct::deliver).
    Deliver,
    /// [`Direct::control`](crate::Direct::control).
    Control,
    /// [`Reports::report`](crate::Reports::report).
    Report,
    /// [`Reports::report_durably`](crate::Reports::report_durably).
    ReportDurably,
    /// [`DurableReport::confirm`](crate::DurableReport::confirm).
    Confirm,
    /// Reading what comes next of [`Reports::durable_reports`](crate::Reports::durable_reports);
    /// it can be held and nothing else.
    ReadLate,
    /// [`Presence::beat`](crate::Presence::beat).
    Beat,
    /// [`Blobs::put_blob`](crate::Blobs::put_blob).
    PutBlob,
    /// [`Blobs::blob`](crate::Blobs::blob).
    Blob,
    /// [`Snapshots::put_snapshot`](crate::Snapshots::put_snapshot).
    PutSnapshot,
    /// [`Snapshots::snapshots`](crate::Snapshots::snapshots).
    Snapshots,
    /// [`Registry::get`](crate::Registry::get).
    Get,
    /// [`Registry::put`](crate::Registry::put).
    Put,
    /// [`Registry::keys`](crate::Registry::keys).
    Keys,
    /// Beginning to listen to anything, or to read durable reports.
    Listen,
}

/// A broker that fails as its [`Script`] says.
#[derive(Debug, Clone)]
pub struct Faulty<B> {
    inner: B,
    script: Arc<Script>,
}

impl<B> Faulty<B> {
    /// Wraps a broker; nothing fails until the script says so. Clones share the script.
    pub fn new(inner: B) -> (Self, Arc<Script>) {
        let script = Arc::new(Script::new());
        (Self { inner, script: Arc::clone(&script) }, script)
    }

    /// Wraps another handle, to be failed by the same script.
    pub fn with_script(inner: B, script: Arc<Script>) -> Self {
        Self { inner, script }
    }
}
