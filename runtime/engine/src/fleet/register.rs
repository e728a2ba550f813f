//! The attempts that are tracked, each in a slot of its own. Whatever points to one holds its slot,
//! a small number, so that an id is looked up once: where it comes in.

use std::collections::BTreeMap;

use skep_protocol::{AttemptId, RunId};

use super::attempt::Attempt;

/// As many ids as a shelf has on average before there are twice as many shelves.
const PER_SHELF: usize = 8;
const LEAST_SHELVES: usize = 16;
/// With more shelves than this, what is not needed any more is given back.
const LARGE: usize = 4_096;

/// Where a tracked attempt is in the register, for as long as it is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// The attempts that are tracked.
///
/// **Invariant:** nothing keeps the slot of an attempt that is not tracked any more, for the next
/// one may have it.
#[derive(Debug)]
pub(super) struct Register {
    /// Each in a place of its own: they are large, and most of the time there are few.
    slots: Vec<Option<Box<Attempt>>>,
    free: Vec<Slot>,
    /// Ids by their runs. Those of one shelf are in order: whoever makes up runs that all belong
    /// on the same one makes nothing slow.
    shelves: Vec<BTreeMap<AttemptId, Slot>>,
    len: usize,
    /// What was asked for last: what happens to an attempt often comes in pairs.
    last: Option<Slot>,
}

impl Register {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), shelves: Vec::new(), len: 0, last: None }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the slot of an attempt, if it is tracked.
    pub(super) fn slot(&self, id: &AttemptId) -> Option<Slot> {
        self.shelves.get(self.shelf(id.run))?.get(id).copied()
    }

    /// Returns the same, and finds it at once if it is asked for again next.
    pub(super) fn find(&mut self, id: &AttemptId) -> Option<Slot> {
        let again = self.last.filter(|slot| self.at(*slot).is_some_and(|known| known.id == *id));
        self.last = again.or_else(|| self.slot(id));
        self.last
    }

    pub(super) fn contains(&self, id: &AttemptId) -> bool {
        self.slot(id).is_some()
    }

    pub(super) fn get(&self, id: &AttemptId) -> Option<&Attempt> {
        self.at(self.slot(id)?)
    }

    pub(super) fn at(&self, slot: Slot) -> Option<&Attempt> {
        self.slots.get(slot.0)?.as_deref()
    }

    pub(super) fn at_mut(&mut self, slot: Slot) -> Option<&mut Attempt> {
        self.slots.get_mut(slot.0)?.as_deref_mut()
    }

    /// Adds an attempt that is not tracked.
    pub(super) fn insert(&mut self, attempt: Box<Attempt>) -> Slot {
        if self.len >= self.shelves.len() * PER_SHELF {
            self.add_shelves();
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(self.slots.len() - 1)
        });
        let shelf = self.shelf(attempt.id.run);
        self.shelves[shelf].insert(attempt.id.clone(), slot);
        self.slots[slot.0] = Some(attempt);
        self.len += 1;
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Box<Attempt>> {
        let attempt = self.slots.get_mut(slot.0)?.take()?;
        let shelf = self.shelf(attempt.id.run);
        self.shelves[shelf].remove(&attempt.id);
        self.len -= 1;
        self.free.push(slot);
        if self.is_empty() && self.shelves.len() > LARGE {
            *self = Self::new();
        }
        Some(attempt)
    }

    /// Returns the attempts that come after another one at its step, in order.
    pub(super) fn next_of<'a>(
        &'a self,
        id: &AttemptId,
    ) -> impl Iterator<Item = (Slot, &'a Attempt)> {
        let numbered = |attempt| AttemptId { attempt, ..id.clone() };
        let next = numbered(id.attempt.saturating_add(1))..=numbered(u32::MAX);
        let shelf = self.shelves.get(self.shelf(id.run)).into_iter();
        let next = shelf.flat_map(move |shelf| shelf.range(next.clone()));
        next.filter_map(|(_, slot)| Some((*slot, self.at(*slot)?)))
    }

    /// Returns all attempts, in no order that means anything.
    pub(super) fn all(&self) -> impl Iterator<Item = &Attempt> {
        self.slots.iter().flatten().map(|attempt| &**attempt)
    }

    /// Returns the slots of those attempts that will do, in the order of their ids.
    pub(super) fn those(&self, will_do: impl Fn(&Attempt) -> bool) -> Vec<Slot> {
        let mut those: Vec<(&AttemptId, Slot)> =
            self.shelves.iter().flatten().map(|(id, slot)| (id, *slot)).collect();
        those.retain(|(_, slot)| self.at(*slot).is_some_and(&will_do));
        those.sort_unstable();
        those.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Puts slots into the order of the ids that they belong to.
    pub(super) fn sort(&self, slots: &mut [Slot]) {
        let id = |slot: &Slot| self.at(*slot).map(|attempt| &attempt.id);
        slots.sort_unstable_by(|one, other| id(one).cmp(&id(other)));
    }

    fn shelf(&self, run: RunId) -> usize {
        let run = run.as_uuid().as_u64_pair();
        // The golden ratio spreads what differs anywhere over the upper bits.
        let mixed = (run.0 ^ run.1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(mixed).unwrap_or_default() & self.shelves.len().wrapping_sub(1)
    }

    fn add_shelves(&mut self) {
        let more = (self.shelves.len() * 2).max(LEAST_SHELVES);
        let before = std::mem::take(&mut self.shelves);
        self.shelves.resize_with(more, BTreeMap::new);
        for (id, slot) in before.into_iter().flatten() {
            let shelf = self.shelf(id.run);
            self.shelves[shelf].insert(id, slot);
        }
    }
}
