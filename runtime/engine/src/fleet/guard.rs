//! Breakers and retry budgets in front of dispatch: what may go out, and what came of it.

use std::collections::BTreeMap;

use compact_str::CompactString;
use skep_protocol::limits::RETRY_WINDOW;
use skep_protocol::{
    AgentId, AttemptId, Board, BreakerPhase, BreakerRecord, CoordinatorId, Failure, FailureKind,
    Timestamp,
};

use super::board::Post;
use super::breaker::{Breaker, Call, FORGOTTEN_AFTER, Open, Turn};
use super::budget::Budget;
use super::health::Peers;
use super::place::Place;
use super::pool::Line;
use super::register::Slot;
use super::{CallEnd, Fleet, FleetEffect, Timer, touch};

/// A breaker and what goes with it.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) breaker: Breaker,
    pub(super) capability: CompactString,
    /// When it is looked at next.
    armed: Option<Timestamp>,
    /// What of it was posted last; what the board said before that is old.
    posted: u64,
}

/// The retry budget of a capability and how its agents do, and when that is looked at next.
#[derive(Debug)]
pub(super) struct Purse {
    pub(super) budget: Budget,
    pub(super) peers: Peers,
    armed: Timestamp,
}

impl Guard {
    /// Returns whether it has to be armed: one that is closed and will be forgotten has not.
    fn is_unarmed(&self, now: Timestamp) -> bool {
        self.breaker.phase() != BreakerPhase::Closed
            || self.armed.is_none_or(|armed| armed > now.after(FORGOTTEN_AFTER))
    }

    /// Returns whether nothing at all passes.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.phase() == BreakerPhase::Open
    }
}

impl Fleet {
    /// Returns the name of the breaker in front of a line.
    pub(super) fn breaker_of<'a>(
        capability: &'a CompactString,
        line: &'a Line,
    ) -> &'a CompactString {
        line.breaker.as_ref().unwrap_or(capability)
    }

    /// Returns whether one more attempt of a line may go out.
    pub(super) fn passes(&self, capability: &CompactString, line: &Line, now: Timestamp) -> bool {
        let guard = self.guards.get(Self::breaker_of(capability, line));
        guard.is_none_or(|guard| guard.breaker.passes(now))
            && (!line.again || self.has_budget(capability, now))
    }

    fn has_budget(&self, capability: &CompactString, now: Timestamp) -> bool {
        self.purses.get(capability).is_none_or(|purse| purse.budget.has_room(now))
    }

    /// An attempt goes out: it counts.
    pub(super) fn goes_out(&mut self, slot: Slot, now: Timestamp) {
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        attempt.sent.get_or_insert(now);
        let again = attempt.first_from_now_on();
        let first = !std::mem::replace(&mut attempt.counted, true);
        if first {
            let purse =
                self.purses.entry(attempt.capability().clone()).or_insert_with_key(|name| {
                    let armed = now.after(RETRY_WINDOW);
                    self.timers.insert((armed, Timer::Budget(name.clone())));
                    Purse { budget: Budget::new(), peers: Peers::new(), armed }
                });
            if again {
                attempt.seldom.paid = Some(now);
                purse.budget.repeated(now);
            } else {
                purse.budget.first(now);
            }
        }
        let name = Self::breaker_of(attempt.capability(), &attempt.line);
        if let Some(guard) = self.guards.get_mut(name) {
            let admitted = guard.breaker.admit(attempt.id(), now);
            let unarmed = guard.is_unarmed(now).then(|| name.clone());
            attempt.admitted = admitted;
            if let Some(name) = unarmed {
                self.arm(&name, now);
            }
        }
    }

    /// An attempt that went out is back, or gone, without an end.
    pub(super) fn comes_back(&mut self, slot: Slot) {
        let Some(attempt) = self.attempts.at_mut(slot) else { return };
        if !std::mem::take(&mut attempt.admitted) {
            return;
        }
        let name = Self::breaker_of(attempt.capability(), &attempt.line);
        if let Some(guard) = self.guards.get_mut(name) {
            guard.breaker.withdraw(attempt.id());
        }
    }

    /// An attempt ended, by the journal.
    pub(super) fn call_ended(
        &mut self,
        (id, agent): (&AttemptId, Option<&AgentId>),
        end: &CallEnd,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(slot) = self.attempts.find(id) else { return };
        let Some(attempt) = self.attempts.at(slot) else { return };
        let (capability, paid) = (attempt.capability().clone(), attempt.seldom.paid);
        let failed = end.blames_capability(&attempt.offer.spec.unless);
        let shown = agent.zip(end.shows_agent(&attempt.offer.spec.unless));
        let took = end.took.or_else(|| attempt.sent.map(|sent| now.since(sent)));
        let name = Self::breaker_of(&capability, &attempt.line).clone();
        if let Some(paid) = paid.filter(|_| failed == Some(false))
            && let Some(purse) = self.purses.get_mut(&capability)
        {
            purse.budget.completed(paid);
            self.touched.insert(capability.clone());
        }
        let blamed = shown.is_some_and(|(agent, showing)| {
            self.judge_agent((agent, &capability), showing, now, effects)
        });
        if blamed && let Some(guard) = self.guards.get_mut(&name) {
            // What one agent did says nothing about the capability.
            guard.breaker.forget_counts();
        }
        let (Some(failed), Some(attempt)) = (failed, self.attempts.at(slot)) else { return };
        let call = Call { failed, took: took.unwrap_or_default() };
        let own = attempt.offer.spec.breaker.as_ref().map(|(_, policy)| policy);
        let guard = self.guards.entry(name.clone()).or_insert_with(|| {
            let policy = own.cloned().unwrap_or(Breaker::usual());
            let capability = capability.clone();
            Guard { breaker: Breaker::new(policy), capability, armed: None, posted: 0 }
        });
        if let Some(own) = own {
            guard.breaker.set_policy(own);
        }
        match guard.breaker.ended(id, call, now) {
            Some(turn) => self.turned(&name, turn, effects),
            None if guard.is_unarmed(now) => guard.breaker.tick(now),
            None => return,
        }
        self.arm(&name, now);
    }

    /// Tells everybody of a breaker that turned.
    fn turned(&mut self, name: &CompactString, turn: Turn, effects: &mut Vec<FleetEffect>) {
        let Some(guard) = self.guards.get(name) else { return };
        let post_name = name.to_string();
        let post = match (turn, guard.breaker.opened()) {
            (Turn::Opened, Some(open)) => {
                let record = BreakerRecord {
                    capability: guard.capability.to_string(),
                    phase: BreakerPhase::Open,
                    since: open.since,
                    until: open.until,
                    cause: open.cause.clone(),
                    trips: open.trips,
                    by: self.me.clone(),
                };
                Post::Opened { name: post_name, record }
            }
            (Turn::Healed, _) | (Turn::Opened, None) => Post::Healed { name: post_name },
        };
        self.post_of(name, post, effects);
    }

    fn post_of(&mut self, name: &CompactString, post: Post, effects: &mut Vec<FleetEffect>) {
        let number = self.post(post, effects);
        if let Some(guard) = self.guards.get_mut(name) {
            guard.posted = number;
        }
    }

    /// Puts something on the board; returns its number.
    pub(super) fn post(&mut self, post: Post, effects: &mut Vec<FleetEffect>) -> u64 {
        self.posts += 1;
        effects.push(FleetEffect::Post { number: self.posts, post });
        self.posts
    }

    /// The time of a breaker has come.
    pub(super) fn breaker_due(&mut self, name: &CompactString, now: Timestamp) {
        let Some(guard) = self.guards.get_mut(name) else { return };
        guard.armed = None;
        guard.breaker.tick(now);
        if guard.breaker.is_idle(now) {
            self.guards.remove(name);
            return;
        }
        self.arm(name, now);
    }

    /// Asks to probe the breakers whose cool-down is over and which hold work of this coordinator:
    /// one that has nothing to send would find out nothing, and keep the others from it.
    pub(super) fn ask_to_probe(
        &mut self,
        capability: &CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(pool) = self.pools.get(capability) else { return };
        let names = pool.lines().map(|line| Self::breaker_of(capability, line));
        let due = names.filter_map(|name| {
            let guard = self.guards.get(name)?;
            let due = guard.breaker.is_due(now) && guard.posted <= self.posted;
            due.then(|| (name.clone(), guard.breaker.lease()))
        });
        for (name, lease) in due.collect::<BTreeMap<_, _>>() {
            let post = Post::Probe { name: name.to_string(), lease };
            self.post_of(&name, post, effects);
        }
    }

    /// Sees to it that a breaker is looked at in time, and its pool with it.
    fn arm(&mut self, name: &CompactString, now: Timestamp) {
        let Some(guard) = self.guards.get_mut(name) else { return };
        if guard.breaker.phase() != BreakerPhase::Closed {
            touch(&mut self.touched, &guard.capability);
        }
        // One that is closed is looked at to be forgotten; one that waits for an answer gets it.
        let wanted = match guard.breaker.next_wake(now) {
            Some(at) if at > now => at,
            Some(_) | None => now.after(FORGOTTEN_AFTER),
        };
        if guard.armed.is_some_and(|armed| armed <= wanted) {
            return;
        }
        if let Some(armed) = guard.armed.replace(wanted) {
            self.timers.remove(&(armed, Timer::Breaker(name.clone())));
        }
        self.timers.insert((wanted, Timer::Breaker(name.clone())));
    }

    pub(super) fn budget_due(&mut self, capability: CompactString, now: Timestamp) {
        let Some(purse) = self.purses.get_mut(&capability) else { return };
        if purse.budget.is_idle(now) && purse.peers.is_idle(now) {
            self.purses.remove(&capability);
        } else {
            purse.armed = now.after(RETRY_WINDOW);
            self.timers.insert((purse.armed, Timer::Budget(capability.clone())));
        }
        self.touched.insert(capability);
    }

    /// Sees to it that what a budget holds is looked at when there is room.
    pub(super) fn watch_budget(&mut self, capability: &CompactString, now: Timestamp) {
        let held = self.pools.get(capability).is_some_and(|pool| pool.lines().any(|l| l.again));
        let Some(purse) = self.purses.get_mut(capability) else { return };
        if !held || purse.budget.has_room(now) {
            return;
        }
        let at = purse.budget.next_room(now);
        if at < purse.armed {
            self.timers.remove(&(purse.armed, Timer::Budget(capability.clone())));
            purse.armed = at;
            self.timers.insert((at, Timer::Budget(capability.clone())));
        }
    }

    /// Fails what asked for that while its breaker is open.
    pub(super) fn turn_away(
        &mut self,
        capability: &CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(pool) = self.pools.get(capability) else { return };
        let refuses = |line: &Line| {
            let guard = self.guards.get(Self::breaker_of(capability, line));
            line.fails && guard.is_some_and(|guard| guard.breaker.refuses(now))
        };
        let refused = pool.first_of(usize::MAX, refuses);
        for slot in refused {
            // One that went out before may be performed by somebody who pulled it: it waits.
            let Some(attempt) = self.attempts.at(slot).filter(|one| one.sending == 0) else {
                continue;
            };
            let partition = attempt.offer.partition;
            let name = Self::breaker_of(capability, &attempt.line);
            let guard = self.guards.get(name).and_then(|guard| guard.breaker.opened());
            let cause = guard.map_or("", |open| &open.cause);
            let message = format!("the circuit breaker of {name} is open: {cause}");
            let failure = Failure::new(FailureKind::BreakerOpen, "breaker_open", message).fatal();
            let again = now.after(skep_protocol::limits::AGENT_SILENCE);
            let attempt = attempt.id().clone();
            self.move_to(slot, Place::Refused { again });
            effects.push(FleetEffect::Failed { partition, attempt, agent: None, failure });
        }
    }

    /// Returns the capability whose work a breaker holds, if the breaker is known.
    pub fn capability_of_breaker(&self, name: &str) -> Option<String> {
        self.guards.get(name).map(|guard| guard.capability.to_string())
    }

    /// The board changed, or what was posted is on it.
    pub(super) fn see_breakers(&mut self, board: &Board, me: &CoordinatorId, now: Timestamp) {
        for (name, record) in &board.breakers {
            let name = CompactString::new(name);
            let guard = self.guards.entry(name.clone()).or_insert_with(|| Guard {
                breaker: Breaker::new(Breaker::usual()),
                capability: CompactString::new(&record.capability),
                armed: None,
                posted: 0,
            });
            if guard.posted <= self.posted {
                heed(&mut guard.breaker, record, me);
                self.arm(&name, now);
            }
        }
        let names: Vec<CompactString> = self
            .guards
            .iter()
            .filter(|(name, guard)| {
                guard.posted <= self.posted
                    && guard.breaker.opened().is_some()
                    && !board.breakers.contains_key(name.as_str())
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            if let Some(guard) = self.guards.get_mut(&name) {
                guard.breaker.close(now);
            }
            self.arm(&name, now);
        }
    }
}

/// Does with a breaker as the board says.
fn heed(breaker: &mut Breaker, record: &BreakerRecord, me: &CoordinatorId) {
    let mine = record.by.as_ref() == Some(me);
    let probing = record.phase == BreakerPhase::HalfOpen;
    match breaker.phase() {
        BreakerPhase::Open if probing && mine => breaker.half_open(),
        BreakerPhase::HalfOpen if probing && mine => {}
        BreakerPhase::Closed
        | BreakerPhase::Open
        | BreakerPhase::HalfOpen
        | BreakerPhase::Closing => breaker.open_as(Open {
            since: record.since,
            until: record.until,
            cause: record.cause.clone(),
            trips: record.trips,
        }),
    }
}
