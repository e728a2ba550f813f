//! Supervision of groups, in the terms of Erlang/OTP: a step that failed for good is started again,
//! alone or with its siblings, unless that happened too often lately; then the group fails, and it
//! is the turn of whatever is around it.
//!
//! The children of a supervisor are the steps of its group in the order of the file. As in OTP,
//! siblings that ended well start again, too. The failure of a step with `on_failure: continue`
//! starts nothing again; unlike a temporary child of OTP, it does start again with its siblings.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use skep_protocol::Timestamp;
use skep_workflow::{StepOnFailure, Strategy, Supervision};

use super::apply::Applied;
use super::standing::Index;
use super::step::Phase;
use super::tally::Tally;
use super::{NodeId, Run, ScopeId};
use crate::rare::Blank;

/// How far the supervision of groups is; follows from the states of the steps. It is kept so that
/// a restart costs the steps that start again, however many siblings they have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Supervising {
    /// Steps that failed and have not started again.
    failures: BTreeSet<NodeId>,
    /// Steps that were looked at when none of their scope was to start.
    held_back: BTreeSet<NodeId>,
    /// The restarts that are under way.
    restarts: BTreeMap<ScopeId, Restart>,
}

impl Blank for Supervising {
    const BLANK: &'static Self =
        &Self { failures: BTreeSet::new(), held_back: BTreeSet::new(), restarts: BTreeMap::new() };
}

/// How far a restart is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Restart {
    /// Steps that have begun and are to start again.
    left: u32,
    /// Those of them that have not stopped.
    under_way: u32,
}

impl Run {
    /// Returns the supervision of the steps of a scope, as long as it is in charge.
    pub(crate) fn supervision(&self, scope: ScopeId) -> Option<&Supervision> {
        let scope = self.scope(scope);
        let owner = scope.owner?;
        let in_charge = !scope.stopping
            && self.state.cancelling.is_none()
            && self.node(owner).stop.is_none()
            && matches!(self.node(owner).phase, Phase::Group { .. });
        self.definition(owner).supervision().filter(|_| in_charge)
    }

    /// Returns whether no step of a scope starts, because it is to be decided which start again.
    pub(crate) fn is_held(&self, scope: ScopeId) -> bool {
        let state = self.scope(scope);
        (state.failed.is_some() || state.restarting.is_some()) && self.supervision(scope).is_some()
    }

    /// Takes note that a step is looked at. If it may not start because its scope is held, it is
    /// looked at again once the scope goes on.
    pub(crate) fn hold_back(&mut self, id: NodeId) {
        if id == NodeId::RUN {
            return;
        }
        let node = self.node(id);
        if node.phase == Phase::Pending && node.item_of.is_none() && self.is_held(node.scope) {
            self.soft.supervising.held_back.insert(id);
        }
    }

    /// Returns whether a step starts again once it has stopped.
    pub(crate) fn is_restarting(&self, id: NodeId) -> bool {
        if self.node(id).item_of.is_some() {
            return false;
        }
        let scope = self.node(id).scope;
        let cause = self.scope(scope).restarting;
        cause.is_some_and(|cause| self.is_concerned(scope, cause, id))
    }

    /// Returns whether the failure of `cause` means that `id` starts again.
    fn is_concerned(&self, scope: ScopeId, cause: NodeId, id: NodeId) -> bool {
        self.concerned(scope, cause).contains(&id)
    }

    /// Returns the steps that start again because `cause` failed, if they have begun.
    fn concerned(&self, scope: ScopeId, cause: NodeId) -> Range<NodeId> {
        let strategy = self.supervision(scope).map(|supervision| supervision.strategy);
        let Range { start, end } = self.scope(scope).range();
        match strategy {
            None => start..start,
            Some(Strategy::OneForOne) => cause..NodeId(cause.0 + 1),
            Some(Strategy::OneForAll) => start..end,
            Some(Strategy::RestForOne) => cause..end,
        }
    }

    /// Returns the steps that start again, in order; none if one of them has not stopped yet.
    pub(crate) fn to_restart(&self, scope: ScopeId) -> Vec<NodeId> {
        let restart = self.soft.supervising.restarts.get(&scope);
        match (self.scope(scope).restarting, restart) {
            (Some(cause), Some(Restart { under_way: 0, .. })) => self.begun(scope, cause).collect(),
            (_, _) => Vec::new(),
        }
    }

    /// Returns those of the steps that start again that have begun.
    fn begun(&self, scope: ScopeId, cause: NodeId) -> impl Iterator<Item = NodeId> {
        let Range { start, end } = self.concerned(scope, cause);
        let concerned = (start.0..end.0).map(NodeId);
        concerned.filter(|id| self.node(*id).phase != Phase::Pending)
    }

    /// Counts what is left of a restart.
    fn count_restart(&self, scope: ScopeId) -> Option<Restart> {
        let cause = self.scope(scope).restarting?;
        let mut restart = Restart::default();
        for id in self.begun(scope, cause) {
            restart.left += 1;
            restart.under_way += u32::from(!self.is_over(id));
        }
        Some(restart)
    }

    /// Returns whether one more restart is more than the supervision bears: more than
    /// `max_restarts` within the period, as OTP counts them.
    pub(crate) fn is_too_much(&self, scope: ScopeId, now: Timestamp) -> bool {
        let Some(supervision) = self.supervision(scope) else { return false };
        let lately = |at: &&Timestamp| at.after(supervision.within) >= now;
        let restarts = self.scope(scope).restarts.iter().filter(lately).count();
        restarts >= supervision.max_restarts as usize
    }

    pub(super) fn restart_decided(
        &mut self,
        group: NodeId,
        (cause, at): (Option<NodeId>, Timestamp),
        index: &mut Index,
    ) -> Applied {
        let scope = self.node(group).inner.as_ref().and_then(|inner| inner.scope);
        let state = scope.map(|scope| self.scope(scope));
        let fits = state.is_some_and(|state| {
            state.restarting.is_none() && state.failed.is_some() && state.failed == cause
        });
        let (Some(scope), true) = (scope, fits) else {
            return self.out_of_place("a restart without a failure");
        };
        let within = self.supervision(scope).map(|supervision| supervision.within);
        let state = self.scope_mut(scope);
        state.restarting = cause;
        state.restarts.retain(|before| within.is_some_and(|within| before.after(within) >= at));
        state.restarts.push_back(at);
        let restart = self.count_restart(scope);
        self.soft.supervising.restarts.extend(restart.map(|restart| (scope, restart)));
        for id in cause.into_iter().flat_map(|cause| self.begun(scope, cause)) {
            if !self.is_over(id) {
                self.enqueue(id, index);
            }
        }
        self.enqueue(group, index);
        Ok(())
    }

    /// Returns when a step may start again that failed and said when, if that is to come.
    pub(crate) fn asked_to_wait(&self, id: NodeId, now: Timestamp) -> Option<Timestamp> {
        let node = self.node(id);
        let decided = self.scope(node.scope).restarts.back().copied().unwrap_or(now);
        let failure = node.failure.as_deref().filter(|_| node.phase != Phase::Completed)?;
        Some(decided.after(failure.retry_after()?)).filter(|at| *at > now)
    }

    pub(super) fn step_restarted(
        &mut self,
        id: NodeId,
        not_before: Option<Timestamp>,
        index: &mut Index,
    ) -> Applied {
        if !self.is_restarting(id) || !self.is_over(id) {
            return self.out_of_place("the restart of a step that is not to");
        }
        let scope = self.node(id).scope;
        self.reopen(id);
        self.node_mut(id).seldom.not_before = not_before.unwrap_or_default();
        self.enqueue(id, index);
        let restart = self.soft.supervising.restarts.entry(scope).or_default();
        restart.left = restart.left.saturating_sub(1);
        if restart.left == 0 {
            self.restarted(scope, index);
        }
        Ok(())
    }

    /// All steps that were to start again have done so.
    fn restarted(&mut self, scope: ScopeId, index: &mut Index) {
        self.begin_round(scope);
        let steps = self.scope(scope).range();
        let soft = &mut self.soft.supervising;
        soft.restarts.remove(&scope);
        let failed = soft.failures.range(steps.clone()).next().copied();
        let held_back: Vec<NodeId> = soft.held_back.range(steps).copied().collect();
        for id in held_back {
            self.soft.supervising.held_back.remove(&id);
            self.enqueue(id, index);
        }
        let state = self.scope_mut(scope);
        state.restarting = None;
        state.failed = failed;
        self.enqueue_owner(scope, index);
    }

    /// Steps that start again with others wait for all of these to stop. One that starts again
    /// alone waits for itself, and for what is inside it.
    fn begin_round(&mut self, scope: ScopeId) {
        let strategy = self.supervision(scope).map(|supervision| supervision.strategy);
        let cause = self.scope(scope).restarting;
        if let Some(cause) = cause.filter(|_| strategy != Some(Strategy::OneForOne)) {
            let Range { start, end } = self.concerned(scope, cause);
            self.start_over(&(start.0..end.0).map(NodeId).collect::<Vec<_>>());
        }
    }

    pub(super) fn restarts_exhausted(&mut self, group: NodeId, index: &mut Index) -> Applied {
        let scope = self.node(group).inner.as_ref().and_then(|inner| inner.scope);
        let held = scope.filter(|scope| self.is_held(*scope));
        let Some(scope) = held else { return self.out_of_place("an end without a failure") };
        self.scope_mut(scope).stopping = true;
        self.enqueue_scope(scope, index);
        self.enqueue(group, index);
        Ok(())
    }

    /// Sets a step that is over to its beginning, among siblings that go on.
    fn reopen(&mut self, id: NodeId) {
        let scope = self.node(id).scope;
        let (ended, readers) = (self.node(id).phase.clone(), self.node(id).readers);
        self.begin_anew(id);
        self.soft.supervising.failures.remove(&id);
        self.node_mut(id).readers = readers;
        self.node_mut(id).needs = self.tally(id);
        self.scope_mut(scope).open += 1;
        let plan = Arc::clone(&self.plan);
        let step = self.step_index(id);
        for dependent in plan.step(step).dependents() {
            if let Some(dependent) = self.in_scope(scope, *dependent) {
                self.node_mut(dependent).needs.reopen(&ended);
            }
        }
        for read in plan.reads(step) {
            if let Some(read) = self.in_scope(scope, *read) {
                self.node_mut(read).readers += 1;
            }
        }
    }

    /// Takes note of the end of a step of a supervised scope.
    pub(super) fn supervised_ended(&mut self, id: NodeId, fails: bool) {
        let is_restarting = self.is_restarting(id);
        let scope = self.node(id).scope;
        if fails {
            self.soft.supervising.failures.insert(id);
        }
        let restarts = self.soft.supervising.there().map(|soft| &mut soft.restarts);
        let restart = restarts.and_then(|restarts| restarts.get_mut(&scope));
        if let Some(restart) = restart.filter(|_| is_restarting) {
            restart.under_way = restart.under_way.saturating_sub(1);
        }
    }

    /// Takes note that all steps of a scope are at their beginning.
    pub(super) fn supervise_anew(&mut self, scope: ScopeId) {
        let steps = self.scope(scope).nodes();
        let Some(soft) = self.soft.supervising.there() else { return };
        soft.restarts.remove(&scope);
        for id in steps {
            soft.failures.remove(&id);
            soft.held_back.remove(&id);
        }
    }

    /// Works out how far the supervision of a scope is, from the states of its steps.
    pub(super) fn derive_supervision(&mut self, scope: ScopeId) {
        if self.supervision(scope).is_none() {
            return;
        }
        let failures: Vec<_> = self.failures(scope).collect();
        let restart = self.count_restart(scope);
        let soft = &mut self.soft.supervising;
        soft.failures.extend(failures);
        soft.restarts.extend(restart.map(|restart| (scope, restart)));
    }

    /// Returns the steps of a scope that failed and have not started again.
    fn failures(&self, scope: ScopeId) -> impl Iterator<Item = NodeId> {
        self.scope(scope).nodes().filter(|id| self.fails(*id))
    }

    /// Returns whether what is kept of the supervision of a scope follows from the states of its
    /// steps.
    pub(crate) fn is_supervised_well(&self, scope: ScopeId) -> bool {
        let soft = &self.soft.supervising;
        let kept = soft.failures.range(self.scope(scope).range()).copied();
        self.supervision(scope).is_none()
            || kept.eq(self.failures(scope))
                && soft.restarts.get(&scope).copied() == self.count_restart(scope)
                && self.are_readers_counted(scope)
    }

    fn are_readers_counted(&self, scope: ScopeId) -> bool {
        let mut readers: BTreeMap<NodeId, u32> = BTreeMap::new();
        for reader in self.scope(scope).nodes().filter(|id| !self.is_over(*id)) {
            let reads = self.plan.reads(self.step_index(reader)).iter();
            for read in reads.filter_map(|read| self.in_scope(scope, *read)) {
                *readers.entry(read).or_default() += 1;
            }
        }
        let counted = |id| readers.get(&id).copied().unwrap_or_default();
        self.scope(scope).nodes().all(|id| u32::from(self.node(id).readers) == counted(id))
    }

    /// Returns whether a step failed, and that is not just taken note of.
    pub(super) fn fails(&self, id: NodeId) -> bool {
        self.node(id).phase == Phase::Failed
            && self.definition(id).on_failure() == StepOnFailure::Fail
    }

    /// Counts how the needs of a step ended so far.
    pub(crate) fn tally(&self, id: NodeId) -> Tally {
        let mut tally = Tally::default();
        let scope = self.node(id).scope;
        for need in self.definition(id).needs() {
            let Some(need) = self.in_scope(scope, *need) else { continue };
            tally.add(&self.node(need).phase);
        }
        tally
    }
}
