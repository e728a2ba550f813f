//! The steps of a run, or of one group in it, as a unit.

use std::collections::VecDeque;
use std::iter;
use std::ops::{Index, IndexMut, Range};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skep_protocol::Timestamp;
use skep_workflow::StepIndex;

use super::step::{StepState, is_default};
use super::{NodeId, Run, ScopeId};
use crate::rare::Rare;

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
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) restarts: Rare<VecDeque<Timestamp>>,
}

impl ScopeState {
    fn new(owner: Option<NodeId>, first: NodeId, len: u32) -> Self {
        Self {
            owner,
            first,
            len,
            open: len,
            failed: None,
            stopping: false,
            not_before: Timestamp::EPOCH,
            restarting: None,
            restarts: Rare::default(),
        }
    }

    /// Returns where its steps lie.
    pub(crate) fn range(&self) -> Range<NodeId> {
        self.first..NodeId(self.first.0 + self.len)
    }

    /// Returns its steps, in the order of the file.
    pub(crate) fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (self.first.0..self.first.0 + self.len).map(NodeId)
    }
}

/// The scopes of a run: that of its top level, and one for each group. Stored as a list.
#[derive(Debug, Clone)]
pub(crate) struct Scopes {
    root: ScopeState,
    groups: Rare<Vec<ScopeState>>,
}

impl Scopes {
    /// Creates the scope of the top level, with so many steps.
    pub(super) fn new(len: usize) -> Self {
        let len = u32::try_from(len).expect("steps are bounded");
        Self { root: ScopeState::new(None, NodeId(0), len), groups: Rare::default() }
    }

    pub(crate) fn len(&self) -> usize {
        1 + self.groups.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ScopeState> {
        iter::once(&self.root).chain(&*self.groups)
    }

    pub(super) fn get(&self, id: ScopeId) -> Option<&ScopeState> {
        match id.0.checked_sub(1) {
            None => Some(&self.root),
            Some(group) => self.groups.get(group as usize),
        }
    }
}

impl Index<ScopeId> for Scopes {
    type Output = ScopeState;

    fn index(&self, id: ScopeId) -> &ScopeState {
        self.get(id).expect("a scope stays for as long as its run")
    }
}

impl IndexMut<ScopeId> for Scopes {
    fn index_mut(&mut self, id: ScopeId) -> &mut ScopeState {
        match id.0.checked_sub(1) {
            None => &mut self.root,
            Some(group) => &mut self.groups[group as usize],
        }
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut scopes = VecDeque::<ScopeState>::deserialize(deserializer)?;
        let root = scopes.pop_front().ok_or_else(|| D::Error::custom("a run has no steps"))?;
        Ok(Self { root, groups: Vec::from(scopes).into() })
    }
}

impl Run {
    /// Creates the steps of a group, or sets them back.
    pub(super) fn open_scope(&mut self, owner: NodeId, not_before: Timestamp) -> ScopeId {
        let existing = self.node(owner).inner.as_ref().and_then(|inner| inner.scope);
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
        scope.restarts = Rare::default();
        for node in scope.nodes() {
            self.begin_anew(node);
        }
        self.supervise_anew(id);
        id
    }

    pub(super) fn create_scope(&mut self, owner: NodeId) -> ScopeId {
        let id = ScopeId(u32::try_from(self.state.scopes.len()).expect("steps are bounded"));
        let first = self.next_node();
        let group = StepIndex::from_u32(self.node(owner).step);
        for step in self.plan.inside(Some(group)) {
            self.state.nodes.push(StepState::pending(step.as_u32(), id, None));
        }
        let len = self.next_node().0 - first.0;
        self.state.scopes.groups.push(ScopeState::new(Some(owner), first, len));
        self.node_mut(owner).seldom.inner.get_or_insert_default().scope = Some(id);
        id
    }

    /// Sets a step of a scope to its beginning.
    pub(super) fn begin_anew(&mut self, id: NodeId) {
        let step = StepIndex::from_u32(self.node(id).step);
        let needs = u16::try_from(self.plan.step(step).needs().len()).expect("edges are bounded");
        let readers = u16::try_from(self.plan.readers(step)).expect("steps are bounded");
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
