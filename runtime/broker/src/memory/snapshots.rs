//! Snapshots of partitions.

use std::collections::BTreeMap;

use bytes::Bytes;
use skep_protocol::{PartitionId, Seq};

use crate::blobs::Snapshot;

/// How many snapshots of a partition are kept.
const KEPT: usize = 2;

/// The last snapshots of each partition.
#[derive(Debug, Default)]
pub struct SnapshotStore {
    partitions: BTreeMap<PartitionId, BTreeMap<Seq, Bytes>>,
}

impl SnapshotStore {
    /// Keeps a snapshot, and of all only those at the highest positions.
    pub fn put(&mut self, partition: PartitionId, snapshot: Snapshot) {
        let kept = self.partitions.entry(partition).or_default();
        kept.insert(snapshot.seq, snapshot.bytes);
        while kept.len() > KEPT {
            kept.pop_first();
        }
    }

    /// Returns the snapshots, highest position first.
    pub fn get(&self, partition: PartitionId) -> Vec<Snapshot> {
        let kept = self.partitions.get(&partition).into_iter().flatten().rev();
        kept.map(|(seq, bytes)| Snapshot { seq: *seq, bytes: bytes.clone() }).collect()
    }
}
