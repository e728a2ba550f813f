//! What a run keeps of the one that it does over: facts that come before any step begins.
//!
//! A step that is kept is as it was there, with everything inside it. One that runs again keeps
//! the numbers of its attempts, so that fencing tokens go on rising, and what it did or may have
//! done, so that an unwinding makes that good. What is inside a step that has not begun looks like
//! what is left from an earlier round of a group.

use skep_protocol::{StepKept, StepPath, StepStatus, Timestamp};

use super::apply::Applied;
use super::deed::{Before, Deed};
use super::standing::Index;
use super::step::{Phase, StepState};
use super::{NodeId, Run, ScopeId};

impl Run {
    /// Returns how many facts of the run before are still to come, before any step begins.
    pub(crate) fn to_keep(&self) -> u32 {
        let facts = self.state.started.retry().as_ref().map_or(0, |retry| retry.facts);
        facts.saturating_sub(self.state.kept)
    }

    /// Counts a fact of the run before; after the last of them steps begin.
    pub(super) fn fact_kept(&mut self, index: &mut Index) {
        self.state.kept += 1;
        if self.to_keep() == 0 {
            for id in self.all_nodes().filter(|id| !self.is_over(*id)) {
                self.enqueue(id, index);
            }
        }
        self.enqueue_run(index);
    }

    pub(super) fn step_kept(
        &mut self,
        event: &StepKept,
        at: Timestamp,
        index: &mut Index,
    ) -> Applied {
        let place = if self.to_keep() > 0 { self.make_room_for(&event.step) } else { None };
        let Some(id) = place.filter(|id| self.bears(*id, event)) else {
            return self.out_of_place("a step that is kept where there is none to keep");
        };
        let node = self.node_mut(id);
        node.attempt = event.attempt;
        if event.origin != node.origin {
            node.seldom.origin = event.origin;
        }
        if event.status == StepStatus::Pending {
            let output = event.output.clone();
            let before = output.is_some().then(|| Box::new(Before { output, items: 0 }));
            if before != node.before {
                node.seldom.before = before;
            }
        } else {
            node.began = Some(at).into();
            node.output = event.output.clone();
        }
        if let Some(items) = event.items {
            self.make_items(id, items);
            self.node_mut(id).seldom.inner.get_or_insert_default().used = items as usize;
        }
        if let Some(item) = event.item.as_ref().filter(|_| self.keeps_item(id, event)) {
            self.state.items.insert(id, item.clone());
        }
        if event.deed {
            let runs_again = event.status == StepStatus::Pending;
            let (output, item) = (event.output.clone(), event.item.clone());
            let item = item.filter(|_| runs_again);
            self.node_mut(id).seldom.deed =
                Some(Box::new(Deed { output, item, ..Deed::default() }));
        }
        match phase(event.status) {
            Some(phase) if self.is_awaited(id) => self.end(id, phase, index)?,
            Some(phase) => self.node_mut(id).phase = phase,
            None => {}
        }
        self.fact_kept(index);
        Ok(())
    }

    /// Returns whether a step is where a fact of the run before can be told of it.
    fn bears(&self, id: NodeId, event: &StepKept) -> bool {
        let node = self.node(id);
        let fresh = match self.is_awaited(id) {
            true => node.phase == Phase::Pending,
            false => node.phase == Phase::Cancelled,
        };
        let ends = event.status.is_final() || event.status == StepStatus::Pending;
        let items = event.items.is_none() || self.is_fan(id);
        let growth = event.items.map_or(0, |items| self.growth(id, items as usize, true));
        fresh && ends && items && self.has_room(growth)
    }

    fn keeps_item(&self, id: NodeId, event: &StepKept) -> bool {
        let keeps = event.status.is_final() && self.plan.keeps_items(self.step_index(id));
        keeps && self.node(id).item_of.is_some()
    }

    /// Returns whether the end of a step matters to what is around it: it is one of the run itself,
    /// or an item of a `for_each` that goes on.
    fn is_awaited(&self, id: NodeId) -> bool {
        let node = self.node(id);
        match node.item_of {
            Some((fan, _)) => self.node(fan).phase.progress().is_some(),
            None => node.scope == ScopeId::ROOT,
        }
    }

    /// Finds a step, and makes those around it that do not exist yet.
    fn make_room_for(&mut self, path: &StepPath) -> Option<NodeId> {
        if path.compensated().is_some() {
            return None;
        }
        let mut scope = ScopeId::ROOT;
        let mut segments = path.as_str().split('/').peekable();
        loop {
            let (name, item) = super::navigate::segment(segments.next()?)?;
            let step = self.plan.workflow().find(name)?;
            let mut id = self.in_scope(scope, step)?;
            if let Some(item) = item {
                if !self.is_fan(id) || !self.has_room(self.growth(id, item as usize + 1, true)) {
                    return None;
                }
                self.make_items(id, item + 1);
                id = self.node(id).inner.as_ref()?.items[item as usize];
            } else if segments.peek().is_some() && self.is_fan(id) {
                return None;
            }
            if segments.peek().is_none() {
                return Some(id);
            }
            scope = self.make_scope(id)?;
        }
    }

    fn has_room(&self, growth: usize) -> bool {
        let limit = skep_protocol::limits::MAX_STEPS_PER_RUN;
        let limit = limit.max(self.plan.workflow().steps().len());
        self.state.nodes.len().saturating_add(growth) <= limit
    }

    /// Makes the items of a `for_each` that did not begin, up to a number of them.
    fn make_items(&mut self, fan: NodeId, items: u32) {
        let (step, scope) = (self.node(fan).step, self.node(fan).scope);
        let known = self.node(fan).inner.as_ref().map_or(0, |inner| inner.items.len());
        for index in u32::try_from(known).expect("items are bounded")..items {
            let id = self.next_node();
            let mut item = StepState::pending(step, scope, Some((fan, index)));
            item.phase = Phase::Cancelled;
            self.state.nodes.push(item);
            self.node_mut(fan).seldom.inner.get_or_insert_default().items.push(id);
        }
    }

    /// Makes the steps of a group that did not begin.
    fn make_scope(&mut self, group: NodeId) -> Option<ScopeId> {
        if let Some(scope) = self.node(group).inner.as_ref().and_then(|inner| inner.scope) {
            return Some(scope);
        }
        let inside = self.definition(group).children().len();
        if inside == 0 || !self.has_room(inside) {
            return None;
        }
        let scope = self.create_scope(group);
        self.scope_mut(scope).open = 0;
        for id in self.scope(scope).nodes() {
            self.node_mut(id).phase = Phase::Cancelled;
        }
        Some(scope)
    }
}

/// Returns where a step is that ended like this; none if it runs again.
fn phase(status: StepStatus) -> Option<Phase> {
    match status {
        StepStatus::Completed => Some(Phase::Completed),
        StepStatus::Failed => Some(Phase::Failed),
        StepStatus::Skipped => Some(Phase::Skipped { tainted: false }),
        StepStatus::Cancelled => Some(Phase::Cancelled),
        StepStatus::Pending | StepStatus::Scheduled | StepStatus::Running | StepStatus::Waiting => {
            None
        }
    }
}
