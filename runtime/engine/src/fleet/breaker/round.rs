//! The calls that are made while a breaker lets only some pass.

use std::collections::BTreeMap;

use skep_protocol::{AttemptId, Timestamp};

/// Calls under way, each with a lease, and how those ended that did.
#[derive(Debug)]
pub(super) struct Round {
    /// Those that did not end, and how long each of them is waited for.
    leases: BTreeMap<AttemptId, Timestamp>,
    /// Calls, failed ones, slow ones.
    pub(super) counts: [u32; 3],
}

impl Round {
    pub(super) const fn new() -> Self {
        Self { leases: BTreeMap::new(), counts: [0; 3] }
    }

    pub(super) fn admit(&mut self, id: &AttemptId, lease: Timestamp) {
        self.leases.insert(id.clone(), lease);
    }

    pub(super) fn withdraw(&mut self, id: &AttemptId) {
        self.leases.remove(id);
    }

    /// Notes how a call ended; returns whether it was one of these, however late.
    pub(super) fn ended(&mut self, id: &AttemptId, counts: [u32; 3]) -> bool {
        let known = self.leases.remove(id).is_some();
        if known {
            for (sum, count) in self.counts.iter_mut().zip(counts) {
                *sum = sum.saturating_add(count);
            }
        }
        known
    }

    pub(super) fn under_way(&self, now: Timestamp) -> u32 {
        let held = self.leases.values().filter(|lease| **lease > now);
        u32::try_from(held.count()).unwrap_or(u32::MAX)
    }

    /// Returns how many calls of the round are under way or over; one whose lease ended without an
    /// answer is neither.
    pub(super) fn used(&self, now: Timestamp) -> u32 {
        self.under_way(now).saturating_add(self.counts[0])
    }

    pub(super) fn next_lease(&self, now: Timestamp) -> Option<Timestamp> {
        self.leases.values().copied().filter(|lease| *lease > now).min()
    }

    pub(super) fn forget_counts(&mut self) {
        self.counts = [0; 3];
    }
}
