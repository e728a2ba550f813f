//! The steps of a run, or of one group in it, as a unit.

use std::collections::VecDeque;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use skep_protocol::Timestamp;
use skep_workflow::StepIndex;

use super::step::StepState;
use super::{Arena, NodeId, Run, ScopeId};

/// Steps that stop together: those of the run, or of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScopeState {
    /// The group; none for the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<NodeId>,
    /// Its steps lie next to each other in the arena.
    pub(crate) first: NodeId,
    pub(crate) len: u32,
    /// How many are not over.
    pub(crate) open: u32,
    /// The step whose failure decided the scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<NodeId>,
    /// Nothing starts any more, except what cleans up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopping: bool,
    /// Nothing starts earlier.
    pub(crate) not_before: Timestamp,
    /// The step whose failure is the cause of a restart that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restarting: Option<NodeId>,
    /// When steps were started again, as far back as its supervision looks.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(crate) restarts: VecDeque<Timestamp>,
}

impl ScopeState {
    /// Returns where its steps lie.
    pub(crate) fn range(&self) -> Range<NodeId> {
        self.first..NodeId(self.first.0 + self.len)
    }

    /// Returns its steps, in the order of the file.
    pub(crate) fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (self.first.0..self.first.0 + self.len).map(NodeId)
    }
}

impl Run {
    /// Creates the steps of the run (`owner` is none) or of a group, or sets them back.
    pub(super) fn open_scope(&mut self, owner: Option<NodeId>, not_before: Timestamp) -> ScopeId {
        let existing = owner.and_then(|owner| self.node(owner).inner.as_ref()?.scope);
        let id = existing.unwrap_or_else(|| self.create_scope(owner));
        if existing.is_some() {
            self.start_over(&self.scope(id).nodes().collect::<Vec<_>>());
        }
        let scope = self.scope_mut(id);
        scope.open = scope.len;
        scope.failed = None;
        scope.stopping = false;
        scope.not_before = not_before;
        scope.restarting = None;
        scope.restarts.clear();
        // Those of the run are as its plan has them.
        let inside = owner.map(|_| scope.nodes());
        for node in inside.into_iter().flatten() {
            self.begin_anew(node);
        }
        self.supervise_anew(id);
        id
    }

    pub(super) fn create_scope(&mut self, owner: Option<NodeId>) -> ScopeId {
        let id = ScopeId(u32::try_from(self.state.scopes.len()).expect("steps are bounded"));
        let first = self.next_node();
        match owner {
            None => self.state.nodes = Arena::new(self.plan.fresh()),
            Some(owner) => {
                let group = StepIndex::from_u32(self.node(owner).step);
                for step in self.plan.inside(Some(group)) {
                    self.state.nodes.push(StepState::pending(step.as_u32(), id, None));
                }
            }
        }
        let len = self.next_node().0 - first.0;
        let (failed, stopping, not_before) = (None, false, Timestamp::EPOCH);
        let open = len;
        self.state.scopes.push(ScopeState {
            owner,
            first,
            len,
            open,
            failed,
            stopping,
            not_before,
            restarting: None,
            restarts: VecDeque::new(),
        });
        if let Some(owner) = owner {
            self.node_mut(owner).inner.get_or_insert_default().scope = Some(id);
        }
        id
    }

    /// Sets a step of a scope to its beginning.
    pub(super) fn begin_anew(&mut self, id: NodeId) {
        let step = StepIndex::from_u32(self.node(id).step);
        let needs = u32::try_from(self.plan.step(step).needs().len()).expect("edges are bounded");
        let readers = self.plan.readers(step);
        let node = self.node_mut(id);
        node.reset();
        node.needs.open = needs;
        node.readers = readers;
    }

    /// Returns before when a step, or an item of a `for_each`, does not begin.
    pub(crate) fn not_before(&self, id: NodeId) -> Timestamp {
        let node = self.node(id);
        let own = node.item_of.map_or(node, |(fan, _)| self.node(fan)).not_before;
        own.max(self.scope(node.scope).not_before)
    }

    pub(crate) fn next_node(&self) -> NodeId {
        NodeId(u32::try_from(self.state.nodes.len()).expect("steps are bounded"))
    }

    /// Returns how many steps a group or the items of a `for_each` add to the run.
    pub(crate) fn growth(&self, id: NodeId, wanted: usize, items: bool) -> usize {
        match &self.node(id).inner {
            Some(inner) if items => wanted.saturating_sub(inner.items.len()),
            Some(inner) if inner.scope.is_some() => 0,
            Some(_) | None => wanted,
        }
    }
}
