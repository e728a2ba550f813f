//! Outputs leave memory when their last reader is over.

use std::sync::Arc;

use super::{NodeId, Run};

impl Run {
    /// Takes note that a step of a scope is over and reads nothing any more.
    pub(super) fn release_reads(&mut self, id: NodeId) {
        let scope = self.node(id).scope;
        let plan = Arc::clone(&self.plan);
        for step in plan.reads(self.step_index(id)) {
            if let Some(read) = self.in_scope(scope, *step) {
                let node = self.node_mut(read);
                node.readers = node.readers.saturating_sub(1);
                if node.readers == 0 && node.phase.is_final() {
                    self.release(read);
                }
            }
        }
    }

    /// Drops the output of a step that is over, with all that is inside, unless somebody may read
    /// it yet.
    pub(super) fn release(&mut self, id: NodeId) {
        if self.is_retained(id) || self.node(id).released {
            return;
        }
        let node = self.node_mut(id);
        node.released = true;
        node.output = None;
        let inner = node.inner.as_ref();
        let items = inner.map(|inner| inner.items[..inner.used].to_vec()).unwrap_or_default();
        let scope = inner.and_then(|inner| inner.scope);
        for item in items {
            self.release(item);
        }
        if let Some(scope) = scope {
            for node in self.scope(scope).nodes() {
                self.release(node);
            }
        }
    }

    /// Returns whether the output of a step may be read yet.
    fn is_retained(&self, id: NodeId) -> bool {
        let node = self.node(id);
        if !node.phase.is_final() {
            return true;
        }
        if let Some((fan, _)) = node.item_of {
            return self.keeps_what_is_inside(fan);
        }
        node.readers > 0
            || self.supervision(node.scope).is_some()
            || self.plan.keeps(self.step_index(id))
            || self.definition(id).outputs_read()
            || self.scope(node.scope).owner.is_some_and(|owner| self.keeps_what_is_inside(owner))
    }

    /// Returns whether what is inside a step is part of something that may be read yet.
    fn keeps_what_is_inside(&self, id: NodeId) -> bool {
        self.plan.wanted(self.step_index(id)) && !self.node(id).released
    }
}
