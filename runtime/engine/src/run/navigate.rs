//! From paths to steps and back; from steps to their neighbours.

use skep_protocol::StepPath;
use skep_workflow::{Step, StepIndex};

use super::{NodeId, Run, ScopeId};

impl Run {
    /// Returns the step of the workflow behind a step of the run.
    pub(crate) fn definition(&self, id: NodeId) -> &Step {
        self.plan.step(self.step_index(id))
    }

    pub(crate) fn step_index(&self, id: NodeId) -> StepIndex {
        StepIndex::from_u32(self.node(id).step)
    }

    /// Returns whether this is a `for_each` as a whole.
    pub(crate) fn is_fan(&self, id: NodeId) -> bool {
        self.node(id).item_of.is_none() && self.definition(id).for_each().is_some()
    }

    /// Returns the path of a step.
    pub(crate) fn path(&self, id: NodeId) -> StepPath {
        let node = self.node(id);
        if let Some(of) = node.compensates {
            return self.path(of).compensation();
        }
        let name = self.definition(id).id().as_str();
        let path = match self.scope(node.scope).owner {
            Some(owner) => self.path(owner).inner(name),
            None => StepPath::new(name),
        };
        match node.item_of {
            Some((_, index)) => path.item(index),
            None => path,
        }
    }

    /// Returns the step at a path.
    pub(crate) fn find(&self, path: &StepPath) -> Option<NodeId> {
        // Most steps are neither inside anything nor a compensation.
        if !path.as_str().bytes().any(|byte| matches!(byte, b'/' | b']' | b'~')) {
            return self.in_scope(ScopeId::ROOT, self.plan.workflow().find(path.as_str())?);
        }
        if let Some(of) = path.compensated() {
            // No step has such a name, so there is no compensation of one either.
            if of.compensated().is_some() {
                return None;
            }
            return self.node(self.find(&of)?).deed.as_ref()?.compensation;
        }
        let mut scope = ScopeId::ROOT;
        let mut segments = path.as_str().split('/');
        loop {
            let (name, item) = segment(segments.next()?)?;
            let step = self.plan.workflow().find(name)?;
            let mut id = self.in_scope(scope, step)?;
            if let Some(index) = item {
                // Those beyond the ones in use are left from an earlier round; they may have
                // to be made good.
                id = *self.node(id).inner.as_ref()?.items.get(index as usize)?;
            }
            if segments.clone().next().is_none() {
                return Some(id);
            }
            scope = self.node(id).inner.as_ref()?.scope?;
        }
    }

    /// Returns the step of the run for a step of the workflow that lives in `scope`.
    pub(crate) fn in_scope(&self, scope: ScopeId, step: StepIndex) -> Option<NodeId> {
        let scope = self.scope(scope);
        let id = NodeId(scope.first.0 + self.plan.slot(step));
        let fits = self.plan.slot(step) < scope.len && self.node(id).step == step.as_u32();
        fits.then_some(id)
    }

    /// Returns the step of the run that `step` means to somebody in `scope`: the nearest one.
    pub(crate) fn visible_from(&self, mut scope: ScopeId, step: StepIndex) -> Option<NodeId> {
        let home = self.plan.step(step).parent();
        loop {
            let state = self.scope(scope);
            if state.owner.map(|owner| self.step_index(owner)) == home {
                return self.in_scope(scope, step);
            }
            scope = self.node(state.owner?).scope;
        }
    }

    /// Returns the items of a `for_each` that are in use, in order.
    pub(crate) fn items_of(&self, id: NodeId) -> &[NodeId] {
        let Some(inner) = &self.node(id).inner else { return &[] };
        &inner.items[..inner.used.min(inner.items.len())]
    }

    /// Returns the items of a `for_each`, those of earlier rounds included, in order.
    pub(crate) fn all_items_of(&self, id: NodeId) -> &[NodeId] {
        self.node(id).inner.as_ref().map_or(&[], |inner| &inner.items)
    }

    /// Returns the innermost item around a step, the step itself included.
    pub(crate) fn nearest_item(&self, mut id: NodeId) -> Option<(NodeId, u32)> {
        loop {
            let node = self.node(id);
            if let Some((_, index)) = node.item_of {
                return Some((id, index));
            }
            id = self.scope(node.scope).owner?;
        }
    }

    /// Returns whether a step is over. What is left from an earlier round of a group is, too.
    pub(crate) fn is_over(&self, id: NodeId) -> bool {
        self.node(id).phase.is_final()
    }
}

/// Reads a part of a path: the name of a step, and which of its items is meant.
pub(super) fn segment(text: &str) -> Option<(&str, Option<u32>)> {
    let Some(rest) = text.strip_suffix(']') else { return Some((text, None)) };
    let (name, index) = rest.split_once('[')?;
    Some((name, Some(item_index(index)?)))
}

/// Reads the index of an item; a path is written in one way only.
fn item_index(text: &str) -> Option<u32> {
    let plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| plain)
}
