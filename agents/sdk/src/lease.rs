//! What the agent holds: the pure half of taking tasks. It knows slots, duplicates and phases; it
//! never awaits and never reads a clock.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use foldhash::HashMap;
use skep_protocol::{AttemptId, Held, PartitionId, Refusal, Report, ReportBody, Task, Timestamp};

use crate::context::Signs;
use crate::table::Key;

/// Reports that are kept after they were confirmed, to answer a task that comes once more.
const MAX_KEPT: usize = 1_024;
/// Their size, in bytes.
const MAX_KEPT_BYTES: u64 = 4 * 1024 * 1024;
/// Reports that nobody confirmed, beyond which no more tasks are taken.
const MAX_UNCONFIRMED: usize = 4_096;
/// What the attempts that are held may take of a heartbeat, in bytes, beyond which no more tasks
/// are taken: what is missing in a heartbeat counts as lost, so that all of them have to fit.
const MAX_HELD_BYTES: usize = 384 * 1024;
/// What an attempt takes of a heartbeat beside its step and its note.
const HELD_BYTES: usize = 192;

/// Everything the agent holds.
#[derive(Debug)]
pub(crate) struct Leases {
    slots: BTreeMap<String, Slots>,
    total: Slots,
    held: HashMap<AttemptId, Lease>,
    held_bytes: usize,
    working: usize,
    kept: Kept,
    draining: bool,
    /// How many tasks may be held at a time, over all capabilities.
    ration: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slots {
    limit: u32,
    used: u32,
}

/// One attempt in the hands of the agent.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) partition: PartitionId,
    pub(crate) signs: Signs,
    since: Timestamp,
    phase: Phase,
}

/// How far a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The coordinator was asked whether the agent may begin (queue lane).
    Asking,
    /// The handler runs.
    Working,
    /// The handler was told to stop, and its outcome is of no interest.
    Cancelled,
    /// The handler was told to stop because the agent leaves.
    GivingBack,
    /// It is over; the report was not confirmed yet.
    Reporting,
}

/// What to do with a task that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is new, and has a slot.
    New,
    /// It is held already.
    Held,
    /// It was performed lately: this is what was reported.
    Finished(Report),
    /// It is not taken.
    Refused(Refusal),
}

impl Leases {
    pub(crate) fn new<'a>(
        offers: impl Iterator<Item = (&'a str, u32)>,
        total: Option<u32>,
    ) -> Self {
        let slots = offers.map(|(name, limit)| (name.to_owned(), Slots { limit, used: 0 }));
        let total = Slots { limit: total.unwrap_or(u32::MAX), used: 0 };
        let (slots, held) = (slots.collect(), HashMap::default());
        let (kept, ration) = (Kept::default(), u32::MAX);
        Self { slots, total, held, held_bytes: 0, working: 0, kept, draining: false, ration }
    }

    /// Decides about a task that arrived. A new one is in `phase` from here on.
    pub(crate) fn arrived(&mut self, task: &Task, phase: Phase, now: Timestamp) -> Arrival {
        let id = task.id();
        if self.held.contains_key(&id) {
            return Arrival::Held;
        }
        let lease = |phase| {
            let (partition, signs) = (task.partition, Signs::default());
            Lease { partition, signs, since: now, phase }
        };
        if let Some(report) = self.kept.take(&id) {
            self.hold(id, lease(Phase::Reporting));
            return Arrival::Finished(report);
        }
        if self.draining {
            return Arrival::Refused(Refusal::Draining);
        }
        if !self.slots.contains_key(&task.capability) {
            return Arrival::Refused(Refusal::UnknownCapability);
        }
        if self.free(&task.capability) == 0 {
            return Arrival::Refused(Refusal::Busy);
        }
        self.use_slots(&task.capability, 1);
        self.hold(id, lease(phase));
        self.working += 1;
        Arrival::New
    }

    /// Returns how many more tasks of `capability` can be taken.
    pub(crate) fn free(&self, capability: &str) -> u32 {
        let unconfirmed = self.held.len() - self.working;
        if self.draining || unconfirmed >= MAX_UNCONFIRMED || self.held_bytes >= MAX_HELD_BYTES {
            return 0;
        }
        let own = self.slots.get(capability).map_or(0, Slots::free);
        own.min(self.total.free()).min(self.ration.saturating_sub(self.total.used))
    }

    /// Returns how many tasks of a capability may be asked for at once, so that the others get
    /// their share of the slots that all have in common.
    pub(crate) fn share(&self, capability: &str) -> u32 {
        let capabilities = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let fair = (self.total.limit / capabilities.max(1)).max(1);
        self.free(capability).min(fair)
    }

    /// Takes slots for tasks that were asked for and have not come yet.
    pub(crate) fn use_slots(&mut self, capability: &str, count: u32) {
        if let Some(slots) = self.slots.get_mut(capability) {
            slots.used += count;
            self.total.used += count;
        }
    }

    /// Gives slots back: what used them is really gone.
    pub(crate) fn free_slots(&mut self, capability: &str, count: u32) {
        if let Some(slots) = self.slots.get_mut(capability) {
            slots.used = slots.used.saturating_sub(count);
            self.total.used = self.total.used.saturating_sub(count);
        }
    }

    /// Returns the lease of an attempt.
    pub(crate) fn lease(&self, attempt: &AttemptId) -> Option<&Lease> {
        self.held.get(attempt)
    }

    /// Returns the phase of an attempt; none if it is not held.
    pub(crate) fn phase(&self, attempt: &AttemptId) -> Option<Phase> {
        self.held.get(attempt).map(|lease| lease.phase)
    }

    /// Says that the handler of an attempt starts. Returns what it and the agent tell each other.
    pub(crate) fn begin(&mut self, attempt: &AttemptId) -> Option<Signs> {
        self.enter(attempt, Phase::Working).map(|lease| lease.signs.clone())
    }

    /// Tells the handler of an attempt to stop, because nobody wants its outcome; nothing if it
    /// does not run. Returns the handler that was told.
    pub(crate) fn cancel(&mut self, attempt: &AttemptId) -> Option<Key> {
        let lease = self.held.get_mut(attempt)?;
        match lease.phase {
            Phase::Working | Phase::GivingBack => lease.stop(Phase::Cancelled),
            Phase::Asking | Phase::Cancelled | Phase::Reporting => None,
        }
    }

    /// Tells every handler to stop, because the agent leaves. Returns those that were told.
    pub(crate) fn give_back_all(&mut self) -> Vec<Key> {
        let working = self.in_phase(Phase::Working).into_iter();
        let stop = |id| self.held.get_mut(&id).and_then(|lease| lease.stop(Phase::GivingBack));
        working.filter_map(stop).collect()
    }

    /// Says that an attempt is over and its report on the way. Returns where that goes.
    pub(crate) fn report(&mut self, attempt: &AttemptId) -> Option<PartitionId> {
        self.enter(attempt, Phase::Reporting).map(|lease| lease.partition)
    }

    /// Lets go of an attempt that nobody needs to hear of.
    pub(crate) fn forget(&mut self, attempt: &AttemptId) {
        if let Some(lease) = self.release(attempt) {
            self.working -= usize::from(lease.phase != Phase::Reporting);
        }
    }

    /// Lets go of an attempt whose final report was confirmed; an outcome is kept for a while,
    /// should the task come once more.
    pub(crate) fn confirmed(&mut self, report: Report) {
        let id = report.id();
        let size = held_size(&id);
        let Entry::Occupied(lease) = self.held.entry(id) else { return };
        if lease.get().phase != Phase::Reporting {
            return;
        }
        let (id, _) = lease.remove_entry();
        self.held_bytes -= size;
        if matches!(report.body, ReportBody::Outcome(_)) {
            self.kept.put_as(id, report);
        }
    }

    /// Holds no more than so many tasks from here on; those that are held already are kept.
    pub(crate) fn ration(&mut self, most: u32) {
        self.ration = most;
    }

    /// Returns whether one more handler may start.
    pub(crate) fn may_begin(&self) -> bool {
        let begun = self.unsorted().filter(|(_, lease)| match lease.phase {
            Phase::Working | Phase::Cancelled | Phase::GivingBack => true,
            Phase::Asking | Phase::Reporting => false,
        });
        self.ration == u32::MAX || begun.count() < self.ration as usize
    }

    /// Takes no more tasks from here on.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// Returns whether no more tasks are taken.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Returns whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns how many attempts are held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns the attempts that the coordinator was asked about.
    pub(crate) fn asking(&self) -> Vec<AttemptId> {
        self.in_phase(Phase::Asking)
    }

    /// Returns what a heartbeat says.
    pub(crate) fn held(&self) -> Vec<Held> {
        let mut held: Vec<_> = self.unsorted().collect();
        held.sort_unstable_by_key(|(id, _)| *id);
        let held = held.into_iter().map(|(id, lease)| Held {
            attempt: id.clone(),
            since: lease.since,
            progress: lease.signs.progress(),
            finished: lease.phase == Phase::Reporting,
        });
        held.collect()
    }

    fn in_phase(&self, phase: Phase) -> Vec<AttemptId> {
        let found = self.unsorted().filter(|(_, lease)| lease.phase == phase);
        let mut found: Vec<_> = found.map(|(id, _)| id.clone()).collect();
        found.sort_unstable();
        found
    }

    #[expect(clippy::disallowed_methods, reason = "whoever shows the order sorts")]
    fn unsorted(&self) -> impl Iterator<Item = (&AttemptId, &Lease)> {
        self.held.iter()
    }

    fn hold(&mut self, attempt: AttemptId, lease: Lease) {
        self.held_bytes += held_size(&attempt);
        self.held.insert(attempt, lease);
    }

    fn release(&mut self, attempt: &AttemptId) -> Option<Lease> {
        let lease = self.held.remove(attempt)?;
        self.held_bytes -= held_size(attempt);
        Some(lease)
    }

    fn enter(&mut self, attempt: &AttemptId, phase: Phase) -> Option<&Lease> {
        let lease = self.held.get_mut(attempt)?;
        self.working -= usize::from(lease.phase != Phase::Reporting);
        lease.phase = phase;
        self.working += usize::from(phase != Phase::Reporting);
        Some(lease)
    }
}

impl Lease {
    fn stop(&mut self, phase: Phase) -> Option<Key> {
        self.phase = phase;
        self.signs.cancel()
    }
}

fn held_size(attempt: &AttemptId) -> usize {
    HELD_BYTES + attempt.step.as_str().len()
}

impl Slots {
    const fn free(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

/// The last reports that were confirmed, bounded by number and size.
#[derive(Debug, Default)]
struct Kept {
    reports: HashMap<AttemptId, Report>,
    order: VecDeque<AttemptId>,
    bytes: u64,
}

impl Kept {
    #[cfg(test)]
    fn put(&mut self, report: Report) {
        self.put_as(report.id(), report);
    }

    fn put_as(&mut self, id: AttemptId, report: Report) {
        self.bytes += inline_size(&report);
        self.order.push_back(id.clone());
        if let Some(before) = self.reports.insert(id, report) {
            self.bytes -= inline_size(&before);
        }
        while self.order.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.take(&oldest);
        }
    }

    fn take(&mut self, id: &AttemptId) -> Option<Report> {
        let report = self.reports.remove(id)?;
        self.bytes -= inline_size(&report);
        Some(report)
    }
}

/// Returns how much of a message a report takes, about.
pub(crate) fn inline_size(report: &Report) -> u64 {
    use skep_protocol::{Outcome, Payload};
    let inline = |payload: &Payload| payload.text().map_or(0, |text| text.len() as u64);
    let body = match &report.body {
        ReportBody::Taken {} | ReportBody::Released { .. } => 0,
        ReportBody::Checkpoint(payload) => inline(payload),
        ReportBody::Outcome(Outcome::Completed { output, .. }) => inline(output),
        ReportBody::Outcome(Outcome::Failed { failure, .. }) => {
            failure.message.len() as u64 + failure.details.as_ref().map_or(0, inline)
        }
    };
    256 + report.step.as_str().len() as u64 + body
}

#[cfg(test)]
mod tests;
