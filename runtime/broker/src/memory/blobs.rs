//! Large values by the hash of their content.

use std::collections::BTreeMap;

use bytes::Bytes;
use skep_protocol::{BlobRef, Hash};

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Large values.
#[derive(Debug)]
pub struct BlobStore {
    max_bytes: u64,
    bytes: u64,
    blobs: BTreeMap<Hash, Bytes>,
}

impl BlobStore {
    /// Creates an empty store of at most `max_bytes` in all.
    pub const fn new(max_bytes: u64) -> Self {
        Self { max_bytes, bytes: 0, blobs: BTreeMap::new() }
    }

    /// Keeps `bytes` under `blob`, which the caller computed from them.
    ///
    /// # Errors
    /// [`Full`] if there is no room.
    pub fn put(&mut self, blob: BlobRef, bytes: Bytes) -> Result<(), Full> {
        if self.blobs.contains_key(&blob.hash) {
            return Ok(());
        }
        if blob.size > self.max_bytes.saturating_sub(self.bytes) {
            return Err(Full);
        }
        self.bytes += blob.size;
        self.blobs.insert(blob.hash, bytes);
        Ok(())
    }

    /// Returns what is kept under the hash, unless its size is another.
    pub fn get(&self, blob: BlobRef) -> Option<Bytes> {
        self.blobs.get(&blob.hash).filter(|bytes| bytes.len() as u64 == blob.size).cloned()
    }
}
