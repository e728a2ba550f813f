//! The fold of one journal.

use bytes::Bytes;
use skep_protocol::{Hash, PartitionId, Record, RunId, RunStatus, Timestamp, WaitingView};

use crate::effect::{Change, Effect};
use crate::error::{FoldError, RestoreError};
use crate::input::{Handled, Input};
use crate::wake::Wake;

/// The state of all live runs of one partition, and the decisions about them.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
}

impl Partition {
    /// Creates the state before the first record of a journal.
    pub fn new(id: PartitionId) -> Self {
        Self { id }
    }

    /// Returns which partition this is.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Decides what follows from `input`, applies it, and goes on until nothing more follows.
    ///
    /// # Errors
    /// [`FoldError`] if a decision contradicts the state: a bug. Nothing may be appended, the
    /// partition has to stop.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Result<Handled, FoldError> {
        let _ = (input, now);
        todo!("skeleton")
    }

    /// Applies a record of the journal; decides nothing.
    ///
    /// # Errors
    /// [`FoldError`] if the record does not follow from those before it.
    pub fn apply(&mut self, record: &Record) -> Result<(), FoldError> {
        let _ = record;
        todo!("skeleton")
    }

    /// Returns how what is owed changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        todo!("skeleton")
    }

    /// Returns everything that is owed, from the state alone. After a recovery: drop
    /// `take_changes`, perform this, then hand in [`Input::TookOver`].
    pub fn outstanding(&self) -> Vec<Effect> {
        todo!("skeleton")
    }

    /// Returns when time matters next.
    pub fn next_wake(&self) -> Option<Wake> {
        todo!("skeleton")
    }

    /// Returns the whole state, to be kept as a droppable cache of the journal.
    pub fn snapshot(&self) -> Bytes {
        todo!("skeleton")
    }

    /// Reads a snapshot back.
    ///
    /// # Errors
    /// [`RestoreError`] if the bytes are not a snapshot of this partition.
    pub fn restore(id: PartitionId, bytes: &[u8]) -> Result<Self, RestoreError> {
        let _ = bytes;
        Ok(Self { id })
    }

    /// Returns the hash of the state: equal after any replay of the same records.
    pub fn digest(&self) -> Hash {
        todo!("skeleton")
    }

    /// Returns the epoch of the last take-over; 0 before the first.
    pub fn epoch(&self) -> u64 {
        todo!("skeleton")
    }

    /// Returns whether the partition holds the definition of this digest.
    pub fn knows(&self, digest: Hash) -> bool {
        let _ = digest;
        todo!("skeleton")
    }

    /// Returns the text of a definition that the partition holds.
    pub fn source(&self, digest: Hash) -> Option<&str> {
        let _ = digest;
        todo!("skeleton")
    }

    /// Returns how many runs are not over.
    pub fn live_runs(&self) -> usize {
        todo!("skeleton")
    }

    /// Returns the state of a run that is live, or ended recently.
    pub fn status(&self, run: RunId) -> Option<RunStatus> {
        let _ = run;
        todo!("skeleton")
    }

    /// Returns what the steps of a run wait for.
    pub fn waiting(&self, run: RunId) -> Vec<WaitingView> {
        let _ = run;
        todo!("skeleton")
    }
}
