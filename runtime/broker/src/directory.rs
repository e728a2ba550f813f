//! Who is there, and the small facts that a cluster shares.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use skep_protocol::Heartbeat;

use crate::error::Unavailable;

/// Agents → everybody: that they are there.
///
/// - **C33** A heartbeat reaches everybody who listens, in the order in which one client sends
///   them.
/// - **C34** A listener that does not listen hinders neither the sender nor others; it may lose
///   some.
/// - **C35** A client whose broker answers says that it is connected.
pub trait Presence: Clone + Send + Sync + 'static {
    /// Says it once; it may be lost.
    fn beat(&self, heartbeat: Heartbeat) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// Listens to the heartbeats of all agents, from here on.
    fn beats(
        &self,
    ) -> impl Future<Output = Result<BoxStream<'static, Heartbeat>, Unavailable>> + Send;

    /// Returns whether the broker can be reached at the moment: silence of others counts only while
    /// one's own link is healthy.
    fn is_connected(&self) -> bool;
}

/// Which facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// What holds for the whole cluster: its number of partitions, its formats.
    Cluster,
    /// Registered definitions: `digest.<hex>` → the text, `name.<name>` → versions and digests.
    Workflows,
    /// Coordinators by name. What nobody has written for [`COORDINATORS_KEPT`] may vanish.
    Coordinators,
}

/// For how long at least the record of a coordinator is kept.
pub const COORDINATORS_KEPT: Duration = Duration::from_secs(60);

/// The state of a key: rises with each change of any key of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a key that does not exist.
    pub const ABSENT: Self = Self(0);

    /// Wraps a number.
    pub const fn new(revision: u64) -> Self {
        Self(revision)
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub value: Bytes,
    /// Its revision, to change it with.
    pub revision: Revision,
}

/// Why a fact was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// Somebody else changed the key. Nothing was written.
    #[error("`{key}` was changed by somebody else")]
    Conflict {
        /// The key.
        key: String,
    },
    /// The key is not one: see [`is_key`]. Nothing was written.
    #[error("`{key}` is no key: 1 to 255 of A-Z a-z 0-9 _ - . = are, with single dots inside")]
    InvalidKey {
        /// The key.
        key: String,
    },
    /// The broker cannot be reached; the write may have happened.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Returns whether `key` can be the key of a fact: 1 to 255 of `A-Z a-z 0-9 _ - . =`, where a dot
/// is neither first nor last nor next to another.
pub fn is_key(key: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'=');
    key.len() <= 255 && key.bytes().all(known) && key.split('.').all(|token| !token.is_empty())
}

/// Small facts by key, durable, changed by compare-and-set.
///
/// - **C41** A fact is written only if its key is at the expected revision; revisions rise.
/// - **C42** Of writes at once that expect the same revision, exactly one succeeds.
/// - **C43** `keys` is sorted; a prefix is plain text; buckets do not share keys.
/// - **C44** What is no key ([`is_key`]) is refused when written, and is under no fact.
/// - **C45** A fact may be as large as the largest definition.
/// - **C53** What is written to [`Bucket::Coordinators`] again and again stays, as any other fact.
pub trait Registry: Clone + Send + Sync + 'static {
    /// Returns the fact under `key`.
    fn get(
        &self,
        bucket: Bucket,
        key: &str,
    ) -> impl Future<Output = Result<Option<Entry>, Unavailable>> + Send;

    /// Writes the fact if the key is at `expected` ([`Revision::ABSENT`]: only if there is none).
    ///
    /// # Errors
    /// [`PutError::Conflict`] if it is not.
    fn put(
        &self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> impl Future<Output = Result<Revision, PutError>> + Send;

    /// Returns the keys that start with `prefix`, sorted.
    fn keys(
        &self,
        bucket: Bucket,
        prefix: &str,
    ) -> impl Future<Output = Result<Vec<String>, Unavailable>> + Send;
}
