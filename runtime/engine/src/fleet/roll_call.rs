//! Asking all agents what they hold, after a partition was taken over.

use std::collections::{BTreeMap, BTreeSet};

use skep_protocol::limits::{AGENT_SILENCE, ROLL_CALL_WITHIN};
use skep_protocol::{AgentId, Lane, PartitionId, Timestamp};

use super::place::Place;
use super::{Fleet, FleetEffect, Timer};

/// A roll call that is under way.
#[derive(Debug)]
pub(super) struct RollCall {
    until: Timestamp,
    /// Who has to answer which question, if everybody who may hold something is known.
    missing: Option<BTreeMap<u64, BTreeSet<AgentId>>>,
}

impl RollCall {
    fn is_answered(&self) -> bool {
        self.missing.as_ref().is_some_and(BTreeMap::is_empty)
    }
}

impl Fleet {
    /// Asks everybody. Those who were sent something directly, or took it by the journal, have to
    /// answer; agents of the queue lane ask before they begin, and are answered by the journal.
    pub(super) fn call_roll(
        &mut self,
        partition: PartitionId,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        self.roll_calls += 1;
        let number = self.roll_calls;
        let until = now.after(ROLL_CALL_WITHIN);
        let before = self.roll_call.take();
        if let Some(before) = &before {
            self.timers.remove(&(before.until, Timer::RollCall));
        }
        self.timers.insert((until, Timer::RollCall));
        let knows_all = now >= self.knows_all_from;
        let missing = match before {
            _ if !knows_all => None,
            None => Some(BTreeMap::new()),
            Some(before) => before.missing,
        };
        let missing = missing.map(|mut missing| {
            let asked = self.who_may_hold(partition);
            if !asked.is_empty() {
                missing.insert(number, asked);
            }
            missing
        });
        self.roll_call = Some(RollCall { until, missing });
        effects.push(FleetEffect::RollCall { number, partition });
        self.end_answered_roll_call(now, effects);
    }

    fn who_may_hold(&self, partition: PartitionId) -> BTreeSet<AgentId> {
        let takers: BTreeSet<&AgentId> = self
            .attempts
            .all()
            .filter(|attempt| attempt.offer.partition == partition)
            .filter_map(|attempt| attempt.offer.terms.taken_by.as_ref())
            .collect();
        let known = self.agents.iter();
        let may = known.filter(|(id, agent)| agent.lane == Lane::Direct || takers.contains(id));
        may.map(|(id, _)| id.clone()).collect()
    }

    /// An agent answered; it lists what it holds.
    pub(super) fn answered(
        &mut self,
        agent: &AgentId,
        numbers: &[u64],
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(missing) = self.roll_call.as_mut().and_then(|call| call.missing.as_mut()) else {
            return;
        };
        // What is listed in the answer to a question was so at all earlier ones, too.
        let Some(last) = numbers.iter().max() else { return };
        missing.retain(|number, agents| {
            if number <= last {
                agents.remove(agent);
            }
            !agents.is_empty()
        });
        self.end_answered_roll_call(now, effects);
    }

    /// An agent is no more, and will not answer.
    pub(super) fn answers_nothing(&mut self, agent: &AgentId) {
        if let Some(missing) = self.roll_call.as_mut().and_then(|call| call.missing.as_mut()) {
            missing.retain(|_, agents| {
                agents.remove(agent);
                !agents.is_empty()
            });
        }
    }

    /// Ends the roll call if nobody is missing.
    pub(super) fn end_answered_roll_call(
        &mut self,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(until) = self.roll_call.as_ref().filter(|c| c.is_answered()).map(|c| c.until)
        else {
            return;
        };
        self.timers.remove(&(until, Timer::RollCall));
        self.end_roll_call(now, effects);
    }

    /// Everybody had time to answer: what nobody holds or reported is offered. What an agent took,
    /// by the journal, waits for that agent until its silence is long enough to tell.
    pub(super) fn end_roll_call(&mut self, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        self.roll_call = None;
        self.touched.extend(self.pools.keys().cloned());
        let waiting = self.attempts.those(|attempt| {
            attempt.place == Place::RollCall && !self.unread.contains(&attempt.offer.partition)
        });
        for slot in waiting {
            let taken_by =
                self.attempts.at(slot).and_then(|known| known.offer.terms.taken_by.clone());
            match taken_by {
                None => self.make_ready(slot, now),
                Some(agent) if self.agents.contains_key(&agent) => {
                    let cause = format!("agent {agent} does not hold it any more");
                    self.lose(slot, (Some(agent), cause), now, effects);
                }
                Some(_) => {
                    self.move_to(slot, Place::Missing { until: now.after(AGENT_SILENCE) });
                }
            }
        }
    }
}
