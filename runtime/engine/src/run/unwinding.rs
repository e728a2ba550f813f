//! Unwinding: what was done is made good, in reverse dependency order.
//!
//! A saga as of Garcia-Molina and Salem (1987), over a graph: a step is made good once everything
//! that depends on it is, however far away; what is independent is made good at the same time. A
//! group that completed and has a `compensate` is made good as a unit, any other by what is inside;
//! if it started over after that, first what was done inside since then, then the unit.

mod before;

use serde::{Deserialize, Serialize};
use skep_protocol::{Failure, Payload, StepPath};
use skep_workflow::{Step, StepIndex, StepKind};

use super::apply::Applied;
use super::deed::Deed;
use super::standing::Index;
use super::step::{Phase, StepState};
use super::{NodeId, Run, ScopeId};
use crate::error::FoldError;
use crate::planted::{self, Bug};
use crate::rare::Blank;

/// What the journal says of an unwinding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unwind {
    /// Why the run failed; none if it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

/// How far an unwinding is; follows from the states of the steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unwinding {
    marks: Vec<Mark>,
    /// Compensations that are not over.
    left: u32,
    /// Compensations that failed for good.
    stuck: u32,
}

/// How far one step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    /// Compensations of the step, or of what is inside it, that are not over.
    left: u32,
    /// Dependents of which something is left, or of whose dependents, and so on.
    after: u32,
    /// Nothing is left after it or after what is around it: its turn has come.
    open: bool,
}

impl Blank for Unwinding {
    const BLANK: &'static Self = &Self { marks: Vec::new(), left: 0, stuck: 0 };
}

impl Unwinding {
    /// Returns whether everything was made good.
    pub(crate) const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Returns whether a compensation failed for good.
    pub(crate) const fn is_stuck(&self) -> bool {
        self.stuck > 0
    }
}

impl Run {
    /// Returns whether a step did something after which there is no way back.
    pub(crate) fn is_past_pivot(&self) -> bool {
        self.all_nodes().any(|id| self.node(id).deed.is_some() && self.definition(id).is_pivot())
    }

    /// Returns whether it ends with something done that it did not make good.
    pub(crate) const fn leaves_something(&self) -> bool {
        self.state.acted && self.state.unwind.is_none()
    }

    /// Returns whether anything is there to be made good.
    pub(crate) fn has_deeds(&self) -> bool {
        !self.to_make_good().is_empty()
    }

    /// Returns whether the turn of a compensation has come.
    pub(crate) fn is_open(&self, of: NodeId) -> bool {
        let own = u32::from(self.is_owed(of));
        let mark = self.soft.unwinding.marks.get(of.as_usize());
        mark.is_some_and(|mark| mark.open && mark.left == own)
    }

    /// Returns whether a step has a compensation of its own that is not over.
    fn is_owed(&self, id: NodeId) -> bool {
        self.unit(id).is_some_and(|deed| !deed.settled)
    }

    /// Returns the compensations that failed for good.
    pub(crate) fn stuck(&self) -> impl Iterator<Item = NodeId> {
        self.all_nodes().filter(|id| self.is_stuck(*id))
    }

    /// Returns whether a step is a compensation that failed for good.
    pub(crate) fn is_stuck(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let deed = node.compensates.and_then(|of| self.node(of).deed.as_deref());
        node.phase == Phase::Failed && deed.is_some_and(|deed| !deed.settled)
    }

    /// Returns the compensation that a path means, its own or that of the step it makes good, if it
    /// failed for good.
    pub(crate) fn find_stuck(&self, path: &StepPath) -> Option<NodeId> {
        let id = self.find(path)?;
        let deed = self.node(id).deed.as_deref();
        let compensation = deed.and_then(|deed| deed.compensation).unwrap_or(id);
        self.is_stuck(compensation).then_some(compensation)
    }

    /// Notes that a step did something, or may have.
    pub(super) fn note_deed(&mut self, id: NodeId) {
        let step = self.definition(id);
        let acts = matches!(step.kind(), StepKind::Agent { .. } | StepKind::Workflow { .. });
        self.state.acted |= acts && !self.is_fan(id);
        let (node, step) = (self.node(id), self.definition(id));
        let matters = step.compensate().is_some() || step.is_pivot();
        if !matters || node.compensates.is_some() || self.is_fan(id) {
            return;
        }
        let output = node.output.clone().filter(|_| node.phase == Phase::Completed);
        if node.inner.is_some() {
            self.absorb(id);
        }
        let deed = self.node_mut(id).seldom.deed.get_or_insert_default();
        deed.item = None;
        if output.is_some() {
            deed.output = output;
        }
    }

    /// A group that is made good as a unit completed: that makes good what is inside, too. What
    /// cannot be undone stays.
    fn absorb(&mut self, group: NodeId) {
        let mut inside = self.inside(group);
        while let Some(id) = inside.pop() {
            inside.extend(self.inside(id));
            if !self.definition(id).is_pivot()
                && let Some(seldom) = self.node_mut(id).seldom.there()
            {
                seldom.deed = None;
            }
        }
    }

    /// Another item takes the place of the one for which something was done, by its step or by what
    /// is inside.
    pub(super) fn keep_item(&mut self, id: NodeId, item: &Payload) {
        let mut inside = vec![id];
        while let Some(id) = inside.pop() {
            let node = self.node_mut(id);
            if let Some(deed) = node.seldom.there().and_then(|seldom| seldom.deed.as_mut()) {
                deed.item.get_or_insert_with(|| item.clone());
            }
            // What is inside a `for_each` in there has items of its own.
            let scope = node.inner.as_ref().and_then(|inner| inner.scope);
            inside.extend(scope.iter().flat_map(|scope| self.scope(*scope).nodes()));
        }
    }

    /// Returns the steps to be made good as they stand: those that did something. Of what is inside
    /// a group that is made good as a unit, that is what happened after it completed.
    fn to_make_good(&self) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut open: Vec<NodeId> = self.scope(ScopeId::ROOT).nodes().collect();
        while let Some(id) = open.pop() {
            found.extend(self.unit(id).filter(|deed| !deed.settled).map(|_| id));
            open.extend(self.inside(id));
        }
        found.sort_unstable();
        found
    }

    /// Returns the deed of a step that is made good by a compensation of its own.
    fn unit(&self, id: NodeId) -> Option<&Deed> {
        let deed = self.node(id).deed.as_deref()?;
        self.definition(id).compensate().map(|_| deed)
    }

    /// Returns the items of a step, those of earlier rounds included, or its inner steps.
    fn inside(&self, id: NodeId) -> Vec<NodeId> {
        let Some(inner) = &self.node(id).inner else { return Vec::new() };
        let scope = inner.scope.map(|scope| self.scope(scope).nodes());
        inner.items.iter().copied().chain(scope.into_iter().flatten()).collect()
    }

    pub(super) fn unwind_started(
        &mut self,
        failure: Option<&Failure>,
        index: &mut Index,
    ) -> Applied {
        let under_way = self.scope(ScopeId::ROOT).open > 0;
        if self.state.unwind.is_some() || under_way {
            return self.out_of_place("a second unwinding, or one while steps are under way");
        }
        self.state.unwind = Some(Box::new(Unwind { failure: failure.cloned() }));
        for of in self.to_make_good() {
            let compensation = self.next_node();
            let mut state = StepState::pending(self.node(of).step, self.node(of).scope, None);
            state.seldom.compensates = Some(of);
            self.state.nodes.push(state);
            if let Some(deed) = &mut self.node_mut(of).seldom.deed {
                deed.compensation = Some(compensation);
            }
        }
        self.mark_what_is_left(index);
        self.enqueue_run(index);
        Ok(())
    }

    /// Works out how far the unwinding is, from the states of the steps.
    pub(super) fn mark_what_is_left(&mut self, index: &mut Index) {
        let stuck = self.stuck().count();
        *self.soft.unwinding = Unwinding {
            marks: vec![Mark::default(); self.state.nodes.len()],
            left: 0,
            stuck: u32::try_from(stuck).expect("steps are bounded"),
        };
        self.soft.unwinding.left = self.mark_scope(ScopeId::ROOT);
        self.open_free(self.scope(ScopeId::ROOT).nodes().collect(), index);
    }

    fn mark_scope(&mut self, scope: ScopeId) -> u32 {
        let mut nodes: Vec<NodeId> = self.scope(scope).nodes().collect();
        let left = nodes.iter().map(|id| self.mark(*id)).sum();
        // Dependents before what they depend on.
        nodes.sort_unstable_by_key(|id| std::cmp::Reverse(self.definition(*id).rank()));
        if planted::is(Bug::CompensateForwards) {
            nodes.reverse();
        }
        for id in nodes {
            let first = first_made_good(self.definition(id)).iter();
            let first = first.filter_map(|step| self.in_scope(scope, *step));
            let after = first.filter(|dependent| !self.is_clear(*dependent)).count();
            self.mark_mut(id).after = u32::try_from(after).expect("edges are bounded");
        }
        left
    }

    /// Counts what is left of a step.
    fn mark(&mut self, id: NodeId) -> u32 {
        let scope = self.node(id).inner.as_ref().and_then(|inner| inner.scope);
        let inside = match scope {
            Some(scope) => self.mark_scope(scope),
            None => self.inside(id).into_iter().map(|item| self.mark(item)).sum(),
        };
        let left = inside + u32::from(self.is_owed(id));
        self.mark_mut(id).left = left;
        left
    }

    fn mark_mut(&mut self, id: NodeId) -> &mut Mark {
        &mut self.soft.unwinding.marks[id.as_usize()]
    }

    /// Returns whether nothing is left of a step, nor of anything that depends on it.
    fn is_clear(&self, id: NodeId) -> bool {
        let mark = self.soft.unwinding.marks[id.as_usize()];
        mark.left == 0 && mark.after == 0
    }

    /// Opens those steps after which nothing is left, with what is inside; what is around is open.
    fn open_free(&mut self, steps: Vec<NodeId>, index: &mut Index) {
        let mut steps = steps;
        while let Some(id) = steps.pop() {
            let mark = self.mark_mut(id);
            if mark.after > 0 || mark.left == 0 || mark.open {
                continue;
            }
            mark.open = true;
            self.enqueue_own(id, index);
            steps.extend(self.inside(id));
        }
    }

    /// Has the compensation of a step looked at, if there is one.
    fn enqueue_own(&self, id: NodeId, index: &mut Index) {
        if let Some(compensation) = self.unit(id).and_then(|deed| deed.compensation) {
            self.enqueue(compensation, index);
        }
    }

    /// A compensation is over: what was made good gives way to what it depended on.
    pub(super) fn made_good(&mut self, of: NodeId, index: &mut Index) {
        if let Some(deed) = &mut self.node_mut(of).seldom.deed {
            deed.settled = true;
            deed.output = None;
        }
        self.soft.unwinding.left -= 1;
        let mut at = Some(of);
        while let Some(id) = at {
            self.mark_mut(id).left -= 1;
            self.enqueue_own(id, index);
            let node = self.node(id);
            at = match node.item_of {
                Some((fan, _)) => Some(fan),
                None => {
                    let around = self.scope(node.scope).owner;
                    if self.is_clear(id) {
                        self.cleared(id, index);
                    }
                    around
                }
            };
        }
        self.enqueue_run(index);
    }

    /// Nothing is left of a step and of what depends on it: one thing less is in the way of what it
    /// needs, and of what that needs.
    fn cleared(&mut self, id: NodeId, index: &mut Index) {
        let scope = self.node(id).scope;
        let plan = std::sync::Arc::clone(&self.plan);
        let mut clear = vec![id];
        while let Some(id) = clear.pop() {
            for step in then_made_good(plan.step(self.step_index(id))) {
                let Some(need) = self.in_scope(scope, *step) else { continue };
                let mark = self.mark_mut(need);
                mark.after -= 1;
                match (mark.after, mark.left) {
                    (0, 0) => clear.push(need),
                    (0, _) => self.open_free(vec![need], index),
                    (_, _) => {}
                }
            }
        }
    }

    /// A compensation failed for good.
    pub(super) fn compensation_failed(&mut self, index: &mut Index) {
        self.soft.unwinding.stuck += 1;
        self.enqueue_run(index);
    }

    pub(super) fn stuck_noted(&mut self, id: NodeId) -> Applied {
        let of = self.node(id).compensates.filter(|_| self.is_stuck(id));
        let Some(of) = of else { return self.out_of_place("a compensation that did not fail") };
        if let Some(deed) = &mut self.node_mut(of).seldom.deed {
            deed.stuck = true;
        }
        Ok(())
    }

    /// An operator has a compensation that failed for good tried again.
    pub(super) fn compensation_again(&mut self, id: NodeId, index: &mut Index) -> Applied {
        self.unstuck(id)?;
        self.change(id, index, StepState::reset);
        self.enqueue(id, index);
        Ok(())
    }

    /// An operator takes a compensation that failed for good as done.
    pub(super) fn compensation_skipped(&mut self, id: NodeId, index: &mut Index) -> Applied {
        let of = self.unstuck(id)?;
        self.made_good(of, index);
        Ok(())
    }

    fn unstuck(&mut self, id: NodeId) -> Result<NodeId, FoldError> {
        let of = self.node(id).compensates.filter(|_| self.is_stuck(id));
        let Some(of) = of else {
            let what = "a compensation that did not fail";
            return Err(FoldError::OutOfPlace { run: self.id(), what });
        };
        if let Some(deed) = &mut self.node_mut(of).seldom.deed {
            deed.stuck = false;
        }
        self.soft.unwinding.stuck -= 1;
        Ok(of)
    }
}

/// Returns the steps that are made good before a step: those that depend on it.
fn first_made_good(step: &Step) -> &[StepIndex] {
    if planted::is(Bug::CompensateForwards) { step.needs() } else { step.dependents() }
}

/// Returns the steps that are made good after a step: those that it depends on.
fn then_made_good(step: &Step) -> &[StepIndex] {
    if planted::is(Bug::CompensateForwards) { step.dependents() } else { step.needs() }
}
