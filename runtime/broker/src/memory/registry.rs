//! Small facts by key.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::directory::{Bucket, Entry, Revision};

/// The key is at another revision than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutRefused;

/// Facts, by bucket and key.
#[derive(Debug, Default)]
pub struct Registers {
    buckets: BTreeMap<Bucket, Register>,
}

#[derive(Debug, Default)]
struct Register {
    revision: u64,
    entries: BTreeMap<String, Entry>,
}

impl Registers {
    /// Returns the fact under `key`.
    pub fn get(&self, bucket: Bucket, key: &str) -> Option<Entry> {
        self.buckets.get(&bucket)?.entries.get(key).cloned()
    }

    /// Writes a fact if the key is at `expected`.
    ///
    /// # Errors
    /// [`PutRefused`] if it is not.
    pub fn put(
        &mut self,
        bucket: Bucket,
        key: &str,
        value: Bytes,
        expected: Revision,
    ) -> Result<Revision, PutRefused> {
        let register = self.buckets.entry(bucket).or_default();
        let found = register.entries.get(key).map_or(Revision::ABSENT, |entry| entry.revision);
        if found != expected {
            return Err(PutRefused);
        }
        register.revision += 1;
        let revision = Revision::new(register.revision);
        register.entries.insert(key.to_owned(), Entry { value, revision });
        Ok(revision)
    }

    /// Returns the keys that start with `prefix`, sorted.
    pub fn keys(&self, bucket: Bucket, prefix: &str) -> Vec<String> {
        let Some(register) = self.buckets.get(&bucket) else { return Vec::new() };
        let from = register.entries.range(prefix.to_owned()..);
        from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix)).cloned().collect()
    }
}
