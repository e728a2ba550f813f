//! Blobs and snapshots in memory.

use bytes::Bytes;
use skep_protocol::{BlobRef, PartitionId};

use super::Embedded;
use crate::blobs::{Blobs, Snapshot, Snapshots};
use crate::error::{PutBlobError, Unavailable};
use crate::memory::Full;

impl Blobs for Embedded {
    async fn put_blob(&self, bytes: Bytes) -> Result<BlobRef, PutBlobError> {
        let blob = BlobRef::of(&bytes);
        let put = self.parts.blobs.with(|blobs, _| blobs.put(blob, bytes));
        let limit = self.parts.settings.max_blob_bytes;
        put.map(|()| blob).map_err(|Full| PutBlobError::Full { size: blob.size, limit })
    }

    async fn blob(&self, blob: BlobRef) -> Result<Option<Bytes>, Unavailable> {
        let found = self.parts.blobs.with(|blobs, _| blobs.get(blob));
        Ok(found.filter(|bytes| BlobRef::of(bytes) == blob))
    }
}

impl Snapshots for Embedded {
    async fn put_snapshot(
        &self,
        partition: PartitionId,
        snapshot: Snapshot,
    ) -> Result<(), Unavailable> {
        self.parts.snapshots.with(|snapshots, _| snapshots.put(partition, snapshot));
        Ok(())
    }

    async fn snapshots(&self, partition: PartitionId) -> Result<Vec<Snapshot>, Unavailable> {
        Ok(self.parts.snapshots.with(|snapshots, _| snapshots.get(partition)))
    }
}
