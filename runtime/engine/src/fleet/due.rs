//! Attempts whose time has come.

use skep_protocol::Timestamp;
use skep_protocol::limits::AGENT_SILENCE;

use super::attempt::Attempt;
use super::place::Place;
use super::register::Slot;
use super::{Fleet, FleetEffect, Link};

impl Fleet {
    /// Looks at all attempts that wait for one moment, in the order of their ids.
    pub(super) fn attempts_due(
        &mut self,
        at: Timestamp,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let mut slots = Vec::new();
        while self.due.first().is_some_and(|(due, _)| *due == at) {
            slots.extend(self.due.pop_first().map(|(_, slot)| slot));
        }
        self.attempts.sort(&mut slots);
        for slot in slots {
            self.attempt_due(slot, (at, now), effects);
        }
    }

    /// The time that an attempt waited for has come.
    fn attempt_due(
        &mut self,
        slot: Slot,
        (at, now): (Timestamp, Timestamp),
        effects: &mut Vec<FleetEffect>,
    ) {
        let due = |attempt: &&mut Attempt| attempt.timer == Some(at);
        let Some(attempt) = self.attempts.at_mut(slot).filter(due) else { return };
        attempt.timer = None;
        match attempt.place.clone() {
            Place::BackOff | Place::Behind { .. } | Place::Refused { .. } => {
                self.make_ready(slot, now);
            }
            Place::Missing { .. } if self.link_since.after(AGENT_SILENCE) > now => {
                self.move_to(slot, Place::Missing { until: self.link_since.after(AGENT_SILENCE) });
            }
            Place::Missing { .. } if self.link == Link::Down => {
                self.move_to(slot, Place::Missing { until: now.after(AGENT_SILENCE) });
            }
            Place::Missing { .. } => {
                let agent = attempt.offer.terms.taken_by.clone();
                let cause = "the agent that took it was not heard of again".to_owned();
                self.lose(slot, (agent, cause), now, effects);
            }
            Place::Sent { agent, .. } => self.tell_held(slot, &agent, effects),
            Place::Lost { agent, .. } => self.lost_in_vain(slot, agent, now, effects),
            Place::New
            | Place::Withheld
            | Place::RollCall
            | Place::Ready
            | Place::Late
            | Place::Delivering { .. }
            | Place::Held { .. }
            | Place::Queued { .. } => {}
        }
    }
}
