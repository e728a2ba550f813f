//! Snapshots: chunks, then an end that makes them whole. The newest two are kept.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use skep_broker::{Snapshot, Snapshots, Unavailable};
use skep_protocol::{BlobRef, PartitionId, Seq, decode, encode};

use crate::chunks::Source;
use crate::connect::chain;
use crate::layout::Layout;
use crate::nats::Nats;

/// How many snapshots of a partition are kept.
const KEPT: usize = 2;

/// The last message of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    /// The version of the format.
    v: u32,
    /// Size and hash of the whole.
    #[serde(flatten)]
    whole: BlobRef,
}

const VERSION: u32 = 1;

impl Snapshots for Nats {
    async fn put_snapshot(
        &self,
        partition: PartitionId,
        snapshot: Snapshot,
    ) -> Result<(), Unavailable> {
        let attempted = "keep a snapshot";
        let stream = self.layout().snapshot_stream();
        let prefix = self.layout().snapshot(partition, snapshot.seq);
        self.put_chunks(attempted, (&stream, &prefix), &snapshot.bytes).await?;
        let end = End { v: VERSION, whole: BlobRef::of(&snapshot.bytes) };
        let subject = self.layout().snapshot_end(partition, snapshot.seq);
        let published = async { self.js().publish(subject, encode(&end)).await?.await };
        self.api(attempted, published).await?;
        for seq in self.superseded(attempted, partition, snapshot.seq).await? {
            self.drop_snapshot(partition, seq).await?;
        }
        Ok(())
    }

    async fn snapshots(&self, partition: PartitionId) -> Result<Vec<Snapshot>, Unavailable> {
        let attempted = "read the snapshots";
        let mut snapshots = Vec::new();
        for seq in self.positions(attempted, partition).await?.into_iter().rev() {
            match self.snapshot(attempted, partition, seq).await? {
                Some(bytes) => snapshots.push(Snapshot { seq, bytes }),
                None => {
                    tracing::warn!(%partition, %seq, "a snapshot cannot be read and is left out")
                }
            }
        }
        Ok(snapshots)
    }
}

impl Nats {
    /// Returns the positions of all whole snapshots.
    async fn positions(
        &self,
        attempted: &'static str,
        partition: PartitionId,
    ) -> Result<BTreeSet<Seq>, Unavailable> {
        let subjects = self
            .subjects(
                attempted,
                self.layout().snapshot_stream(),
                self.layout().snapshot_ends(partition),
            )
            .await?;
        Ok(subjects.iter().filter_map(|subject| Layout::seq_of_snapshot(subject)).collect())
    }

    /// Returns the positions of snapshots that nobody needs beside the one at `newest`: older ones,
    /// and those that were interrupted before their end.
    async fn superseded(
        &self,
        attempted: &'static str,
        partition: PartitionId,
        newest: Seq,
    ) -> Result<BTreeSet<Seq>, Unavailable> {
        let (stream, all) = (self.layout().snapshot_stream(), self.layout().snapshots(partition));
        let subjects = self.subjects(attempted, stream, all).await?;
        let positions = |subjects: &mut dyn Iterator<Item = &String>| -> BTreeSet<Seq> {
            subjects.filter_map(|subject| Layout::seq_of_snapshot(subject)).collect()
        };
        let whole = positions(&mut subjects.iter().filter(|s| Layout::is_snapshot_end(s)));
        let kept: BTreeSet<Seq> = whole.into_iter().rev().take(KEPT).collect();
        let mut superseded = positions(&mut subjects.iter());
        superseded.retain(|seq| *seq < newest && !kept.contains(seq));
        Ok(superseded)
    }

    /// Returns the subjects of a stream that match a filter, sorted.
    pub(crate) async fn subjects(
        &self,
        attempted: &'static str,
        stream: String,
        filter: String,
    ) -> Result<BTreeSet<String>, Unavailable> {
        let stream = self.api(attempted, self.js().get_stream_no_info(stream)).await?;
        let subjects = async {
            let info = stream.info_with_subjects(filter).await?;
            info.map_ok(|(subject, _)| subject).try_collect().await
        };
        self.api(attempted, subjects).await
    }

    async fn snapshot(
        &self,
        attempted: &'static str,
        partition: PartitionId,
        seq: Seq,
    ) -> Result<Option<Bytes>, Unavailable> {
        let name = self.layout().snapshot_stream();
        let stream = self.api(attempted, self.js().get_stream_no_info(&name)).await?;
        let subject = self.layout().snapshot_end(partition, seq);
        let Some(end) = self.last_by_subject(attempted, &stream, subject).await? else {
            return Ok(None);
        };
        let whole = match decode::<End>(&end.payload) {
            Ok(end) if end.v <= VERSION => end.whole,
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::warn!(%partition, %seq, reason = chain(&error), "a damaged snapshot");
                return Ok(None);
            }
        };
        let Ok(size) = usize::try_from(whole.size) else { return Ok(None) };
        let prefix = self.layout().snapshot(partition, seq);
        let bytes = self.chunks(attempted, &name, &prefix, (size, Source::Leader)).await?;
        Ok(bytes.filter(|bytes| BlobRef::of(bytes) == whole))
    }

    async fn drop_snapshot(&self, partition: PartitionId, seq: Seq) -> Result<(), Unavailable> {
        let attempted = "drop a snapshot";
        let stream = self.js().get_stream_no_info(self.layout().snapshot_stream());
        let stream = self.api(attempted, stream).await?;
        // The end first: what has none is not taken for whole.
        let prefix = self.layout().snapshot(partition, seq);
        for filter in [self.layout().snapshot_end(partition, seq), format!("{prefix}.*")] {
            let purge = stream.purge().filter(filter);
            self.api(attempted, async move { purge.await }).await?;
        }
        Ok(())
    }
}
