//! The attempts that are tracked, each in a slot of its own. Whatever points to one holds its slot,
//! a small number, so that an id is looked up once: where it comes in.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use skep_protocol::AttemptId;

use super::attempt::Attempt;

/// As many ids as a shelf has on average before there are twice as many shelves. The tests have few
/// ids: they begin with one shelf, so that it is divided often.
const PER_SHELF: usize = 8;
const LEAST_SHELVES: usize = if cfg!(test) { 1 } else { 16 };
/// With more shelves than this, what is not needed any more is given back.
const LARGE: usize = if cfg!(test) { 2 } else { 4_096 };
/// The part of a hash by which a shelf is in order; in the tests, many have the same.
const TAGS: u32 = if cfg!(test) { 1 } else { u32::MAX };

/// Where a tracked attempt is in the register, for as long as it is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(u32);

impl Slot {
    const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// Where an id is in its shelf: what it is sorted by first, and whose it is.
type Mark = (u32, Slot);

/// The attempts that are tracked.
///
/// **Invariant:** nothing keeps the slot of an attempt that is not tracked any more, for the next
/// one may have it.
#[derive(Debug)]
pub(super) struct Register {
    /// Each in a place of its own: they are large, and most of the time there are few.
    slots: Vec<Option<Box<Attempt>>>,
    free: Vec<Slot>,
    /// By the hash of their steps. Those of one shelf are in order, by the rest of the hash and by
    /// their ids: whoever makes up runs that all belong on the same one has eight bytes moved for
    /// each.
    shelves: Vec<Vec<Mark>>,
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
        let hash = hash_of(id);
        let shelf = self.shelves.get(self.shelf(hash))?;
        Some(shelf[self.place(shelf, hash, id).ok()?].1)
    }

    /// Returns the same, and finds it at once if it is asked for again next.
    pub(super) fn find(&mut self, id: &AttemptId) -> Option<Slot> {
        let again = self.last.filter(|slot| self.at(*slot).is_some_and(|known| known.id() == id));
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
        self.slots.get(slot.as_usize())?.as_deref()
    }

    pub(super) fn at_mut(&mut self, slot: Slot) -> Option<&mut Attempt> {
        self.slots.get_mut(slot.as_usize())?.as_deref_mut()
    }

    /// Adds an attempt that is not tracked.
    pub(super) fn insert(&mut self, attempt: Box<Attempt>) -> Slot {
        if self.len >= self.shelves.len() * PER_SHELF {
            self.add_shelves();
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot(u32::try_from(self.slots.len() - 1).expect("attempts are bounded by memory"))
        });
        let hash = hash_of(attempt.id());
        let shelf = self.shelf(hash);
        let place = self.place(&self.shelves[shelf], hash, attempt.id());
        self.shelves[shelf].insert(place.unwrap_or_else(|place| place), (tag(hash), slot));
        self.slots[slot.as_usize()] = Some(attempt);
        self.len += 1;
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Box<Attempt>> {
        let hash = hash_of(self.at(slot)?.id());
        let shelf = self.shelf(hash);
        let place = self.place(&self.shelves[shelf], hash, self.at(slot)?.id());
        self.shelves[shelf].remove(place.ok()?);
        let attempt = self.slots.get_mut(slot.as_usize())?.take()?;
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
        let hash = hash_of(id);
        let shelf = self.shelves.get(self.shelf(hash)).map_or(&[][..], Vec::as_slice);
        let next = match self.place(shelf, hash, id) {
            Ok(at) => at + 1,
            Err(at) => at,
        };
        let others = shelf[next..].iter().filter_map(|(_, slot)| Some((*slot, self.at(*slot)?)));
        others.take_while(move |(_, other)| is_of_step(other.id(), id))
    }

    /// Returns all attempts, in no order that means anything.
    pub(super) fn all(&self) -> impl Iterator<Item = &Attempt> {
        self.slots.iter().flatten().map(|attempt| &**attempt)
    }

    /// Returns the slots of those attempts that will do, in the order of their ids.
    pub(super) fn those(&self, will_do: impl Fn(&Attempt) -> bool) -> Vec<Slot> {
        let all = self.shelves.iter().flatten();
        let mut those: Vec<(&AttemptId, Slot)> = all
            .filter_map(|(_, slot)| Some((self.at(*slot)?, *slot)))
            .filter(|(attempt, _)| will_do(attempt))
            .map(|(attempt, slot)| (attempt.id(), slot))
            .collect();
        those.sort_unstable();
        those.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Puts slots into the order of the ids that they belong to.
    pub(super) fn sort(&self, slots: &mut [Slot]) {
        let id = |slot: &Slot| self.at(*slot).map(|attempt| attempt.id());
        slots.sort_unstable_by(|one, other| id(one).cmp(&id(other)));
    }

    const fn shelf(&self, hash: u64) -> usize {
        hash as usize & self.shelves.len().wrapping_sub(1)
    }

    /// Returns where an id is in its shelf, or would be.
    fn place(&self, shelf: &[Mark], hash: u64, id: &AttemptId) -> Result<usize, usize> {
        shelf.binary_search_by(|(other, slot)| {
            let by_id = || self.at(*slot).map(Attempt::id).cmp(&Some(id));
            other.cmp(&tag(hash)).then_with(by_id)
        })
    }

    fn add_shelves(&mut self) {
        let more = (self.shelves.len() * 2).max(LEAST_SHELVES);
        let before = std::mem::take(&mut self.shelves);
        self.shelves.resize_with(more, Vec::new);
        for (tag, slot) in before.into_iter().flatten() {
            let Some(attempt) = self.at(slot) else { continue };
            // What was in order stays so: a shelf is divided into two.
            let shelf = self.shelf(hash_of(attempt.id()));
            self.shelves[shelf].push((tag, slot));
        }
    }
}

/// Attempts of one step have the same: they stand next to each other, in order.
fn hash_of(id: &AttemptId) -> u64 {
    FixedState::default().hash_one((id.run, &id.step))
}

/// Returns the part of a hash that does not choose the shelf.
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & TAGS
}

fn is_of_step(one: &AttemptId, other: &AttemptId) -> bool {
    (one.run, &one.step) == (other.run, &other.step)
}
