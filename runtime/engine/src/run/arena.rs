//! The steps of a run, by their numbers.
//!
//! Before anything happens to a step, it is as every other run of its workflow has it: such a step
//! is not kept, so that a run that waits for its turn takes the same memory however many steps it
//! has.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skep_protocol::limits::MAX_STEPS_PER_RUN;

use super::NodeId;
use super::step::StepState;

/// The steps of a run: those of its top level first, then what came into being inside of it.
#[derive(Debug, Clone)]
pub(crate) struct Arena {
    /// The top level, as it is at the beginning.
    fresh: Arc<[StepState]>,
    /// None for a step of the top level that is as it was; so are those behind the last one here.
    /// Shared with copies of the run until they change.
    steps: Vec<Option<Arc<StepState>>>,
}

impl Arena {
    /// Creates the steps of a run that begins.
    pub(super) fn new(fresh: &Arc<[StepState]>) -> Self {
        Self { fresh: Arc::clone(fresh), steps: Vec::new() }
    }

    /// Completes steps that were read with those of the top level that are as they were at the
    /// beginning.
    ///
    /// # Errors
    /// Steps that are not of the top level are missing.
    pub(super) fn settle(&mut self, fresh: &Arc<[StepState]>) -> Result<(), &'static str> {
        let top = fresh.len().min(self.steps.len());
        if top < fresh.len() || self.steps[top..].iter().any(Option::is_none) {
            return Err("steps are missing");
        }
        self.fresh = Arc::clone(fresh);
        for at in 0..top {
            if self.is_fresh(at) {
                self.steps[at] = None;
            }
        }
        let used = self.steps.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.steps.truncate(used);
        self.steps.shrink_to_fit();
        Ok(())
    }

    /// Returns whether a step of the top level is as it was at the beginning.
    fn is_fresh(&self, at: usize) -> bool {
        let kept = self.steps.get(at).and_then(Option::as_deref);
        kept.is_none_or(|step| self.fresh.get(at).is_some_and(|fresh| step == fresh))
    }

    pub(crate) fn len(&self) -> usize {
        self.steps.len().max(self.fresh.len())
    }

    pub(super) fn push(&mut self, step: StepState) {
        self.extend_to(self.fresh.len());
        self.steps.push(Some(Arc::new(step)));
    }

    /// Makes places for at least so many steps, and for no more of a run that has few.
    fn extend_to(&mut self, len: usize) {
        if self.steps.len() < len {
            if self.steps.is_empty() {
                self.steps.reserve_exact(len);
            }
            self.steps.resize_with(len, || None);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &StepState> {
        (0..self.len()).map(|at| self.at(at))
    }

    /// Returns the steps to which something happened.
    pub(super) fn changed(&self) -> impl Iterator<Item = &StepState> {
        self.steps.iter().filter_map(Option::as_deref)
    }

    /// Returns the same, with their numbers.
    pub(super) fn changed_mut(&mut self) -> impl Iterator<Item = (usize, &mut StepState)> {
        let steps = self.steps.iter_mut().enumerate();
        steps.filter_map(|(at, step)| Some((at, Arc::make_mut(step.as_mut()?))))
    }

    fn at(&self, at: usize) -> &StepState {
        let step = self.steps.get(at).and_then(Option::as_deref);
        step.unwrap_or_else(|| &self.fresh[at])
    }
}

impl Index<NodeId> for Arena {
    type Output = StepState;

    fn index(&self, id: NodeId) -> &StepState {
        self.at(id.as_usize())
    }
}

impl IndexMut<NodeId> for Arena {
    fn index_mut(&mut self, id: NodeId) -> &mut StepState {
        let at = id.as_usize();
        self.extend_to(at + 1);
        let step = self.steps[at].get_or_insert_with(|| Arc::new(self.fresh[at].clone()));
        Arc::make_mut(step)
    }
}

/// A list of steps, in which a number stands for so many that are as they were at the beginning.
impl Serialize for Arena {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut fresh = 0_usize;
        for at in 0..self.len() {
            if self.is_fresh(at) {
                fresh += 1;
                continue;
            }
            if fresh > 0 {
                list.serialize_element(&std::mem::take(&mut fresh))?;
            }
            list.serialize_element(self.at(at))?;
        }
        if fresh > 0 {
            list.serialize_element(&fresh)?;
        }
        list.end()
    }
}

/// One entry of the list.
enum Entry {
    Fresh(usize),
    Step(Box<StepState>),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a step, or a number of steps")
            }

            fn visit_u64<E: de::Error>(self, fresh: u64) -> Result<Entry, E> {
                Ok(Entry::Fresh(usize::try_from(fresh).unwrap_or(usize::MAX)))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let step = StepState::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Entry::Step(Box::new(step)))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Arena {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut steps: Vec<Option<Arc<StepState>>> = Vec::new();
        let mut left = MAX_STEPS_PER_RUN;
        for entry in Vec::<Entry>::deserialize(deserializer)? {
            match entry {
                Entry::Fresh(more) => {
                    let none_left = || de::Error::custom("a run has not so many steps");
                    left = left.checked_sub(more).ok_or_else(none_left)?;
                    steps.resize_with(steps.len() + more, || None);
                }
                Entry::Step(step) => steps.push(Some(Arc::from(step))),
            }
        }
        Ok(Self { fresh: Arc::default(), steps })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ScopeId;
    use super::super::step::Phase;
    use super::*;

    fn step(number: u32) -> StepState {
        StepState::pending(number, ScopeId::ROOT, None)
    }

    fn kept(arena: &Arena) -> Vec<bool> {
        arena.steps.iter().map(Option::is_some).collect()
    }

    #[test]
    fn only_what_changed_is_kept_and_stored() {
        let fresh: Arc<[StepState]> = (0..3).map(step).collect();
        let mut arena = Arena::new(&fresh);
        assert_eq!(serde_json::to_string(&arena).unwrap(), "[3]");
        arena[NodeId(1)].phase = Phase::Completed;
        assert_eq!((kept(&arena), arena.len()), (vec![false, true], 3));
        arena.push(step(0));
        // As it was, but not known to be.
        arena[NodeId(2)].readers = 0;
        assert_eq!(kept(&arena), [false, true, true, true]);
        assert_eq!((arena[NodeId(1)].step, arena[NodeId(2)].step, arena.len()), (1, 2, 4));

        let stored = serde_json::to_value(&arena).unwrap();
        let of = |step: &StepState| serde_json::to_value(step).unwrap();
        let list = [1.into(), of(&arena[NodeId(1)]), 1.into(), of(&step(0))];
        assert_eq!(stored, serde_json::Value::from(list.to_vec()));
        let mut read: Arena = serde_json::from_value(stored.clone()).unwrap();
        read.settle(&fresh).unwrap();
        assert_eq!(kept(&read), [false, true, false, true]);
        assert_eq!(serde_json::to_value(&read).unwrap(), stored);
    }

    #[test]
    fn what_was_stored_with_all_its_steps_is_read() {
        let fresh: Arc<[StepState]> = (0..3).map(step).collect();
        let all = serde_json::to_string(&fresh[..]).unwrap();
        let mut read: Arena = serde_json::from_str(&all).unwrap();
        read.settle(&fresh).unwrap();
        assert_eq!((kept(&read), read.len()), (Vec::new(), 3));
    }

    #[test]
    fn steps_that_nobody_knows_are_refused() {
        let fresh: Arc<[StepState]> = (0..3).map(step).collect();
        for missing in ["[4]", "[2]", "[3,1]", "[]"] {
            let mut read: Arena = serde_json::from_str(missing).unwrap();
            assert_eq!(read.settle(&fresh), Err("steps are missing"), "{missing}");
        }
        let many = format!("[{MAX_STEPS_PER_RUN},1]");
        for wrong in [many.as_str(), "[-1]", "[1.5]", "[true]", "[[]]"] {
            serde_json::from_str::<Arena>(wrong).unwrap_err();
        }
    }
}
