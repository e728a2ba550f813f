//! What is told to the thread of the read model.

use bytes::Bytes;
use skep_protocol::{Batch, CodecError, PartitionId, Record, RunId, Seq, Texts};

use super::repair::Gap;

/// What the follower of a journal has to tell.
#[derive(Debug)]
pub(super) enum Entry {
    Message(Message),
    Gap(Gap),
}

/// The records of one message, with the JSON of each.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) partition: PartitionId,
    pub(super) seq: Seq,
    pub(super) records: Vec<Record>,
    pub(super) texts: Texts,
}

impl Entry {
    /// Returns how far the journal was read with this.
    pub(super) fn reached(&self) -> (PartitionId, Seq) {
        match self {
            Self::Message(message) => (message.partition, message.seq),
            Self::Gap(gap) => (gap.partition, gap.last()),
        }
    }
}

impl Message {
    /// Reads message `seq` of a journal.
    pub(super) fn decode(
        partition: PartitionId,
        seq: Seq,
        bytes: Bytes,
    ) -> Result<Self, DecodeError> {
        let batch = Batch::read(&bytes)?;
        if batch.v > Batch::VERSION {
            return Err(DecodeError::Version(batch.v));
        }
        // The seal was checked: these are the same bytes. They are kept for a while, and may be a
        // part of something larger that would be kept with them.
        let texts = Texts::find(Bytes::copy_from_slice(&bytes))?;
        Ok(Self { partition, seq, records: batch.records, texts })
    }
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error(transparent)]
    Damaged(#[from] CodecError),
    #[error("format {0} is not known")]
    Version(u32),
}

/// Returns the run that a record is about.
pub(super) const fn run_of(record: &Record) -> Option<RunId> {
    match record {
        Record::Run(record) => Some(record.run),
        Record::OwnerChanged(_) | Record::WorkflowAdded(_) => None,
    }
}
