//! Dispatch loops written by hand, without skep: what the broker and the machine can do.
//!
//! Chains of steps, one or many at a time. One task is one message; an agent, in a process of its
//! own, answers with a result of the same size; the next task of a chain leaves once the result
//! before it is in a journal, which is a file. There is no retry, no lease, no JSON and no state
//! but a counter for each chain.
//!
//! Two of the loops are as lean as can be: the driver appends results to the journal in groups,
//! one append in flight. The third one is plain JetStream, as one would write it: the agent stores
//! each result for itself, and the driver reads them. See [`Way`] for what each guarantees.
//! `skep bench` holds skep against them, in the same run and over the same server.

mod agent;
mod driver;

pub use agent::perform;
pub use driver::{Chains, Played, clear, drive};

use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use bytes::Bytes;

/// By which way tasks reach the agent, and results the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Tasks and results are core messages; the driver appends results in groups.
    ///
    /// A task is lost with its agent, and a result with the driver until it is appended.
    Direct,
    /// A work queue in memory, from which the agent pulls; results are core messages, and the
    /// driver appends them in groups.
    ///
    /// The agent settles a task as soon as the result was sent, whoever heard it. So a result may
    /// be lost with the driver until it is appended, and its task is gone by then.
    Queue,
    /// The same queue; the agent appends each result as a message of its own, many of them in
    /// flight, and the driver reads them from the journal.
    ///
    /// The agent settles a task only after the journal acknowledged the result. So a result is
    /// stored before its task is gone: whoever dies, there is one or the other, or both. Nothing
    /// tells a result that came twice from two.
    Plain,
}

/// The names of one loop, made from a prefix.
#[derive(Debug, Clone)]
struct Names(String);

/// How long anything may stand still.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that wait for the server's word at a time: fewer than the client admits.
const IN_FLIGHT: usize = 4_096;
/// What a task says of itself before its payload: which chain it belongs to.
const HEAD: usize = size_of::<u32>();

impl Names {
    fn tasks(&self) -> String {
        format!("{}.tasks", self.0)
    }

    fn results(&self) -> String {
        format!("{}.results", self.0)
    }

    fn journal(&self) -> String {
        format!("{}.journal", self.0)
    }

    fn stream(&self, of: &str) -> String {
        format!("{}-{of}", self.0)
    }

    fn journal_stream(&self) -> Config {
        Config {
            name: self.stream("journal"),
            subjects: vec![self.journal()],
            storage: StorageType::File,
            allow_direct: false,
            ..Config::default()
        }
    }

    fn queue_stream(&self) -> Config {
        Config {
            name: self.stream("tasks"),
            subjects: vec![self.tasks()],
            storage: StorageType::Memory,
            retention: RetentionPolicy::WorkQueue,
            ..Config::default()
        }
    }
}

/// Why the loop ended before its time.
#[derive(Debug, thiserror::Error)]
#[error("the loop written by hand cannot {attempted}: {reason}")]
pub struct ByHandError {
    attempted: &'static str,
    reason: String,
}

fn failed(attempted: &'static str) -> impl Fn(&dyn std::error::Error) -> ByHandError {
    move |error| ByHandError { attempted, reason: crate::connect::chain(error) }
}

/// Returns the chain that a task or a result belongs to.
fn chain_of(message: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*message.first_chunk::<HEAD>()?))
}

fn message_of(chain: u32, payload: usize) -> Bytes {
    let mut message = Vec::with_capacity(HEAD + payload);
    message.extend_from_slice(&chain.to_le_bytes());
    message.resize(HEAD + payload, b'x');
    message.into()
}
