//! Reports on their way: kept until confirmed, many in one message, one message at a time to the
//! owner of a partition. Pure but for the jitter of its delays.

use std::collections::{BTreeMap, VecDeque};

use skep_protocol::limits::{MAX_SHARED, TARGET_BATCH_BYTES};
use skep_protocol::{AttemptId, PartitionId, Report, ReportBody};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::lease::inline_size;

/// The reports of all partitions.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    partitions: BTreeMap<PartitionId, Pending>,
}

#[derive(Debug)]
struct Pending {
    ready: VecDeque<Report>,
    in_flight: usize,
    /// How many reports the next message may have.
    limit: usize,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Default for Pending {
    fn default() -> Self {
        let (ready, backoff) = (VecDeque::new(), Backoff::default());
        Self { ready, in_flight: 0, limit: MAX_SHARED, not_before: None, backoff }
    }
}

impl Outbox {
    /// Adds a report.
    pub(crate) fn push(&mut self, partition: PartitionId, report: Report) {
        self.partitions.entry(partition).or_default().ready.push_back(report);
    }

    /// Returns the messages that may leave, and counts them as being under way.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<(PartitionId, Vec<Report>)> {
        let mut messages = Vec::new();
        for (partition, pending) in &mut self.partitions {
            let due = pending.not_before.is_none_or(|not_before| not_before <= now);
            if pending.in_flight == 0 && due && !pending.ready.is_empty() {
                messages.push((*partition, pending.take()));
            }
        }
        messages
    }

    /// Says that the message to `partition` was answered.
    pub(crate) fn answered(&mut self, partition: PartitionId) {
        let pending = self.partitions.entry(partition).or_default();
        (pending.in_flight, pending.not_before) = (0, None);
        (pending.limit, pending.backoff) = (MAX_SHARED, Backoff::default());
    }

    /// Takes reports back that were not confirmed; they leave again after a delay.
    pub(crate) fn unconfirmed(
        &mut self,
        partition: PartitionId,
        reports: Vec<Report>,
        now: Instant,
    ) {
        let pending = self.partitions.entry(partition).or_default();
        pending.in_flight = 0;
        pending.not_before = Some(now + pending.backoff.next_delay());
        reports.into_iter().rev().for_each(|report| pending.ready.push_front(report));
    }

    /// Lets what waits for a partition leave without delay.
    pub(crate) fn at_once(&mut self, partition: PartitionId) {
        if let Some(pending) = self.partitions.get_mut(&partition) {
            pending.not_before = None;
        }
    }

    /// Takes reports back whose message nobody takes; they leave at once, in smaller messages.
    pub(crate) fn refused(&mut self, partition: PartitionId, reports: Vec<Report>) {
        let pending = self.partitions.entry(partition).or_default();
        pending.in_flight = 0;
        pending.limit = (reports.len() / 2).max(1);
        reports.into_iter().rev().for_each(|report| pending.ready.push_front(report));
    }

    /// Drops the question whether to begin an attempt, unless it is under way. Returns whether it
    /// was dropped.
    pub(crate) fn withdraw_question(
        &mut self,
        partition: PartitionId,
        attempt: &AttemptId,
    ) -> bool {
        let Some(pending) = self.partitions.get_mut(&partition) else { return false };
        let before = pending.ready.len();
        let is_it = |report: &Report| {
            matches!(report.body, ReportBody::Taken {}) && report.id() == *attempt
        };
        pending.ready.retain(|report| !is_it(report));
        pending.ready.len() < before
    }

    /// Returns when the next message may leave that waits for a time.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let waiting = self.partitions.values().filter(|pending| !pending.ready.is_empty());
        waiting.filter(|pending| pending.in_flight == 0).filter_map(|p| p.not_before).min()
    }

    /// Returns how many reports were not confirmed.
    pub(crate) fn len(&self) -> usize {
        self.partitions.values().map(|pending| pending.ready.len() + pending.in_flight).sum()
    }
}

impl Pending {
    fn take(&mut self) -> Vec<Report> {
        let (mut count, mut bytes) = (0, 0);
        for report in self.ready.iter().take(self.limit) {
            bytes += inline_size(report);
            if count > 0 && bytes > TARGET_BATCH_BYTES as u64 {
                break;
            }
            count += 1;
        }
        self.in_flight = count;
        self.ready.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests;
