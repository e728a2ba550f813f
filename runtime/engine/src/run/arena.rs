//! The steps of a run, by their numbers.
//!
//! Before anything happens to a step, it is as every other run of its workflow has it: such a step
//! is not kept, so that a run that waits for its turn takes the same memory however many steps it
//! has.

use std::ops::{Index, IndexMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::NodeId;
use super::step::StepState;

/// The steps of a run: those of its top level first, then what came into being inside of it.
#[derive(Debug, Clone, Default)]
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

    /// Keeps no steps of the top level that are as they were at the beginning.
    pub(super) fn settle(&mut self, fresh: &Arc<[StepState]>) {
        if self.fresh.is_empty() && self.steps.len() >= fresh.len() {
            self.fresh = Arc::clone(fresh);
            for (step, fresh) in self.steps.iter_mut().zip(&*self.fresh) {
                if step.as_deref() == Some(fresh) {
                    *step = None;
                }
            }
            let used = self.steps.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            self.steps.truncate(used);
            self.steps.shrink_to_fit();
        }
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

impl Serialize for Arena {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Arena {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let steps: Vec<Arc<StepState>> = Vec::deserialize(deserializer)?;
        Ok(Self { fresh: Arc::default(), steps: steps.into_iter().map(Some).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ScopeId;
    use super::super::step::Phase;
    use super::*;

    #[test]
    fn only_what_changed_is_kept_and_all_of_it_is_stored() {
        let step = |number| StepState::pending(number, ScopeId::ROOT, None);
        let fresh: Arc<[StepState]> = (0..3).map(step).collect();
        let mut arena = Arena::new(&fresh);
        arena[NodeId(1)].phase = Phase::Completed;
        let kept = |arena: &Arena| arena.steps.iter().map(Option::is_some).collect::<Vec<_>>();
        assert_eq!((kept(&arena), arena.len()), (vec![false, true], 3));
        arena.push(step(0));
        assert_eq!(kept(&arena), [false, true, false, true]);
        assert_eq!((arena[NodeId(1)].step, arena[NodeId(2)].step, arena.len()), (1, 2, 4));

        let stored = serde_json::to_string(&arena).unwrap();
        let mut read: Arena = serde_json::from_str(&stored).unwrap();
        assert_eq!(kept(&read), [true; 4]);
        read.settle(&fresh);
        assert_eq!(kept(&read), [false, true, false, true]);
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    }
}
