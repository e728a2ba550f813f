//! The attempts that are owed, and where each of them is.

use std::cmp::Reverse;
use std::time::Duration;

use compact_str::CompactString;
use skep_protocol::limits::{AGENT_SILENCE, TAKEN_AFTER};
use skep_protocol::{AgentId, AttemptId, Timestamp};

use super::Fleet;
use super::place::Place;
use super::pool::Line;
use super::progress::Watch;
use super::register::Slot;
use crate::OfferTask;
use crate::rare::{Blank, Rare};

/// With less time left an attempt is sent to nobody, unless it had little from the beginning.
const TIME_TO_BE_SEEN: Duration = Duration::from_millis(100);

/// An attempt that is owed.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) offer: Box<OfferTask>,
    /// Where it waits for its turn.
    pub(super) line: Rare<Line>,
    pub(super) place: Place,
    /// Where it is among those that are in the same hands.
    pub(super) held_as: usize,
    /// The order in which attempts became known; breaks ties.
    pub(super) arrival: u64,
    /// How often it was sent again on purpose.
    pub(super) sending: u32,
    /// Its run is paused: nobody gets it who does not have it.
    pub(super) withheld: bool,
    /// A breaker that lets only some pass let it go, and waits for its end.
    pub(super) admitted: bool,
    /// When it first went out.
    pub(super) sent: Option<Timestamp>,
    /// The retry budget has seen it.
    pub(super) counted: bool,
    pub(super) timer: Option<Timestamp>,
    pub(super) seldom: Rare<Seldom>,
}

/// What is known of few attempts: the others do without the room for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seldom {
    /// The agent that the partition knows to hold it.
    pub(super) told: Option<AgentId>,
    /// When the retry budget paid for it.
    pub(super) paid: Option<Timestamp>,
    /// Since when agents cannot read it, and why.
    pub(super) unread: Option<(Timestamp, String)>,
    /// How it gets on, if it may not stall.
    pub(super) watch: Option<Watch>,
    /// Until when it waits for other steps, since it first had to.
    pub(super) patience: Option<Timestamp>,
}

impl Blank for Seldom {
    const BLANK: &'static Self =
        &Self { told: None, paid: None, unread: None, watch: None, patience: None };
}

/// The order in which ready attempts go: priority, time, arrival.
pub(super) type Rank = (Reverse<u8>, Timestamp, u64);

impl Attempt {
    pub(super) const fn id(&self) -> &AttemptId {
        &self.offer.id
    }

    pub(super) fn capability(&self) -> &CompactString {
        &self.offer.spec.capability
    }

    /// It waits with those that repeat nothing from here on. Returns whether it did not before.
    pub(super) fn first_from_now_on(&mut self) -> bool {
        self.line.there().is_some_and(|line| std::mem::take(&mut line.again))
    }

    pub(super) fn rank(&self) -> Rank {
        (Reverse(self.offer.spec.priority), self.offer.not_before, self.arrival)
    }

    /// When an attempt that was sent counts as taken, so that its `timeout` starts to run, and that
    /// nobody takes its `queue_timeout` to be over.
    pub(super) fn taken_at(&self, sent: Timestamp) -> Timestamp {
        let bound = TAKEN_AFTER.min(Duration::from_millis(self.offer.spec.timeout_ms));
        let left = self.offer.terms.take_by.map(|by| by.since(sent) / 2);
        sent.after(left.map_or(bound, |left| bound.min(left)))
    }

    /// Returns whether too little time is left for it to be seen to be taken once it is sent: the
    /// partition would give up what an agent performs.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        self.offer.terms.take_by.is_some_and(|by| {
            let time = by.since(self.offer.not_before);
            by.since(now) <= TIME_TO_BE_SEEN.min(time / 4)
        })
    }
}

impl Fleet {
    /// A partition owes an attempt; one that is known already keeps its place.
    pub(super) fn owe(&mut self, offer: Box<OfferTask>, now: Timestamp) {
        self.owned.insert(offer.partition);
        let taker = offer.terms.taken_by.clone();
        let slot = match self.attempts.slot(&offer.id) {
            Some(slot) => match self.owe_again(slot, offer, now) {
                Some(slot) => slot,
                None => return,
            },
            None => self.track_new(offer),
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
                let taker = offer.terms.taken_by.clone();
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
            let Seldom { paid, patience, .. } = *known.seldom;
            let past = (known.sent, known.counted, paid, patience);
            ((known.sending, known.arrival), past)
        });
        let slot = self.track(offer);
        if let (Some((order, past)), Some(known)) = (before, self.attempts.at_mut(slot)) {
            (known.sending, known.arrival) = order;
            let (paid, patience);
            (known.sent, known.counted, paid, patience) = past;
            if paid.is_some() || patience.is_some() {
                (known.seldom.paid, known.seldom.patience) = (paid, patience);
            }
            if known.counted {
                known.first_from_now_on();
            }
        }
        slot
    }

    /// The particulars of an attempt changed, and its place did not.
    fn renew(&mut self, slot: Slot, offer: Box<OfferTask>) {
        let Some(known) = self.attempts.at_mut(slot) else { return };
        let before = std::mem::replace(&mut known.offer, offer);
        self.rounds.forget(known.id(), &before.terms.rounds);
        self.rounds.track(known.id(), &known.offer.terms.rounds);
    }

    /// Takes it that an agent has an attempt, because the journal says so: whether it still does,
    /// its heartbeats or its silence will tell.
    pub(super) fn entrust(&mut self, slot: Slot, agent: &AgentId, now: Timestamp) {
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        attempt.seldom.told = Some(agent.clone());
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
        if let Some(known) = self.attempts.slot(&offer.id) {
            self.forget(known);
        }
        self.track_new(offer)
    }

    fn track_new(&mut self, offer: Box<OfferTask>) -> Slot {
        self.rounds.track(&offer.id, &offer.terms.rounds);
        self.arrivals += 1;
        let attempt = Attempt {
            line: offer.line().into(),
            place: Place::New,
            held_as: 0,
            arrival: self.arrivals,
            sending: 0,
            withheld: false,
            admitted: false,
            sent: None,
            counted: false,
            timer: None,
            seldom: Seldom { told: offer.terms.taken_by.clone(), ..Seldom::BLANK.clone() }.into(),
            offer,
        };
        self.attempts.insert(Box::new(attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With 100 000 attempts that wait, each byte is 100 kB.
    #[test]
    fn an_attempt_that_waits_is_small() {
        assert!(size_of::<Attempt>() <= 120, "{}", size_of::<Attempt>());
        assert!(size_of::<OfferTask>() <= 120, "{}", size_of::<OfferTask>());
    }
}
