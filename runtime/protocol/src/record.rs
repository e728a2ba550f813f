//! The journal: records, and the messages that carry many of them.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{CodecError, decode};
use crate::event::Event;
use crate::ids::{CoordinatorId, Hash, RunId};
use crate::partition::PartitionId;
use crate::sealed::{Draft, read_as_written};
use crate::text::StoredText;
use crate::time::Timestamp;

/// The position of a message in a journal; the first one has 1, an empty journal ends at 0.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first message.
    pub const ZERO: Self = Self(0);

    /// Wraps a position.
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// Returns the position.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the next position.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One fact in a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A coordinator took the partition over.
    OwnerChanged(OwnerChanged),
    /// A definition that a run of this partition uses, so that the journal explains itself.
    WorkflowAdded(WorkflowAdded),
    /// Something happened to a run.
    Run(RunRecord),
}

/// See [`Record::OwnerChanged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerChanged {
    /// Rises by one with each take-over.
    pub epoch: u64,
    /// Who writes from here on.
    pub coordinator: CoordinatorId,
    /// When.
    pub at: Timestamp,
}

/// See [`Record::WorkflowAdded`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowAdded {
    /// The digest of the definition.
    pub digest: Hash,
    /// Its text.
    pub source: StoredText,
}

/// See [`Record::Run`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// One message of a journal: the records of a group commit, linked to the message before, and
/// sealed by a hash of all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The version of the format.
    pub v: u32,
    /// The partition, so that a message in the wrong stream is noticed.
    pub partition: PartitionId,
    /// The epoch of the coordinator that wrote it.
    pub epoch: u64,
    /// The hash of the bytes of the message before; [`Hash::ZERO`] for the first.
    pub previous: Hash,
    /// The facts, in order.
    pub records: Vec<Record>,
}

/// A message that cannot follow the one before it, so that the partition has to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The bytes are no batch: damaged, or written by a newer skep.
    #[error("message {seq} of the journal cannot be read")]
    Undecodable {
        /// Its position.
        seq: Seq,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// The format is newer than this program.
    #[error("message {seq} of the journal has format {found}, this skep reads up to {known}")]
    Version {
        /// Its position.
        seq: Seq,
        /// Its version.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// A message is missing or was changed.
    #[error("message {seq} of the journal follows {expected:?}, but the one before is {found:?}")]
    Broken {
        /// Its position.
        seq: Seq,
        /// The hash that it names.
        expected: Hash,
        /// The hash of what was read.
        found: Hash,
    },
    /// The message belongs to another partition.
    #[error("message {seq} belongs to the journal of partition {found}, not {expected}")]
    Foreign {
        /// Its position.
        seq: Seq,
        /// The partition being read.
        expected: PartitionId,
        /// The partition it names.
        found: PartitionId,
    },
    /// A position is missing.
    #[error("the journal jumps to message {found} where {expected} was due")]
    Hole {
        /// The position that was due.
        expected: Seq,
        /// The position that came.
        found: Seq,
    },
}

impl Batch {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = 1;

    /// Encodes the message.
    pub fn encode(&self) -> Bytes {
        let mut draft = Draft::new();
        self.records.iter().for_each(|record| draft.push(record));
        draft.finish(self.partition, self.epoch, self.previous)
    }

    /// Decodes a message, wherever it comes from; what it follows is not looked at.
    ///
    /// # Errors
    /// [`CodecError`] if the bytes are no batch, or not what was written.
    pub fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        read_as_written(bytes).map_or_else(|| decode(bytes), Ok)
    }

    /// Decodes message `seq` of `partition` and checks that it follows `previous`.
    ///
    /// # Errors
    /// Every variant of [`ChainError`] but `Hole`, which readers of positions find.
    pub fn decode(
        bytes: &[u8],
        seq: Seq,
        partition: PartitionId,
        previous: Hash,
    ) -> Result<Self, ChainError> {
        let batch = Self::read(bytes).map_err(|source| ChainError::Undecodable { seq, source })?;
        if batch.v > Self::VERSION {
            return Err(ChainError::Version { seq, found: batch.v, known: Self::VERSION });
        }
        if batch.partition != partition {
            let (expected, found) = (partition, batch.partition);
            return Err(ChainError::Foreign { seq, expected, found });
        }
        if batch.previous != previous {
            return Err(ChainError::Broken { seq, expected: batch.previous, found: previous });
        }
        Ok(batch)
    }
}
