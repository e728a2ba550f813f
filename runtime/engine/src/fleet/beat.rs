//! Leases: what heartbeats and deliveries say about what agents hold.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_protocol::limits::{
    AGENT_SILENCE, BUSY_PAUSE, HOLD_CONFIRMED_WITHIN, MAX_AGENTS, MAX_SHARED, MAX_STEP_PATH,
};
use skep_protocol::{AgentId, AttemptId, Heartbeat, Refusal, Timestamp};

use super::agent::Agent;
use super::attempt::Attempt;
use super::place::Place;
use super::presence::Parting;
use super::register::Slot;
use super::{Fleet, FleetEffect, Timer};

/// A heartbeat whose number is lower than the last by no more than this is a late one; lower by
/// more, and the process was replaced by another of the same name.
const LATE_BEATS: u64 = 5;
/// How often one agent's strays are looked into; it lists them in each heartbeat.
const STRAYS_EVERY: Duration = Duration::from_millis(500);

impl Fleet {
    pub(super) fn beat(
        &mut self,
        heartbeat: Heartbeat,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let id = heartbeat.agent.clone();
        if heartbeat.leaving {
            self.agent_gone(&id, Parting::Left, now, effects);
            return;
        }
        if let Some(known) = self.agents.get(&id) {
            let behind = known.seq.saturating_sub(heartbeat.seq);
            if (1..=LATE_BEATS).contains(&behind) {
                return;
            }
            if behind > LATE_BEATS {
                self.agent_gone(&id, Parting::Restarted, now, effects);
            }
        }
        if !self.agents.contains_key(&id) {
            if self.agents.len() >= MAX_AGENTS {
                return;
            }
            self.agents.insert(id.clone(), Agent::new(&heartbeat, now));
            self.timers.insert((now.after(AGENT_SILENCE), Timer::Silence(id.clone())));
            self.recall_health(&id, now);
        }
        if let Some(known) = self.agents.get_mut(&id) {
            known.seq = heartbeat.seq;
            known.heard = now;
        }
        self.describe(&heartbeat);
        self.see_ration(&id, now);
        self.see_progress(&heartbeat, now, effects);
        let answered: Vec<u64> = heartbeat.answers.iter().map(|call| call.number).collect();
        let finished = heartbeat.held.iter().filter(|held| held.finished);
        let finished: BTreeSet<AttemptId> = finished.map(|held| held.attempt.clone()).collect();
        let held: BTreeSet<AttemptId> =
            heartbeat.held.into_iter().map(|held| held.attempt).filter(is_bearable).collect();
        self.see_performed(&id, &held.difference(&finished).collect(), now);
        self.see_missing(&id, &held, now, effects);
        self.see_held(&id, held, now, effects);
        self.relist(&id);
        self.answered(&id, &answered, now, effects);
    }

    /// An agent does not list what it should hold. What it was sent lately it may not have had when
    /// it spoke; what has been missing for longer it never got, or has lost. Nobody knows which, so
    /// nobody else gets the same number: the journal may name it as the taker.
    fn see_missing(
        &mut self,
        agent: &AgentId,
        held: &BTreeSet<AttemptId>,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(known) = self.agents.get(agent) else { return };
        let is_listed = |slot: Slot| self.attempts.at(slot).is_some_and(|a| held.contains(a.id()));
        let missing = known.attempts.iter().copied().filter(|slot| !is_listed(*slot));
        let mut missing: Vec<Slot> = missing.collect();
        self.attempts.sort(&mut missing);
        for slot in missing {
            match self.attempts.at(slot).map(|attempt| attempt.place.clone()) {
                Some(Place::Sent { since, .. }) if now.since(since) >= HOLD_CONFIRMED_WITHIN => {
                    let cause = format!("agent {agent} does not hold what it was sent");
                    self.lose(slot, (Some(agent.clone()), cause), now, effects);
                }
                Some(Place::Held { seen, .. }) if now.since(seen) >= HOLD_CONFIRMED_WITHIN => {
                    let cause = format!("agent {agent} does not hold it any more");
                    self.lose(slot, (Some(agent.clone()), cause), now, effects);
                }
                Some(
                    Place::New
                    | Place::Withheld
                    | Place::BackOff
                    | Place::Behind { .. }
                    | Place::RollCall
                    | Place::Missing { .. }
                    | Place::Ready
                    | Place::Late
                    | Place::Delivering { .. }
                    | Place::Sent { .. }
                    | Place::Held { .. }
                    | Place::Queued { .. }
                    | Place::Lost { .. }
                    | Place::Refused { .. },
                )
                | None => {}
            }
        }
    }

    /// An agent lists what it holds: that is the lease. What is not owed, or what somebody else
    /// took by the journal, is a stray.
    fn see_held(
        &mut self,
        agent: &AgentId,
        held: BTreeSet<AttemptId>,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let mut foreign = 0;
        let mut strays = Vec::new();
        for id in held {
            let slot = self.attempts.slot(&id);
            let Some((slot, attempt)) = slot.and_then(|slot| Some((slot, self.attempts.at(slot)?)))
            else {
                if self.owned.contains(&self.count.of(id.run)) {
                    strays.push(id);
                } else {
                    foreign += 1;
                }
                continue;
            };
            let elsewhere = |by: &AgentId| by != agent;
            if attempt.offer.terms.taken_by.as_ref().is_some_and(elsewhere) {
                strays.push(id);
            } else if !attempt.place.agent().is_some_and(elsewhere)
                && !matches!(attempt.place, Place::Lost { .. })
            {
                self.see_pulled(slot);
                self.see_with(slot, agent, now);
                self.tell_held(slot, agent, effects);
            }
        }
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.foreign = foreign;
        if strays.is_empty() || known.strays_told.is_some_and(|at| now.since(at) < STRAYS_EVERY) {
            return;
        }
        known.strays_told = Some(now);
        for attempts in strays.chunks(MAX_SHARED) {
            let (agent, attempts) = (agent.clone(), attempts.to_vec());
            effects.push(FleetEffect::Strays { agent, attempts });
        }
    }

    /// An attempt is in the hands of an agent, by its own word.
    fn see_with(&mut self, slot: Slot, agent: &AgentId, now: Timestamp) {
        if let Some(attempt) = self.attempts.at_mut(slot)
            && let Place::Held { agent: by, seen } = &mut attempt.place
            && by == agent
        {
            *seen = now;
        } else {
            self.move_to(slot, Place::Held { agent: agent.clone(), seen: now });
        }
    }

    /// An agent said by a report that it works on an attempt.
    pub(super) fn taken(&mut self, agent: &AgentId, id: &AttemptId, now: Timestamp) {
        let lost_with_it = |attempt: &Attempt| match &attempt.place {
            Place::Lost { agent: by, .. } => by.as_ref() == Some(agent),
            Place::New
            | Place::Withheld
            | Place::BackOff
            | Place::Behind { .. }
            | Place::RollCall
            | Place::Missing { .. }
            | Place::Ready
            | Place::Late
            | Place::Delivering { .. }
            | Place::Sent { .. }
            | Place::Held { .. }
            | Place::Queued { .. }
            | Place::Refused { .. } => false,
        };
        let Some(slot) = self.attempts.slot(id) else { return };
        if !self.attempts.at(slot).is_some_and(lost_with_it) {
            self.entrust(slot, agent, now);
        }
    }

    /// An agent gave an attempt back untouched: the next one may have it.
    pub(super) fn released(&mut self, agent: &AgentId, id: &AttemptId, now: Timestamp) {
        let Some(slot) = self.attempts.slot(id) else { return };
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        let by_holder = attempt.place.agent() == Some(agent);
        if by_holder || matches!(attempt.place, Place::Queued { .. }) {
            if let Some(seldom) = attempt.seldom.there() {
                seldom.told = None;
            }
            self.send_again(slot, now);
        }
    }

    /// An agent answered a delivery, or did not: then it counts as sent, and heartbeats will tell.
    pub(super) fn delivered(
        &mut self,
        agent: &AgentId,
        attempts: Vec<AttemptId>,
        refused: &[(AttemptId, Refusal)],
        now: Timestamp,
    ) {
        for (id, refusal) in refused {
            self.refused(agent, id, *refusal, now);
            self.never_arrived(agent, id, now);
        }
        for id in attempts {
            if let Some(slot) = self.on_its_way(&id, agent) {
                self.move_to(slot, Place::Sent { agent: agent.clone(), since: now });
            } else {
                self.arrived_to_stop(agent, &id);
            }
        }
    }

    fn refused(&mut self, agent: &AgentId, id: &AttemptId, refusal: Refusal, now: Timestamp) {
        if let Some(slot) = self.on_its_way(id, agent) {
            self.make_ready(slot, now);
        }
        match refusal {
            Refusal::Busy => self.pause(agent, now.after(BUSY_PAUSE)),
            Refusal::Draining => {
                if let Some(known) = self.agents.get_mut(agent) {
                    known.draining = true;
                }
                self.takes_nothing(agent);
            }
            Refusal::UnknownCapability => {
                let capability = self.attempts.get(id).map(|attempt| attempt.capability().clone());
                self.withdraw(agent, capability.as_deref());
            }
        }
    }

    /// Returns the slot of an attempt that is on its way to an agent.
    pub(super) fn on_its_way(&self, id: &AttemptId, agent: &AgentId) -> Option<Slot> {
        let slot = self.attempts.slot(id)?;
        self.attempts.at(slot).filter(|attempt| attempt.is_to_go(Some(agent))).map(|_| slot)
    }

    /// Returns whether a task that was to be sent still is: to this agent, or into its queue.
    pub fn is_to_go(&self, id: &AttemptId, agent: Option<&AgentId>) -> bool {
        self.attempts.get(id).is_some_and(|attempt| attempt.is_to_go(agent))
    }
}

impl Attempt {
    fn is_to_go(&self, agent: Option<&AgentId>) -> bool {
        match agent {
            Some(agent) => matches!(&self.place, Place::Delivering { agent: to } if to == agent),
            None => matches!(self.place, Place::Queued { .. }),
        }
    }
}

/// Returns whether there can be such an attempt.
fn is_bearable(attempt: &AttemptId) -> bool {
    attempt.step.as_str().len() <= MAX_STEP_PATH
}
