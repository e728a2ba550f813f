//! The attempts that are owed, and where each of them is.

use std::cmp::Reverse;
use std::time::Duration;

use compact_str::CompactString;
use skep_protocol::limits::{AGENT_SILENCE, TAKEN_AFTER};
use skep_protocol::{AgentId, AttemptId, Timestamp};

use super::place::Place;
use super::pool::Line;
use super::progress::Watch;
use super::{Fleet, FleetEffect, Link, Timer};
use crate::OfferTask;

/// With less time left an attempt is sent to nobody, unless it had little from the beginning.
const TIME_TO_BE_SEEN: Duration = Duration::from_millis(100);

/// An attempt that is owed.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) offer: Box<OfferTask>,
    pub(super) capability: CompactString,
    /// Where it waits for its turn.
    pub(super) line: Line,
    pub(super) place: Place,
    /// The order in which attempts became known; breaks ties.
    pub(super) arrival: u64,
    /// How often it was sent again on purpose.
    pub(super) sending: u32,
    /// The agent that the partition knows to hold it.
    pub(super) told: Option<AgentId>,
    /// Its run is paused: nobody gets it who does not have it.
    pub(super) withheld: bool,
    /// When it first went out.
    pub(super) sent: Option<Timestamp>,
    /// The retry budget has seen it.
    pub(super) counted: bool,
    /// When the retry budget paid for it.
    pub(super) paid: Option<Timestamp>,
    /// Since when agents cannot read it, and why.
    pub(super) unread: Option<(Timestamp, String)>,
    /// How it gets on, if it may not stall.
    pub(super) watch: Option<Watch>,
    /// Until when it waits for other steps, since it first had to.
    pub(super) patience: Option<Timestamp>,
    timer: Option<Timestamp>,
}

/// The order in which ready attempts go: priority, time, arrival.
pub(super) type Rank = (Reverse<u8>, Timestamp, u64);

impl Attempt {
    pub(super) fn rank(&self) -> Rank {
        (Reverse(self.offer.task.priority), self.offer.not_before, self.arrival)
    }

    /// When an attempt that was sent counts as taken, so that its `timeout` starts to run, and that
    /// nobody takes its `queue_timeout` to be over.
    fn taken_at(&self, sent: Timestamp) -> Timestamp {
        let bound = TAKEN_AFTER.min(Duration::from_millis(self.offer.task.timeout_ms));
        let left = self.offer.take_by.map(|by| by.since(sent) / 2);
        sent.after(left.map_or(bound, |left| bound.min(left)))
    }

    /// Returns whether too little time is left for it to be seen to be taken once it is sent: the
    /// partition would give up what an agent performs.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        self.offer.take_by.is_some_and(|by| {
            let time = by.since(self.offer.not_before);
            by.since(now) <= TIME_TO_BE_SEEN.min(time / 4)
        })
    }
}

impl Fleet {
    /// A partition owes an attempt; one that is known already keeps its place.
    pub(super) fn owe(&mut self, offer: Box<OfferTask>, now: Timestamp) {
        let id = offer.task.id();
        self.owned.insert(offer.task.partition);
        if let Some(known) = self.attempts.get_mut(&id) {
            let resumed = std::mem::take(&mut known.withheld);
            let taker = offer.taken_by.clone();
            match &known.place {
                // Their place in a pool depends on the particulars, which may have changed.
                Place::New
                | Place::Withheld
                | Place::BackOff
                | Place::Behind { .. }
                | Place::Ready
                | Place::Late
                | Place::Lost { .. }
                | Place::Refused { .. } => {}
                Place::RollCall | Place::Missing { .. } => return self.renew(&id, offer),
                Place::Delivering { .. }
                | Place::Sent { .. }
                | Place::Held { .. }
                | Place::Queued { .. } => {
                    let elsewhere = taker.filter(|taker| known.place.agent() != Some(taker));
                    let queued = matches!(known.place, Place::Queued { .. });
                    self.renew(&id, offer);
                    if let Some(taker) = elsewhere {
                        self.entrust(&id, &taker, now);
                    } else if resumed && queued {
                        // Whoever pulled it meanwhile was told that it is not wanted.
                        self.send_again(&id, now);
                    }
                    return;
                }
            }
        }
        let taker = offer.taken_by.clone();
        let before = self.attempts.get(&id).map(|known| {
            let past = (known.sent, known.counted, known.paid, known.patience);
            ((known.sending, known.arrival), past)
        });
        self.track(offer);
        if let (Some((order, past)), Some(known)) = (before, self.attempts.get_mut(&id)) {
            (known.sending, known.arrival) = order;
            (known.sent, known.counted, known.paid, known.patience) = past;
            known.line.again &= !known.counted;
        }
        match taker {
            Some(taker) => self.entrust(&id, &taker, now),
            None => self.make_ready(&id, now),
        }
    }

    /// The particulars of an attempt changed, and its place did not.
    fn renew(&mut self, id: &AttemptId, offer: Box<OfferTask>) {
        let Some(known) = self.attempts.get_mut(id) else { return };
        let before = std::mem::replace(&mut known.offer, offer);
        self.rounds.forget(id, &before.rounds);
        self.rounds.track(id, &known.offer.rounds);
    }

    /// Takes it that an agent has an attempt, because the journal says so: whether it still does,
    /// its heartbeats or its silence will tell.
    pub(super) fn entrust(&mut self, id: &AttemptId, agent: &AgentId, now: Timestamp) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.told = Some(agent.clone());
        self.see_pulled(id);
        let place = if self.agents.contains_key(agent) {
            Place::Held { agent: agent.clone(), seen: now }
        } else {
            Place::Missing { until: now.after(AGENT_SILENCE) }
        };
        self.move_to(id, place);
    }

    /// The run of an attempt was paused: nobody gets it, but whoever has it goes on.
    pub(super) fn withhold(&mut self, id: &AttemptId) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.withheld = true;
        if !attempt.place.is_out() && attempt.place != Place::RollCall {
            self.move_to(id, Place::Withheld);
        }
    }

    /// A task did not leave for its agent, and never will.
    pub(super) fn taken_back(&mut self, id: &AttemptId) {
        let place = self.attempts.get(id).map(|attempt| &attempt.place);
        if matches!(place, Some(Place::Delivering { .. })) {
            self.move_to(id, Place::Late);
        }
    }

    pub(super) fn track(&mut self, offer: Box<OfferTask>) {
        let id = offer.task.id();
        if self.attempts.contains_key(&id) {
            self.forget(&id);
        }
        self.rounds.track(&id, &offer.rounds);
        self.arrivals += 1;
        let attempt = Attempt {
            capability: CompactString::new(&offer.task.capability),
            line: offer.line(),
            place: Place::New,
            arrival: self.arrivals,
            sending: 0,
            told: offer.taken_by.clone(),
            withheld: false,
            sent: None,
            counted: false,
            paid: None,
            unread: None,
            watch: None,
            patience: None,
            timer: None,
            offer,
        };
        self.attempts.insert(id, Box::new(attempt));
    }

    /// Lets an attempt wait for its turn, or first for its time.
    pub(super) fn make_ready(&mut self, id: &AttemptId, now: Timestamp) {
        self.comes_back(id);
        let Some(attempt) = self.attempts.get(id) else { return };
        let place = if attempt.withheld {
            Place::Withheld
        } else if attempt.offer.not_before > now {
            Place::BackOff
        } else if let Some(until) = self.waits_until(id, now) {
            Place::Behind { until }
        } else {
            Place::Ready
        };
        self.move_to(id, place);
    }

    /// Offers an attempt again that went astray.
    pub(super) fn send_again(&mut self, id: &AttemptId, now: Timestamp) {
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.sending += 1;
        }
        self.make_ready(id, now);
    }

    /// The only way from one place to another: keeps every index in step.
    pub(super) fn move_to(&mut self, id: &AttemptId, to: Place) {
        let Some(before) = self.leave(id) else { return };
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.place = to;
        let (rank, due) = (attempt.rank(), attempt.offer.not_before);
        let pool = self.pools.entry(attempt.capability.clone()).or_default();
        match &attempt.place {
            Place::New
            | Place::Withheld
            | Place::RollCall
            | Place::Late
            | Place::Delivering { .. }
            | Place::Held { .. } => {}
            Place::BackOff => attempt.timer = Some(due),
            Place::Behind { until } => {
                attempt.timer = Some(*until);
                self.rounds.wait(id, &attempt.offer.rounds);
            }
            Place::Missing { until: at }
            | Place::Lost { again: at, .. }
            | Place::Refused { again: at } => {
                attempt.timer = Some(*at);
            }
            Place::Ready => {
                pool.push(&attempt.line, rank, id.clone());
                self.touched.insert(attempt.capability.clone());
            }
            Place::Sent { since, .. } if attempt.told.is_none() => {
                attempt.timer = Some(attempt.taken_at(*since));
            }
            Place::Sent { .. } => {}
            Place::Queued { .. } => {
                pool.queued.insert(id.clone());
            }
        }
        if let Some(at) = attempt.timer {
            self.timers.insert((at, Timer::Attempt(id.clone())));
        }
        let (before, after) = (before.agent(), attempt.place.agent());
        if before == after {
            return;
        }
        let (after, capability) = (after.cloned(), attempt.capability.clone());
        if let Some(agent) = before {
            self.take_from(agent, id, &capability);
        }
        if let Some(agent) = after {
            self.hand_to(&agent, id, &capability);
        }
    }

    /// Takes an attempt out of where it is, but not out of the hands that it is in, and returns
    /// where that was.
    fn leave(&mut self, id: &AttemptId) -> Option<Place> {
        let attempt = self.attempts.get_mut(id)?;
        if let Some(at) = attempt.timer.take() {
            self.timers.remove(&(at, Timer::Attempt(id.clone())));
        }
        let (rank, capability) = (attempt.rank(), attempt.capability.clone());
        let place = std::mem::replace(&mut attempt.place, Place::New);
        if let Some(pool) = self.pools.get_mut(&capability) {
            match &place {
                Place::Ready => pool.remove(&attempt.line, &rank),
                Place::Queued { .. } => {
                    pool.queued.remove(id);
                    self.touched.insert(capability.clone());
                }
                Place::Behind { .. } => self.rounds.go_on(id, &attempt.offer.rounds),
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
        }
        Some(place)
    }

    /// Drops an attempt from every index.
    pub(super) fn forget(&mut self, id: &AttemptId) {
        self.comes_back(id);
        let before = self.leave(id);
        if let Some(attempt) = self.attempts.remove(id) {
            if let Some(agent) = before.as_ref().and_then(Place::agent) {
                self.take_from(agent, id, &attempt.capability);
            }
            self.rounds.forget(id, &attempt.offer.rounds);
            self.touched.insert(attempt.capability);
        }
    }

    /// Tells the partition that the attempt is lost; it settles it and owes another one, or none.
    pub(super) fn lose(
        &mut self,
        id: &AttemptId,
        (agent, cause): (Option<AgentId>, String),
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let again = now.after(AGENT_SILENCE);
        self.move_to(id, Place::Lost { agent: agent.clone(), again });
        let Some(attempt) = self.attempts.get(id) else { return };
        let (partition, attempt) = (attempt.offer.task.partition, id.clone());
        effects.push(FleetEffect::Lost { partition, attempt, agent, cause });
    }

    /// Tells the partition who holds the attempt, unless it knows.
    pub(super) fn tell_held(
        &mut self,
        id: &AttemptId,
        agent: &AgentId,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        if attempt.told.as_ref() == Some(agent) {
            return;
        }
        attempt.told = Some(agent.clone());
        let (partition, agent, attempt) = (attempt.offer.task.partition, agent.clone(), id.clone());
        effects.push(FleetEffect::Held { partition, agent, attempt });
    }

    /// The time that an attempt waited for has come.
    pub(super) fn attempt_due(
        &mut self,
        id: &AttemptId,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.timer = None;
        match attempt.place.clone() {
            Place::BackOff | Place::Behind { .. } | Place::Refused { .. } => {
                self.make_ready(id, now);
            }
            Place::Missing { .. } if self.link_since.after(AGENT_SILENCE) > now => {
                self.move_to(id, Place::Missing { until: self.link_since.after(AGENT_SILENCE) });
            }
            Place::Missing { .. } if self.link == Link::Down => {
                self.move_to(id, Place::Missing { until: now.after(AGENT_SILENCE) });
            }
            Place::Missing { .. } => {
                let agent = attempt.offer.taken_by.clone();
                let cause = "the agent that took it was not heard of again".to_owned();
                self.lose(id, (agent, cause), now, effects);
            }
            Place::Sent { agent, .. } => self.tell_held(id, &agent, effects),
            Place::Lost { agent, .. } => self.lost_in_vain(id, agent, now, effects),
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
