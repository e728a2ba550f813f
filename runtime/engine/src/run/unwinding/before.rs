//! What is made good before a step, told to people.

use std::collections::{BTreeSet, VecDeque};

use super::{NodeId, Run, first_made_good};

impl Run {
    /// Returns a compensation that comes before that of a step and is not over: of what is inside
    /// it, or of what depends on it or on what is around it; the nearest one.
    pub(crate) fn made_good_before(&self, of: NodeId) -> Option<NodeId> {
        let inside = self.inside(of).into_iter().find_map(|id| self.first_owed(id));
        let before = inside.or_else(|| self.owed_after(of))?;
        self.unit(before)?.compensation
    }

    /// Returns the first step that is made good by itself: this one, or one inside it.
    fn first_owed(&self, id: NodeId) -> Option<NodeId> {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if self.soft.unwinding.marks[id.as_usize()].left == 0 {
                continue;
            }
            if self.is_owed(id) {
                return Some(id);
            }
            open.extend(self.inside(id).into_iter().rev());
        }
        None
    }

    /// Returns the first step to be made good of those that depend on a step, or on what is around.
    fn owed_after(&self, of: NodeId) -> Option<NodeId> {
        let mut around = Some(of);
        while let Some(id) = around {
            let node = self.node(id);
            around = match node.item_of {
                Some((fan, _)) => Some(fan),
                None => match self.owed_dependent(id) {
                    Some(found) => return Some(found),
                    None => self.scope(node.scope).owner,
                },
            };
        }
        None
    }

    fn owed_dependent(&self, id: NodeId) -> Option<NodeId> {
        let scope = self.node(id).scope;
        let (mut next, mut seen) = (VecDeque::from([id]), BTreeSet::new());
        while let Some(id) = next.pop_front() {
            let dependents = first_made_good(self.definition(id)).iter();
            for dependent in dependents.filter_map(|step| self.in_scope(scope, *step)) {
                if self.is_clear(dependent) || !seen.insert(dependent) {
                    continue;
                }
                if let Some(owed) = self.first_owed(dependent) {
                    return Some(owed);
                }
                next.push_back(dependent);
            }
        }
        None
    }
}
