//! The attempts that are owed, and where each of them is.

use std::cmp::Reverse;
use std::time::Duration;

use compact_str::CompactString;
use skep_protocol::limits::{AGENT_SILENCE, TAKEN_AFTER};
use skep_protocol::{AgentId, AttemptId, Timestamp};

use super::place::Place;
use super::pool::{Line, pool_of};
use super::progress::Watch;
use super::register::Slot;
use super::{Fleet, FleetEffect, touch};
use crate::OfferTask;

/// With less time left an attempt is sent to nobody, unless it had little from the beginning.
const TIME_TO_BE_SEEN: Duration = Duration::from_millis(100);

/// An attempt that is owed.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) id: AttemptId,
    pub(super) offer: Box<OfferTask>,
    pub(super) capability: CompactString,
    /// Where it waits for its turn.
    pub(super) line: Line,
    pub(super) place: Place,
    /// Where it is among those that are in the same hands.
    pub(super) held_as: usize,
    /// The order in which attempts became known; breaks ties.
    pub(super) arrival: u64,
    /// How often it was sent again on purpose.
    pub(super) sending: u32,
    /// The agent that the partition knows to hold it.
    pub(super) told: Option<AgentId>,
    /// Its run is paused: nobody gets it who does not have it.
    pub(super) withheld: bool,
    /// A breaker that lets only some pass let it go, and waits for its end.
    pub(super) admitted: bool,
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
    pub(super) timer: Option<Timestamp>,
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
        self.owned.insert(offer.task.partition);
        let id = offer.task.id();
        let taker = offer.taken_by.clone();
        let slot = match self.attempts.slot(&id) {
            Some(slot) => match self.owe_again(slot, offer, now) {
                Some(slot) => slot,
                None => return,
            },
            None => self.track_new(id, offer),
        };
        match taker {
            Some(taker) => self.entrust(slot, &taker, now),
            None => self.make_ready(slot, now),
        }
    }

    /// A partition owes an attempt that is known. Returns its slot if it has to find its place
    /// anew.
    fn owe_again(&mut self, slot: Slot, offer: Box<OfferTask>, now: Timestamp) -> Option<Slot> {
        let known = self.attempts.at_mut(slot)?;
        let resumed = std::mem::take(&mut known.withheld);
        match &known.place {
            // Their place in a pool depends on the particulars, which may have changed.
            Place::New
            | Place::Withheld
            | Place::BackOff
            | Place::Behind { .. }
            | Place::Ready
            | Place::Late
            | Place::Lost { .. }
            | Place::Refused { .. } => Some(self.track_anew(slot, offer)),
            Place::RollCall | Place::Missing { .. } => {
                self.renew(slot, offer);
                None
            }
            Place::Delivering { .. }
            | Place::Sent { .. }
            | Place::Held { .. }
            | Place::Queued { .. } => {
                let taker = offer.taken_by.clone();
                let elsewhere = taker.filter(|taker| known.place.agent() != Some(taker));
                let queued = matches!(known.place, Place::Queued { .. });
                self.renew(slot, offer);
                if let Some(taker) = elsewhere {
                    self.entrust(slot, &taker, now);
                } else if resumed && queued {
                    // Whoever pulled it meanwhile was told that it is not wanted.
                    self.send_again(slot, now);
                }
                None
            }
        }
    }

    /// Tracks a known attempt as if it was new, but for its past.
    fn track_anew(&mut self, slot: Slot, offer: Box<OfferTask>) -> Slot {
        let before = self.attempts.at(slot).map(|known| {
            let past = (known.sent, known.counted, known.paid, known.patience);
            ((known.sending, known.arrival), past)
        });
        let slot = self.track(offer);
        if let (Some((order, past)), Some(known)) = (before, self.attempts.at_mut(slot)) {
            (known.sending, known.arrival) = order;
            (known.sent, known.counted, known.paid, known.patience) = past;
            known.line.again &= !known.counted;
        }
        slot
    }

    /// The particulars of an attempt changed, and its place did not.
    fn renew(&mut self, slot: Slot, offer: Box<OfferTask>) {
        let Some(known) = self.attempts.at_mut(slot) else { return };
        let before = std::mem::replace(&mut known.offer, offer);
        self.rounds.forget(&known.id, &before.rounds);
        self.rounds.track(&known.id, &known.offer.rounds);
    }

    /// Takes it that an agent has an attempt, because the journal says so: whether it still does,
    /// its heartbeats or its silence will tell.
    pub(super) fn entrust(&mut self, slot: Slot, agent: &AgentId, now: Timestamp) {
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        attempt.told = Some(agent.clone());
        self.see_pulled(slot);
        let place = if self.agents.contains_key(agent) {
            Place::Held { agent: agent.clone(), seen: now }
        } else {
            Place::Missing { until: now.after(AGENT_SILENCE) }
        };
        self.move_to(slot, place);
    }

    /// The run of an attempt was paused: nobody gets it, but whoever has it goes on.
    pub(super) fn withhold(&mut self, slot: Slot) {
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        attempt.withheld = true;
        if !attempt.place.is_out() && attempt.place != Place::RollCall {
            self.move_to(slot, Place::Withheld);
        }
    }

    /// A task did not leave for its agent, and never will.
    pub(super) fn taken_back(&mut self, id: &AttemptId) {
        let Some(slot) = self.attempts.slot(id) else { return };
        let place = self.attempts.at(slot).map(|attempt| &attempt.place);
        if matches!(place, Some(Place::Delivering { .. })) {
            self.move_to(slot, Place::Late);
        }
    }

    pub(super) fn track(&mut self, offer: Box<OfferTask>) -> Slot {
        let id = offer.task.id();
        if let Some(known) = self.attempts.slot(&id) {
            self.forget(known);
        }
        self.track_new(id, offer)
    }

    fn track_new(&mut self, id: AttemptId, offer: Box<OfferTask>) -> Slot {
        self.rounds.track(&id, &offer.rounds);
        self.arrivals += 1;
        let attempt = Attempt {
            id,
            capability: CompactString::new(&offer.task.capability),
            line: offer.line(),
            place: Place::New,
            held_as: 0,
            arrival: self.arrivals,
            sending: 0,
            told: offer.taken_by.clone(),
            withheld: false,
            admitted: false,
            sent: None,
            counted: false,
            paid: None,
            unread: None,
            watch: None,
            patience: None,
            timer: None,
            offer,
        };
        self.attempts.insert(Box::new(attempt))
    }

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
                self.rounds.wait(&attempt.id, &attempt.offer.rounds);
            }
            Place::Missing { until: at }
            | Place::Lost { again: at, .. }
            | Place::Refused { again: at } => {
                attempt.timer = Some(*at);
            }
            Place::Ready => {
                let rank = attempt.rank();
                pool_of(&mut self.pools, &attempt.capability).push(&attempt.line, rank, slot);
                touch(&mut self.touched, &attempt.capability);
            }
            Place::Sent { since, .. } if attempt.told.is_none() => {
                attempt.timer = Some(attempt.taken_at(*since));
            }
            Place::Sent { .. } => {}
            Place::Queued { .. } => {
                pool_of(&mut self.pools, &attempt.capability).queued.insert(slot);
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
                if let Some(pool) = self.pools.get_mut(&attempt.capability) {
                    pool.remove(&attempt.line, &attempt.rank());
                }
            }
            Place::Queued { .. } => {
                if let Some(pool) = self.pools.get_mut(&attempt.capability) {
                    pool.queued.remove(&slot);
                }
                touch(&mut self.touched, &attempt.capability);
            }
            Place::Behind { .. } => self.rounds.go_on(&attempt.id, &attempt.offer.rounds),
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
            self.rounds.forget(&attempt.id, &attempt.offer.rounds);
            touch(&mut self.touched, &attempt.capability);
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
        let (partition, attempt) = (attempt.offer.task.partition, attempt.id.clone());
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
        if attempt.told.as_ref() == Some(agent) {
            return;
        }
        attempt.told = Some(agent.clone());
        let partition = attempt.offer.task.partition;
        let (agent, attempt) = (agent.clone(), attempt.id.clone());
        effects.push(FleetEffect::Held { partition, agent, attempt });
    }
}
