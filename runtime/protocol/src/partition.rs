//! How runs spread over partitions.

use std::fmt;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::ids::RunId;
use crate::limits::DEFAULT_PARTITIONS;

/// The number of one partition, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(u16);

impl PartitionId {
    /// Wraps a number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many partitions a cluster has; fixed when the cluster is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionCount(NonZeroU16);

impl PartitionCount {
    /// The default of a new cluster.
    pub const DEFAULT: Self = match NonZeroU16::new(DEFAULT_PARTITIONS) {
        Some(count) => Self(count),
        None => panic!("the default is not zero"),
    };

    /// Wraps a count; zero is none.
    pub const fn new(count: u16) -> Option<Self> {
        match NonZeroU16::new(count) {
            Some(count) => Some(Self(count)),
            None => None,
        }
    }

    /// Returns the count.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Returns the partition of a run, by the function that NATS uses for `{{partition(N,…)}}`.
    pub fn of(self, run: RunId) -> PartitionId {
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = run.as_uuid().hyphenated().encode_lower(&mut buffer);
        let number = fnv1a32(text.as_bytes()) % u32::from(self.get());
        PartitionId(u16::try_from(number).expect("a remainder is below its 16-bit divisor"))
    }

    /// Returns every partition, in order.
    pub fn all(self) -> impl Iterator<Item = PartitionId> {
        (0..self.get()).map(PartitionId)
    }
}

/// Hashes by FNV-1a, 32 bits (Fowler, Noll, Vo).
pub const fn fnv1a32(bytes: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_fnv1a() {
        assert_eq!(fnv1a32(b""), 0x811c_9dc5);
        assert_eq!(fnv1a32(b"a"), 0xe40c_292c);
        assert_eq!(fnv1a32(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn runs_spread_over_all_partitions() {
        let count = PartitionCount::DEFAULT;
        let mut seen = vec![0_u32; usize::from(count.get())];
        for key in 0..8_000 {
            seen[usize::from(count.of(RunId::from_key("w", &format!("{key}"))).get())] += 1;
        }
        assert!(seen.iter().all(|&runs| (800..1_200).contains(&runs)), "{seen:?}");
    }
}
