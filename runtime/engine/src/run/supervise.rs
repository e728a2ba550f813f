//! Supervision of groups, in the terms of Erlang/OTP: a step that failed for good is started again,
//! alone or with its siblings, unless that happened too often lately; then the group fails, and it
//! is the turn of whatever is around it.
//!
//! The children of a supervisor are the steps of its group in the order of the file. As in OTP,
//! siblings that ended well start again, too. The failure of a step with `on_failure: continue`
//! starts nothing again; unlike a temporary child of OTP, it does start again with its siblings.

use skep_protocol::Timestamp;
use skep_workflow::{StepOnFailure, Strategy, Supervision};

use super::apply::Applied;
use super::standing::Index;
use super::step::{Phase, Tally};
use super::{NodeId, Run, ScopeId};

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
        self.supervision(scope).is_some_and(|supervision| match supervision.strategy {
            Strategy::OneForOne => id == cause,
            Strategy::OneForAll => true,
            Strategy::RestForOne => id >= cause,
        })
    }

    /// Returns the steps that start again, in order; none if one of them has not stopped yet.
    pub(crate) fn to_restart(&self, scope: ScopeId) -> Vec<NodeId> {
        let Some(cause) = self.scope(scope).restarting else { return Vec::new() };
        let concerned = |id: &NodeId| self.is_concerned(scope, cause, *id);
        let begun = self.scope(scope).nodes().filter(concerned);
        let begun: Vec<_> = begun.filter(|id| self.node(*id).phase != Phase::Pending).collect();
        if begun.iter().all(|id| self.is_over(*id)) { begun } else { Vec::new() }
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
        for id in state.nodes() {
            if !self.node(id).phase.is_final() {
                self.enqueue(id, index);
            }
        }
        self.enqueue(group, index);
        Ok(())
    }

    pub(super) fn step_restarted(&mut self, id: NodeId, index: &mut Index) -> Applied {
        if !self.is_restarting(id) || !self.is_over(id) {
            return self.out_of_place("the restart of a step that is not to");
        }
        let scope = self.node(id).scope;
        self.begin_anew(id);
        self.scope_mut(scope).open += 1;
        if !self.to_restart(scope).is_empty() {
            return Ok(());
        }
        self.scope_mut(scope).restarting = None;
        let failed = |id: &NodeId| {
            self.node(*id).phase == Phase::Failed
                && self.definition(*id).on_failure() == StepOnFailure::Fail
        };
        let failed = self.scope(scope).nodes().find(failed);
        self.scope_mut(scope).failed = failed;
        self.count_anew(scope);
        for id in self.scope(scope).nodes() {
            if !self.node(id).phase.is_final() {
                self.enqueue(id, index);
            }
        }
        self.enqueue_owner(scope, index);
        Ok(())
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

    /// Counts the needs and the readers of all steps of a scope from their states.
    fn count_anew(&mut self, scope: ScopeId) {
        let plan = std::sync::Arc::clone(&self.plan);
        for id in self.scope(scope).nodes() {
            self.node_mut(id).needs = self.tally(id);
            self.node_mut(id).readers = 0;
        }
        for id in self.scope(scope).nodes() {
            if self.is_over(id) {
                continue;
            }
            for read in plan.reads(self.step_index(id)) {
                if let Some(read) = self.in_scope(scope, *read) {
                    self.node_mut(read).readers += 1;
                }
            }
        }
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
