//! The ways of an attempt from one place to another, and what each of them means for the indexes.

use skep_protocol::limits::AGENT_SILENCE;
use skep_protocol::{AgentId, Timestamp};

use super::place::Place;
use super::pool::pool_of;
use super::register::Slot;
use super::{Fleet, FleetEffect, touch};

impl Fleet {
    /// Lets an attempt wait for its turn, or first for its time.
    pub(super) fn make_ready(&mut self, slot: Slot, now: Timestamp) {
        self.comes_back(slot);
        let Some(attempt) = self.attempts.at(slot) else { return };
        let place = if attempt.withheld {
            Place::Withheld
        } else if attempt.offer.not_before > now {
            Place::BackOff
        } else if let Some(until) = self.waits_until(slot, now) {
            Place::Behind { until }
        } else {
            Place::Ready
        };
        self.move_to(slot, place);
    }

    /// Offers an attempt again that went astray.
    pub(super) fn send_again(&mut self, slot: Slot, now: Timestamp) {
        if let Some(attempt) = self.attempts.at_mut(slot) {
            attempt.sending += 1;
        }
        self.make_ready(slot, now);
    }

    /// The only way from one place to another: keeps every index in step.
    pub(super) fn move_to(&mut self, slot: Slot, to: Place) {
        let Some(before) = self.leave(slot) else { return };
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        attempt.place = to;
        match &attempt.place {
            Place::New
            | Place::Withheld
            | Place::RollCall
            | Place::Late
            | Place::Delivering { .. }
            | Place::Held { .. } => {}
            Place::BackOff => attempt.timer = Some(attempt.offer.not_before),
            Place::Behind { until } => {
                attempt.timer = Some(*until);
                self.rounds.wait(attempt.id(), &attempt.offer.terms.rounds);
            }
            Place::Missing { until: at }
            | Place::Lost { again: at, .. }
            | Place::Refused { again: at } => {
                attempt.timer = Some(*at);
            }
            Place::Ready => {
                let rank = attempt.rank();
                pool_of(&mut self.pools, attempt.capability()).push(&attempt.line, rank, slot);
                touch(&mut self.touched, attempt.capability());
            }
            Place::Sent { since, .. } if attempt.seldom.told.is_none() => {
                attempt.timer = Some(attempt.taken_at(*since));
            }
            Place::Sent { .. } => {}
            Place::Queued { number, .. } => {
                pool_of(&mut self.pools, attempt.capability()).queued.insert(*number, slot);
            }
        }
        if let Some(at) = attempt.timer {
            self.due.insert((at, slot));
        }
        let (before, after) = (before.agent(), attempt.place.agent());
        if before == after {
            return;
        }
        let after = after.cloned();
        if let Some(agent) = before {
            self.take_from(agent, slot);
        }
        if let Some(agent) = after {
            self.hand_to(&agent, slot);
        }
    }

    /// Takes an attempt out of where it is, but not out of the hands that it is in, and returns
    /// where that was.
    fn leave(&mut self, slot: Slot) -> Option<Place> {
        let attempt = self.attempts.at_mut(slot)?;
        if let Some(at) = attempt.timer.take() {
            self.due.remove(&(at, slot));
        }
        let place = std::mem::replace(&mut attempt.place, Place::New);
        match &place {
            Place::Ready => {
                if let Some(pool) = self.pools.get_mut(attempt.capability()) {
                    pool.remove(&attempt.line, &attempt.rank());
                }
            }
            Place::Queued { number, .. } => {
                if let Some(pool) = self.pools.get_mut(attempt.capability()) {
                    pool.queued.remove(number);
                }
                touch(&mut self.touched, attempt.capability());
            }
            Place::Behind { .. } => self.rounds.go_on(attempt.id(), &attempt.offer.terms.rounds),
            Place::New
            | Place::Withheld
            | Place::BackOff
            | Place::RollCall
            | Place::Missing { .. }
            | Place::Late
            | Place::Delivering { .. }
            | Place::Sent { .. }
            | Place::Held { .. }
            | Place::Lost { .. }
            | Place::Refused { .. } => {}
        }
        Some(place)
    }

    /// Drops an attempt from every index.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.comes_back(slot);
        let before = self.leave(slot);
        if let Some(agent) = before.as_ref().and_then(Place::agent) {
            self.take_from(agent, slot);
        }
        if let Some(attempt) = self.attempts.remove(slot) {
            self.rounds.forget(attempt.id(), &attempt.offer.terms.rounds);
            touch(&mut self.touched, attempt.capability());
        }
    }

    /// Tells the partition that the attempt is lost; it settles it and owes another one, or none.
    pub(super) fn lose(
        &mut self,
        slot: Slot,
        (agent, cause): (Option<AgentId>, String),
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let again = now.after(AGENT_SILENCE);
        self.move_to(slot, Place::Lost { agent: agent.clone(), again });
        let Some(attempt) = self.attempts.at(slot) else { return };
        let (partition, attempt) = (attempt.offer.partition, attempt.id().clone());
        effects.push(FleetEffect::Lost { partition, attempt, agent, cause });
    }

    /// Tells the partition who holds the attempt, unless it knows.
    pub(super) fn tell_held(
        &mut self,
        slot: Slot,
        agent: &AgentId,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        if attempt.seldom.told.as_ref() == Some(agent) {
            return;
        }
        attempt.seldom.told = Some(agent.clone());
        let partition = attempt.offer.partition;
        let (agent, attempt) = (agent.clone(), attempt.id().clone());
        effects.push(FleetEffect::Held { partition, agent, attempt });
    }
}
