//! The state of one run.

pub(crate) mod apply;
mod arena;
pub(crate) mod began;
pub(crate) mod deed;
mod kept;
mod navigate;
mod release;
mod round;
pub(crate) mod scope;
pub(crate) mod signals;
pub(crate) mod standing;
pub(crate) mod started;
pub(crate) mod step;
mod stored;
mod supervise;
mod tally;
mod tried;
pub(crate) mod unwinding;
mod view;
mod weight;
pub(crate) mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use skep_protocol::{PartitionId, Payload, RunId, RunStatus, Timestamp};

use crate::plan::Plan;
use crate::rare::{Blank, Rare};
pub(crate) use arena::Arena;
use scope::{ScopeState, Scopes};
use signals::Signals;
use standing::Index;
use started::Started;
use step::{Phase, StepState};
use supervise::Supervising;
use unwinding::{Unwind, Unwinding};

/// Parsed inputs no longer than this are kept, in bytes.
const MAX_KEPT_INPUTS: u64 = 1024 * 1024;

/// An attempt, or a sub-workflow, whose time comes sooner than this may be about to be started.
const START_MARGIN: Duration = Duration::from_millis(100);

/// The place of a step in the arena of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NodeId(pub(crate) u32);

impl NodeId {
    /// The run as a whole, where a step is asked for.
    pub(crate) const RUN: Self = Self(u32::MAX);

    pub(crate) const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// The place of a scope in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ScopeId(pub(crate) u32);

impl ScopeId {
    /// The steps that are in no group.
    pub(crate) const ROOT: Self = Self(0);
}

/// A live run: its workflow, what the journal says of it, and what follows from that.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) partition: PartitionId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: RunState,
    pub(crate) soft: Soft,
}

/// What the journal says of a run. What few runs have is behind pointers; what people asked of it
/// is read as if it were here.
#[derive(Debug, Clone)]
pub(crate) struct RunState {
    pub(crate) id: RunId,
    pub(crate) at: Timestamp,
    pub(crate) started: Started,
    pub(crate) orders: Rare<Orders>,
    /// A step of it did something, or may have.
    pub(crate) acted: bool,
    /// It makes good what it did.
    pub(crate) unwind: Option<Box<Unwind>>,
    /// How many facts of the run that this one does over were told.
    pub(crate) kept: u32,
    pub(crate) nodes: Arena,
    pub(crate) scopes: Scopes,
    /// Items of every `for_each`, by the item's step; dropped when the item is over.
    pub(crate) items: Rare<BTreeMap<NodeId, Payload>>,
    pub(crate) signals: Rare<Signals>,
}

/// What people asked of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) paused: bool,
    /// Since when it is paused.
    pub(crate) paused_at: Option<Timestamp>,
    /// Who paused it; a snapshot of old does not say.
    pub(crate) paused_by: Option<String>,
    /// Why it is to be cancelled.
    pub(crate) cancelling: Option<String>,
}

impl Blank for Orders {
    const BLANK: &'static Self =
        &Self { paused: false, paused_at: None, paused_by: None, cancelling: None };
}

impl Deref for RunState {
    type Target = Orders;

    fn deref(&self) -> &Orders {
        &self.orders
    }
}

/// What follows from the state of a run and is kept to save time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Soft {
    /// Steps in the hands of the swarm.
    pub(crate) busy: u32,
    /// Steps that wait for time or a signal.
    pub(crate) waiting: u32,
    /// Who waits for which signal.
    pub(crate) waiters: Rare<BTreeMap<String, BTreeSet<NodeId>>>,
    /// How far the unwinding is.
    pub(crate) unwinding: Rare<Unwinding>,
    /// How far the supervision of groups is.
    supervising: Rare<Supervising>,
    inputs: OnceLock<Arc<Value>>,
    /// How much memory the run takes at most, about, in bytes; and how much it took when all of it
    /// was weighed last.
    weight: usize,
    weighed: usize,
    /// It is known to the partition that the inputs are kept.
    inputs_counted: bool,
}

impl RunState {
    /// Creates the state of a run that starts.
    pub(crate) fn new(id: RunId, at: Timestamp, started: Started, plan: &Plan) -> Self {
        Self {
            id,
            at,
            started,
            orders: Rare::default(),
            acted: false,
            unwind: None,
            kept: 0,
            nodes: Arena::new(plan.fresh()),
            scopes: Scopes::new(plan.fresh().len()),
            items: Rare::default(),
            signals: Rare::default(),
        }
    }
}

impl Run {
    pub(crate) fn new(partition: PartitionId, plan: Arc<Plan>, state: RunState) -> Self {
        Self { partition, plan, state, soft: Soft::default() }
    }

    /// Works out what follows from the state of a run that was read from a snapshot.
    pub(crate) fn derive(&mut self, index: &mut Index) -> Result<(), &'static str> {
        self.state.nodes.settle(self.plan.fresh())?;
        self.check_shape()?;
        for id in self.all_nodes() {
            let standing = self.standing(id);
            self.soft.busy += u32::from(standing.busy);
            self.soft.waiting += u32::from(standing.waiting);
            index.timers.extend(self.timers_of(id, &standing));
            if let Some(name) = self.node(id).phase.signal().map(str::to_owned) {
                self.soft.waiters.entry(name).or_default().insert(id);
            }
        }
        for scope in 0..self.state.scopes.len() {
            self.derive_supervision(ScopeId(u32::try_from(scope).expect("steps are bounded")));
        }
        if self.state.unwind.is_some() {
            self.mark_what_is_left(index);
        }
        self.weigh();
        Ok(())
    }

    /// Checks that a state read from outside refers to nothing that is not there, and that what is
    /// around a step, or made good by it, came into being before it: no way leads in a circle.
    fn check_shape(&self) -> Result<(), &'static str> {
        let (nodes, scopes) = (self.state.nodes.len(), self.state.scopes.len());
        let steps = self.plan.workflow().steps().len();
        let is_node = |id: &NodeId| id.as_usize() < nodes;
        let is_scope = |id: &ScopeId| (id.0 as usize) < scopes;
        for (number, scope) in self.state.scopes.iter().enumerate() {
            let end = scope.first.as_usize() + scope.len as usize;
            if end > nodes
                || !scope.owner.iter().all(is_node)
                || !scope.failed.iter().chain(&scope.restarting).all(is_node)
            {
                return Err("a scope has steps that are not there");
            }
            if scope.owner.is_none() != (number == 0)
                || scope.owner.is_some_and(|owner| owner >= scope.first)
            {
                return Err("a scope is around itself");
            }
        }
        for (id, node) in self.all_nodes().zip(self.state.nodes.iter()) {
            let around = self.state.scopes.get(node.scope);
            let before = around.and_then(|scope| scope.owner);
            let fan = node.item_of.map(|(fan, _)| fan);
            if [before, fan, node.compensates].into_iter().flatten().any(|other| other >= id) {
                return Err("a step is around itself");
            }
            let inner = node.inner.as_deref();
            let items = inner.map(|inner| inner.items.as_slice()).unwrap_or_default();
            let inside = inner.and_then(|inner| inner.scope);
            let there = items.iter().all(is_node)
                && inside.iter().all(is_scope)
                && is_scope(&node.scope)
                && node.item_of.iter().all(|(fan, _)| is_node(fan))
                && node.compensates.iter().all(is_node)
                && node.deed.iter().flat_map(|deed| &deed.compensation).all(is_node);
            if !there || node.step as usize >= steps {
                return Err("a step refers to something that is not there");
            }
        }
        Ok(())
    }

    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.state.nodes.len()).unwrap_or(u32::MAX)).map(NodeId)
    }

    pub(crate) fn id(&self) -> RunId {
        self.state.id
    }

    pub(crate) fn node(&self, id: NodeId) -> &StepState {
        &self.state.nodes[id]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut StepState {
        &mut self.state.nodes[id]
    }

    pub(crate) fn scope(&self, id: ScopeId) -> &ScopeState {
        &self.state.scopes[id]
    }

    pub(crate) fn scope_mut(&mut self, id: ScopeId) -> &mut ScopeState {
        &mut self.state.scopes[id]
    }

    /// Returns the inputs if they were parsed before, and kept.
    pub(crate) fn kept_inputs(&self) -> Option<Arc<Value>> {
        self.soft.inputs.get().map(Arc::clone)
    }

    /// Keeps the parsed inputs, unless they are too large to keep.
    pub(crate) fn keep_inputs(&self, value: &Arc<Value>) {
        if self.state.started.inputs.size() <= MAX_KEPT_INPUTS {
            self.soft.inputs.get_or_init(|| Arc::clone(value));
        }
    }

    /// Returns how much memory the run takes at most, about, in bytes.
    pub(crate) const fn weight(&self) -> usize {
        self.soft.weight
    }

    /// Returns a payload to be kept: what is equal to the inputs is kept once.
    pub(crate) fn shared(&self, payload: &Payload) -> Payload {
        let inputs = &self.state.started.inputs;
        if payload == inputs { inputs } else { payload }.clone()
    }

    /// Returns the size of the inputs if they were parsed and kept since this was asked last.
    pub(crate) fn count_inputs(&mut self) -> Option<usize> {
        let is_new = self.soft.inputs.get().is_some() && !self.soft.inputs_counted;
        self.soft.inputs_counted |= is_new;
        is_new.then(|| usize::try_from(self.state.started.inputs.size()).unwrap_or(usize::MAX))
    }

    /// Keeps the inputs as text only, until they are read again.
    pub(crate) fn drop_inputs(&mut self) {
        (self.soft.inputs, self.soft.inputs_counted) = (OnceLock::new(), false);
    }

    /// Returns whether the sub-workflow of a step cannot have been started yet, `now` or when the
    /// run was paused: it then need not be cancelled, only not started.
    pub(crate) fn is_to_come(&self, id: NodeId, now: Timestamp) -> bool {
        let Phase::Child { not_before, .. } = self.node(id).phase else { return false };
        not_before > self.state.paused_at.unwrap_or(now).min(now).after(START_MARGIN)
    }

    /// Returns whether the sub-workflow of a step is not started because the run is paused.
    pub(crate) fn is_withheld(&self, id: NodeId) -> bool {
        self.state.paused_at.is_some_and(|at| self.is_to_come(id, at))
    }

    /// Returns the word for the state of the run.
    pub(crate) fn status(&self) -> RunStatus {
        let root = self.scope(ScopeId::ROOT);
        let ends = self.state.cancelling.is_some() || self.state.unwind.is_some();
        if self.soft.unwinding.is_stuck() {
            RunStatus::Stuck
        } else if ends || root.stopping {
            RunStatus::Unwinding
        } else if self.state.paused {
            RunStatus::Paused
        } else if self.soft.busy == 0 && self.soft.waiting > 0 {
            RunStatus::Waiting
        } else {
            RunStatus::Running
        }
    }
}

/// Returns whether an attempt that nobody was seen to take may have been sent all the same.
pub(crate) fn may_be_sent(not_before: Timestamp, now: Timestamp) -> bool {
    not_before <= now.after(START_MARGIN)
}
