//! Heartbeats and small facts in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_protocol::Heartbeat;

use super::Embedded;
use super::part::{Part, Taking};
use crate::directory::{Bucket, Entry, Presence, PutError, Registry, Revision, is_key};
use crate::error::Unavailable;
use crate::memory::Broadcast;

impl Presence for Embedded {
    async fn beat(&self, heartbeat: Heartbeat) -> Result<(), Unavailable> {
        self.parts.beats.with(|beats, ready| beats.tell_all(heartbeat, ready));
        Ok(())
    }

    async fn beats(&self) -> Result<BoxStream<'static, Heartbeat>, Unavailable> {
        Ok(hear(&self.parts.beats, ()))
    }

    fn is_connected(&self) -> bool {
        true
    }
}

impl Registry for Embedded {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<Entry>, Unavailable> {
        Ok(self.parts.registers.with(|registers, _| registers.get(bucket, key)))
    }

    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, PutError> {
        if !is_key(key) {
            return Err(PutError::InvalidKey { key: key.escape_debug().to_string() });
        }
        let put =
            |registers: &mut crate::memory::Registers| registers.put(bucket, key, value, expected);
        let put = self.parts.registers.with(|registers, _| put(registers));
        put.map_err(|_| PutError::Conflict { key: key.to_owned() })
    }

    async fn keys(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, Unavailable> {
        Ok(self.parts.registers.with(|registers, _| registers.keys(bucket, prefix)))
    }
}

/// Listens to what may be lost.
pub(super) fn hear<K, T>(part: &Arc<Part<Broadcast<K, T>>>, key: K) -> BoxStream<'static, T>
where
    K: Ord + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    let listener = part.with(|broadcast, _| broadcast.listen(key));
    let take = |broadcast: &mut Broadcast<K, T>, listener| broadcast.take(listener);
    let heard = Taking::new(part, listener, take, |broadcast, listener, _| {
        broadcast.close(listener);
    });
    heard.map(Arc::unwrap_or_clone).boxed()
}
