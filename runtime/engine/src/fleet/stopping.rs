//! Attempts that agents were told to stop: what comes next at their steps waits until they have,
//! and what begins in a later round of something around them (see [`super::rounds`]).
//!
//! OTP's supervisors start nobody anew before the one before is down, and kill whoever takes too
//! long for that. An agent on another host cannot be killed, so the wait has a bound; beyond it the
//! fencing token decides.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_protocol::limits::{HOLD_CONFIRMED_WITHIN, STOPPED_WITHIN};
use skep_protocol::{AgentId, AttemptId, Timestamp};

use super::Fleet;
use super::attempt::Attempt;
use super::place::Place;
use super::register::Slot;
use super::rounds::all_rounds;
use crate::Round;

/// How often an attempt that waits for other steps is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An attempt that is of no interest any more and may still be performed.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) agent: AgentId,
    /// When its agent was told to stop it.
    pub(super) told: Timestamp,
    /// The agent has got it: from then on a heartbeat that does not list it shows that it stopped.
    arrived: bool,
    /// The rounds that are not over before it has stopped.
    pub(super) rounds: Vec<Round>,
}

impl Stopping {
    /// Returns until when others wait for it.
    pub(super) fn until(&self) -> Timestamp {
        self.told.after(STOPPED_WITHIN)
    }
}

impl Fleet {
    /// The attempt is not owed any more: whoever holds it and did not report it has to stop.
    pub(super) fn settle(&mut self, id: &AttemptId, reported_by: Option<&AgentId>, now: Timestamp) {
        let Some(slot) = self.attempts.find(id) else { return };
        let Some(attempt) = self.attempts.at(slot) else { return };
        let arrived = !matches!(attempt.place, Place::Delivering { .. });
        let agent = attempt.place.agent().filter(|agent| Some(*agent) != reported_by).cloned();
        let rounds = agent.as_ref().map(|_| self.rounds_at_end(attempt));
        self.forget(slot);
        if let (Some(agent), Some(rounds)) = (agent, rounds) {
            self.cancels.entry(agent.clone()).or_default().push(id.clone());
            self.await_end(id, Stopping { agent, told: now, arrived, rounds }, now);
        }
    }

    fn await_end(&mut self, id: &AttemptId, stopping: Stopping, now: Timestamp) {
        self.forget_end(id);
        let Some(known) = self.agents.get_mut(&stopping.agent) else { return };
        known.stopping.insert(id.clone());
        self.relist(&stopping.agent);
        let mut next = self.next_of(id, |place| *place == Place::Ready);
        next.extend(self.ready_after(id, &stopping.rounds, now));
        self.rounds.stop(id, stopping.told, &stopping.rounds);
        self.stopping.insert(id.clone(), stopping);
        for next in next {
            self.make_ready(next, now);
        }
    }

    /// Returns the rounds that an attempt belongs to which is to stop. If it is told so while a
    /// later round is under way, that one left it alone when it began, and does not wait for it.
    fn rounds_at_end(&self, attempt: &Attempt) -> Vec<Round> {
        let mut rounds = all_rounds(attempt.id(), &attempt.offer.terms.rounds);
        for round in &mut rounds {
            round.number = round.number.max(self.rounds.latest(attempt.id(), round));
        }
        rounds
    }

    /// Returns what waits for a slot and belongs to a later round than what is to stop from here
    /// on; nothing where something else of that round held it up already.
    fn ready_after(&self, id: &AttemptId, rounds: &[Round], now: Timestamp) -> Vec<Slot> {
        let is_held_up = |round: &&Round| {
            self.rounds.told(id, round).is_some_and(|told| told.after(STOPPED_WITHIN) > now)
        };
        let rounds = rounds.iter().filter(|round| !is_held_up(round));
        let later = rounds.flat_map(|round| self.rounds.later(id, round));
        let is_ready =
            |slot: &Slot| self.attempts.at(*slot).is_some_and(|a| a.place == Place::Ready);
        later.filter_map(|id| self.attempts.slot(id)).filter(is_ready).collect()
    }

    /// Returns when an attempt that waits for others to stop is to be looked at, if nothing happens
    /// before. For other steps than its own it does not wait again, once that took too long; and
    /// whoever of them was told last may stop while those before it are waited for no more.
    pub(super) fn waits_until(&mut self, slot: Slot, now: Timestamp) -> Option<Timestamp> {
        let attempt = self.attempts.at(slot)?;
        let (other, stopping) = self.stops_before(attempt, now)?;
        let (own, until) = (other.step == attempt.id().step, stopping.until());
        if own {
            return Some(until);
        }
        let attempt = self.attempts.at_mut(slot)?;
        let patience = *attempt.seldom.patience.get_or_insert_with(|| now.after(STOPPED_WITHIN));
        Some(until.min(patience).min(now.after(LOOK_EVERY)))
    }

    /// Returns until when an attempt waits for another one at the latest.
    pub(super) fn bears_with(&self, attempt: &Attempt, other: &AttemptId) -> Option<Timestamp> {
        let until = self.stopping.get(other)?.until();
        let patience = attempt.seldom.patience.filter(|_| other.step != attempt.id().step);
        Some(patience.map_or(until, |patience| until.min(patience)))
    }

    /// Returns what an attempt has to wait for, because it may still be under way: one before it at
    /// its step, or one of an earlier round.
    pub(super) fn stops_before(
        &self,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Option<(&AttemptId, &Stopping)> {
        if self.stopping.is_empty() {
            return None;
        }
        let id = attempt.id();
        let numbered = |attempt| AttemptId { attempt, ..id.clone() };
        let own = self.stopping.range(numbered(0)..id.clone());
        let waits = attempt.seldom.patience.is_none_or(|until| until > now);
        let rounds = if waits { &attempt.offer.terms.rounds[..] } else { &[] };
        let others = self.rounds.before(id, rounds);
        let others = others.filter_map(|other| self.stopping.get_key_value(other));
        let waited_for = own.chain(others).filter(|(_, stopping)| stopping.until() > now);
        waited_for.max_by_key(|(_, stopping)| stopping.told)
    }

    /// Returns what comes after an attempt at its step and is in some place.
    fn next_of(&self, id: &AttemptId, is_there: impl Fn(&Place) -> bool) -> Vec<Slot> {
        let next = self.attempts.next_of(id).filter(|(_, attempt)| is_there(&attempt.place));
        next.map(|(slot, _)| slot).collect()
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
            } else if !self.attempts.contains(id) {
                self.see_stray(id, agent, now);
            }
        }
    }

    /// An agent performs what nobody owes it.
    fn see_stray(&mut self, id: &AttemptId, agent: &AgentId, now: Timestamp) {
        if !self.owned.contains(&self.count.of(id.run)) {
            return;
        }
        if let Some(rounds) = self.rounds_of_stray(id) {
            let stopping = Stopping { agent: agent.clone(), told: now, arrived: true, rounds };
            self.await_end(id, stopping, now);
        }
    }

    /// Returns the rounds of what nobody owes, if something is to wait for it. Its step may be made
    /// up, unless something is owed of it.
    fn rounds_of_stray(&self, id: &AttemptId) -> Option<Vec<Round>> {
        if !self.next_of(id, |place| !place.is_out()).is_empty() {
            return Some(all_rounds(id, &[]));
        }
        let rounds = self.rounds.known_around(id);
        let is_before = |round| self.rounds.later(id, round).next().is_some();
        rounds.iter().any(is_before).then_some(rounds)
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
        let free = self.forget_end(id);
        let mut next = self.next_of(id, |place| matches!(place, Place::Behind { .. }));
        next.extend(free.iter().filter_map(|id| self.attempts.slot(id)));
        for next in next {
            self.make_ready(next, now);
        }
    }

    /// Forgets what is to stop in partitions that this coordinator does not own.
    pub(super) fn forget_stopping(&mut self) {
        let is_foreign = |id: &&AttemptId| !self.owned.contains(&self.count.of(id.run));
        let foreign: Vec<AttemptId> = self.stopping.keys().filter(is_foreign).cloned().collect();
        for id in foreign {
            self.forget_end(&id);
        }
    }

    /// Forgets that an attempt is to stop. Returns who waited for it as the last of its round.
    fn forget_end(&mut self, id: &AttemptId) -> BTreeSet<AttemptId> {
        let Some(stopping) = self.stopping.remove(id) else { return BTreeSet::new() };
        if let Some(known) = self.agents.get_mut(&stopping.agent) {
            known.stopping.remove(id);
        }
        self.relist(&stopping.agent);
        self.rounds.has_stopped(id, stopping.told, &stopping.rounds)
    }
}
