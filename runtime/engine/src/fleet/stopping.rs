//! Attempts that agents were told to stop: what comes next at their steps waits until they have.
//!
//! OTP's supervisors start nobody anew before the one before is down, and kill whoever takes too
//! long for that. An agent on another host cannot be killed, so the wait has a bound; beyond it the
//! fencing token decides.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use skep_protocol::limits::{HOLD_CONFIRMED_WITHIN, STOPPED_WITHIN};
use skep_protocol::{AgentId, AttemptId, StepPath, Timestamp};

use super::Fleet;
use super::place::Place;

/// An attempt that is of no interest any more and may still be performed.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) agent: AgentId,
    /// When its agent was told to stop it.
    told: Timestamp,
    /// The agent has got it: from then on a heartbeat that does not list it shows that it stopped.
    arrived: bool,
}

impl Stopping {
    /// Returns until when others wait for it.
    pub(super) fn until(&self) -> Timestamp {
        self.told.after(STOPPED_WITHIN)
    }
}

impl Fleet {
    /// Tells an agent to stop an attempt that nobody wants any more.
    pub(super) fn stop(
        &mut self,
        id: &AttemptId,
        (agent, arrived): (&AgentId, bool),
        now: Timestamp,
    ) {
        self.cancels.entry(agent.clone()).or_default().push(id.clone());
        self.await_end(id, Stopping { agent: agent.clone(), told: now, arrived }, now);
    }

    fn await_end(&mut self, id: &AttemptId, stopping: Stopping, now: Timestamp) {
        self.forget_end(id);
        let Some(known) = self.agents.get_mut(&stopping.agent) else { return };
        known.stopping.insert(id.clone());
        self.relist(&stopping.agent);
        self.stopping.insert(id.clone(), stopping);
        for next in self.next_of(id, |place| *place == Place::Ready) {
            self.make_ready(&next, now);
        }
    }

    /// Returns what an attempt has to wait for: one before it at its step, or at the step that it
    /// makes good, which may still be under way.
    pub(super) fn stops_before(
        &self,
        id: &AttemptId,
        now: Timestamp,
    ) -> Option<(&AttemptId, &Stopping)> {
        if self.stopping.is_empty() {
            return None;
        }
        let own = self.stopping.range(first_of(id, &id.step)..id.clone());
        let undone = id.step.compensated();
        let undone = undone.iter().flat_map(|step| self.stopping.range(all_of(id, step)));
        let waited_for = own.chain(undone).filter(|(_, stopping)| stopping.until() > now);
        waited_for.max_by_key(|(_, stopping)| stopping.told)
    }

    /// Returns what comes after an attempt at its step, and makes it good, and is in some place.
    fn next_of(&self, id: &AttemptId, is_there: impl Fn(&Place) -> bool) -> Vec<AttemptId> {
        let next = AttemptId { attempt: id.attempt.saturating_add(1), ..id.clone() };
        let own = self.attempts.range(next..=last_of(id, &id.step));
        let undoing = self.attempts.range(all_of(id, &id.step.compensation()));
        let there = own.chain(undoing).filter(|(_, attempt)| is_there(&attempt.place));
        there.map(|(id, _)| id.clone()).collect()
    }

    /// An agent says what it performs. What it was told to stop, and is not among it, has stopped.
    /// What nobody owes it, after a loss, or since before this coordinator was there, it is about
    /// to be told to stop, and what comes next waits for that.
    pub(super) fn see_performed(
        &mut self,
        agent: &AgentId,
        performed: &BTreeSet<&AttemptId>,
        now: Timestamp,
    ) {
        let Some(known) = self.agents.get(agent) else { return };
        let has_stopped = |id: &&AttemptId| {
            let has_it = |stopping: &Stopping| {
                stopping.arrived || now.since(stopping.told) >= HOLD_CONFIRMED_WITHIN
            };
            !performed.contains(id) && self.stopping.get(id).is_some_and(has_it)
        };
        let stopped: Vec<AttemptId> = known.stopping.iter().filter(has_stopped).cloned().collect();
        for id in stopped {
            self.has_stopped(&id, now);
        }
        for id in performed {
            if let Some(stopping) = self.stopping.get_mut(id) {
                stopping.arrived |= stopping.agent == *agent;
            } else if !self.attempts.contains_key(id)
                && !self.next_of(id, |place| !place.is_out()).is_empty()
            {
                let stopping = Stopping { agent: agent.clone(), told: now, arrived: true };
                self.await_end(id, stopping, now);
            }
        }
    }

    /// An agent answered the delivery of what it was meanwhile told to stop: it is told once more,
    /// because it may have heard that before it had the task.
    pub(super) fn arrived_to_stop(&mut self, agent: &AgentId, id: &AttemptId) {
        let Some(stopping) = self.stopping.get_mut(id).filter(|other| other.agent == *agent) else {
            return;
        };
        if !std::mem::replace(&mut stopping.arrived, true) {
            self.cancels.entry(agent.clone()).or_default().push(id.clone());
        }
    }

    /// What an agent was told to stop never reached it.
    pub(super) fn never_arrived(&mut self, agent: &AgentId, id: &AttemptId, now: Timestamp) {
        if self.stopping.get(id).is_some_and(|stopping| stopping.agent == *agent) {
            self.has_stopped(id, now);
        }
    }

    /// Nobody performs an attempt any more: whatever waited for that goes on.
    pub(super) fn has_stopped(&mut self, id: &AttemptId, now: Timestamp) {
        self.forget_end(id);
        for next in self.next_of(id, |place| matches!(place, Place::Behind { .. })) {
            self.make_ready(&next, now);
        }
    }

    /// Forgets what is to stop in partitions that this coordinator does not own.
    pub(super) fn forget_stopping(&mut self) {
        let is_foreign = |id: &&AttemptId| !self.owned.contains(&self.count.of(id.run));
        let foreign: Vec<AttemptId> = self.stopping.keys().filter(is_foreign).cloned().collect();
        foreign.iter().for_each(|id| self.forget_end(id));
    }

    fn forget_end(&mut self, id: &AttemptId) {
        let Some(stopping) = self.stopping.remove(id) else { return };
        if let Some(known) = self.agents.get_mut(&stopping.agent) {
            known.stopping.remove(id);
        }
        self.relist(&stopping.agent);
    }
}

/// Returns the range of all attempts at a step in the run of `id`.
fn all_of(id: &AttemptId, step: &StepPath) -> RangeInclusive<AttemptId> {
    first_of(id, step)..=last_of(id, step)
}

fn first_of(id: &AttemptId, step: &StepPath) -> AttemptId {
    AttemptId { run: id.run, step: step.clone(), attempt: 0 }
}

fn last_of(id: &AttemptId, step: &StepPath) -> AttemptId {
    AttemptId { run: id.run, step: step.clone(), attempt: u32::MAX }
}
