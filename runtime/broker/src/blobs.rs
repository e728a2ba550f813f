//! Large values and snapshots.

use std::future::Future;

use bytes::Bytes;
use skep_protocol::{BlobRef, PartitionId, Seq};

use crate::error::Unavailable;

/// Large values, by the hash of their content.
pub trait Blobs: Clone + Send + Sync + 'static {
    /// Keeps `bytes`; durable once it returns. Keeping them twice is one.
    fn put_blob(&self, bytes: Bytes) -> impl Future<Output = Result<BlobRef, Unavailable>> + Send;

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
pub trait Snapshots: Clone + Send + Sync + 'static {
    /// Keeps a snapshot; older ones but the last two may be dropped.
    fn put_snapshot(
        &self,
        partition: PartitionId,
        snapshot: Snapshot,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Returns the kept snapshots, newest first; those that cannot be read are left out.
    fn snapshots(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<Vec<Snapshot>, Unavailable>> + Send;
}
