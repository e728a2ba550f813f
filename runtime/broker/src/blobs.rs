//! Large values and snapshots.

use std::future::Future;

use bytes::Bytes;
use skep_protocol::{BlobRef, PartitionId, Seq};

use crate::error::{PutBlobError, Unavailable};

/// Large values, by the hash of their content.
///
/// - **C39** A blob of any size comes back to every client; kept twice, it is one.
/// - **C40** One that nobody kept is `None`, and so is one that is said to have another size.
pub trait Blobs: Clone + Send + Sync + 'static {
    /// Keeps `bytes`; durable once it returns. Keeping them twice is one.
    ///
    /// # Errors
    /// Every variant of [`PutBlobError`].
    fn put_blob(&self, bytes: Bytes) -> impl Future<Output = Result<BlobRef, PutBlobError>> + Send;

    /// Returns the bytes, checked against their hash; `None` if nobody ever kept them, or if what
    /// is kept does not have that hash.
    fn blob(
        &self,
        blob: BlobRef,
    ) -> impl Future<Output = Result<Option<Bytes>, Unavailable>> + Send;
}

/// The state of a partition at one position of its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last message that the state includes.
    pub seq: Seq,
    /// The state, encoded by the engine; the broker does not look inside.
    pub bytes: Bytes,
}

/// Where snapshots lie.
///
/// - **C46** They come with the highest position first; at least the two highest are kept,
///   whatever the order in which they were written.
/// - **C47** They are as large as they need to be, and belong to one partition.
pub trait Snapshots: Clone + Send + Sync + 'static {
    /// Keeps a snapshot; all but the two highest may be dropped.
    fn put_snapshot(
        &self,
        partition: PartitionId,
        snapshot: Snapshot,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Returns the kept snapshots, highest position first; those that cannot be read are left out.
    fn snapshots(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<Vec<Snapshot>, Unavailable>> + Send;
}
