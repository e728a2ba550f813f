//! Soft state: which agents are there, what they hold, and which attempt goes to whom next.
//!
//! The fleet is a machine without I/O over all partitions that one coordinator owns. Nothing in it
//! is ever stored: after a crash it starts empty, asks the agents what they hold (a roll call) and
//! is told by the partitions what they owe. Losing it costs time, never work.
//!
//! Read [`FleetInput`] and [`FleetEffect`] first. Time comes in as an argument.

mod agent;
mod attempt;
mod beat;
mod board;
mod breaker;
mod budget;
mod dispatch;
mod due;
mod explain;
mod guard;
mod health;
mod input;
mod moves;
mod place;
mod pool;
mod presence;
mod progress;
mod quarantine;
mod queue_lane;
mod ration;
mod register;
mod roll_call;
mod rounds;
mod stopping;
#[cfg(test)]
mod tests;
mod unread;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compact_str::CompactString;
use skep_protocol::limits::{KNOWS_ALL_AFTER, MAX_SHARED, ROLL_CALL_WITHIN};
use skep_protocol::{
    AgentId, AttemptId, Board, CoordinatorId, PartitionCount, PartitionId, Timestamp,
};

use crate::OfferTask;

use agent::Agent;
use guard::{Guard, Purse};
use place::Place;
use pool::Pools;
use register::{Register, Slot};
use roll_call::RollCall;
use rounds::Rounds;
use stopping::Stopping;

pub use board::{Post, Share};
pub use input::{CallEnd, CallOutcome, FleetEffect, FleetInput, Link};

/// Presence, leases and dispatch of one coordinator.
///
/// **Invariants:** an agent never has more attempts of a capability in its hands than it has slots
/// for; an attempt is in exactly one place; what is owed and not settled is tracked.
#[derive(Debug)]
pub struct Fleet {
    count: PartitionCount,
    owned: BTreeSet<PartitionId>,
    /// Recovered ones for which reports may lie that were not read yet.
    unread: BTreeSet<PartitionId>,
    attempts: Register,
    agents: BTreeMap<AgentId, Agent>,
    /// Those that may have more room than the pools know.
    eased: Vec<AgentId>,
    pools: Pools,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// When attempts want to be looked at.
    due: BTreeSet<(Timestamp, Slot)>,
    touched: BTreeSet<CompactString>,
    outbox: BTreeMap<AgentId, Vec<Slot>>,
    cancels: BTreeMap<AgentId, Vec<AttemptId>>,
    /// What agents were told to stop and have not stopped, as far as is known.
    stopping: BTreeMap<AttemptId, Stopping>,
    /// Who waits for which of these besides those at the same step.
    rounds: Rounds,
    /// Agents that pull and are to be told how much.
    rations: BTreeSet<AgentId>,
    arrivals: u64,
    link: Link,
    link_since: Timestamp,
    /// From when on everybody who is there was heard.
    knows_all_from: Timestamp,
    /// When this was called last; the epoch if never.
    looked: Timestamp,
    roll_call: Option<RollCall>,
    roll_calls: u64,
    /// Breakers, by name: of capabilities, and of steps that have their own.
    guards: BTreeMap<CompactString, Guard>,
    /// Retry budgets, by capability.
    purses: BTreeMap<CompactString, Purse>,
    /// What the coordinators share, as it was seen last.
    board: Board,
    /// The name of this coordinator, once it is known.
    me: Option<CoordinatorId>,
    /// How often something was posted, and up to where the board has it.
    posts: u64,
    posted: u64,
}

/// This process slept, or was stopped, if it was not called for so long.
const STALL: Duration = Duration::from_secs(2);

/// What a moment was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The roll call ends.
    RollCall,
    /// An agent may have been silent for too long.
    Silence(AgentId),
    /// An agent that holds something may be gone.
    Look(AgentId),
    /// An agent that was busy may be asked again.
    Busy(AgentId),
    /// The queue of a capability may have lost tasks.
    Depth(CompactString),
    /// A breaker wants to be looked at.
    Breaker(CompactString),
    /// A retry budget may have room.
    Budget(CompactString),
    /// The quarantine of an agent may be over.
    Parole(AgentId),
}

impl Fleet {
    /// Creates a fleet that knows nobody and owes nothing.
    pub const fn new(count: PartitionCount) -> Self {
        Self {
            count,
            owned: BTreeSet::new(),
            unread: BTreeSet::new(),
            attempts: Register::new(),
            agents: BTreeMap::new(),
            eased: Vec::new(),
            pools: Pools::new(),
            timers: BTreeSet::new(),
            due: BTreeSet::new(),
            touched: BTreeSet::new(),
            outbox: BTreeMap::new(),
            cancels: BTreeMap::new(),
            stopping: BTreeMap::new(),
            rounds: Rounds::new(),
            rations: BTreeSet::new(),
            arrivals: 0,
            link: Link::Up,
            link_since: Timestamp::EPOCH,
            knows_all_from: Timestamp::EPOCH,
            looked: Timestamp::EPOCH,
            roll_call: None,
            roll_calls: 0,
            guards: BTreeMap::new(),
            purses: BTreeMap::new(),
            board: Board {
                v: Board::VERSION,
                at: Timestamp::EPOCH,
                breakers: BTreeMap::new(),
                agents: BTreeMap::new(),
            },
            me: None,
            posts: 0,
            posted: 0,
        }
    }

    /// Takes in what happened and adds what is to be done about it to `effects`. It is to be called
    /// once in a second, with a [`FleetInput::Wake`] if there is nothing else: a longer pause is
    /// taken for one of this process, in which it could not hear anybody.
    pub fn handle(&mut self, input: FleetInput, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        self.handle_all([input], now, effects);
    }

    /// Takes in several things as if they had happened at once: nothing is handed out before all of
    /// them are known, so that what goes first is what comes first in order.
    pub fn handle_all(
        &mut self,
        inputs: impl IntoIterator<Item = FleetInput>,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let before = std::mem::replace(&mut self.looked, now);
        if before == Timestamp::EPOCH {
            self.listens_from(now);
        } else if now.since(before) > STALL {
            self.slept(now, effects);
        }
        for input in inputs {
            self.take_in(input, now, effects);
        }
        self.fire(now, effects);
        self.relist_eased();
        if self.link == Link::Up {
            self.dispatch(now, effects);
        }
        self.flush_cancels(effects);
        self.flush_rations(effects);
    }

    fn take_in(&mut self, input: FleetInput, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        match input {
            FleetInput::Owed(offer) => self.owe(offer, now),
            FleetInput::Recovered { partition, owed, withheld } => {
                self.recover(partition, (owed, withheld), now, effects);
            }
            FleetInput::CaughtUp { partition } => self.caught_up(partition, now, effects),
            FleetInput::Dropped { partition } => self.drop_partition(partition),
            FleetInput::Withheld { attempt } => {
                if let Some(slot) = self.attempts.slot(&attempt) {
                    self.withhold(slot);
                }
            }
            FleetInput::TakenBack { attempt } => self.taken_back(&attempt),
            FleetInput::Settled { attempt, reported_by } => {
                self.settle(&attempt, reported_by.as_ref(), now);
            }
            FleetInput::Released { agent, attempt } => self.released(&agent, &attempt, now),
            FleetInput::Taken { agent, attempt } => self.taken(&agent, &attempt, now),
            FleetInput::Beat(heartbeat) => self.beat(*heartbeat, now, effects),
            FleetInput::Delivered { agent, attempts, refused, unread } => {
                self.reached(&agent, now);
                for (id, cause) in unread {
                    self.unread(&agent, &id, cause, now);
                }
                self.delivered(&agent, attempts, &refused, now);
            }
            FleetInput::NoAgent { agent, attempts, sent } => {
                self.no_agent(&agent, (attempts, sent), now, effects);
            }
            FleetInput::DeliveryUnknown { agent, attempts } => {
                self.delivered(&agent, attempts, &[], now);
            }
            FleetInput::Depth { capability, waiting, held } => {
                self.depth(&capability, waiting.saturating_add(held), now);
            }
            FleetInput::Ended { attempt, agent, end } => {
                self.call_ended((&attempt, agent.as_ref()), &end, now, effects);
            }
            FleetInput::Board { board, me, posted } => self.see_board(board, me, posted, now),
            FleetInput::Link(link) => self.set_link(link, now),
            FleetInput::Wake => {}
        }
    }

    /// Returns when [`FleetInput::Wake`] is due next.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let due = self.due.first().map(|(at, _)| *at);
        timer.into_iter().chain(due).min()
    }

    /// Returns how many attempts are tracked.
    pub fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Returns whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Takes over what a partition owes according to its journal. Any of it may be in the hands of
    /// an agent already, so nobody else gets it before the agents had time to say so, and before
    /// what they left was read.
    fn recover(
        &mut self,
        partition: PartitionId,
        (owed, withheld): (Vec<OfferTask>, Vec<OfferTask>),
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        self.owned.insert(partition);
        self.unread.insert(partition);
        let owed = owed.into_iter().map(|offer| (offer, false));
        for (offer, paused) in owed.chain(withheld.into_iter().map(|offer| (offer, true))) {
            let slot = self.track(Box::new(offer));
            if paused {
                self.withhold(slot);
            }
            self.move_to(slot, Place::RollCall);
        }
        self.call_roll(partition, now, effects);
    }

    fn caught_up(
        &mut self,
        partition: PartitionId,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        if self.unread.remove(&partition) && self.roll_call.is_none() {
            self.end_roll_call(now, effects);
        }
    }

    /// Forgets a partition that somebody else owns from here on. Its agents are told nothing: what
    /// they hold is the business of the new owner.
    fn drop_partition(&mut self, partition: PartitionId) {
        self.owned.remove(&partition);
        self.unread.remove(&partition);
        for slot in self.attempts.those(|known| known.offer.partition == partition) {
            self.forget(slot);
        }
        self.forget_stopping();
    }

    fn see_board(&mut self, board: Board, me: CoordinatorId, posted: u64, now: Timestamp) {
        self.posted = self.posted.max(posted);
        self.see_breakers(&board, &me, now);
        self.see_quarantine(&board, now);
        (self.board, self.me) = (board, Some(me));
    }

    fn set_link(&mut self, link: Link, now: Timestamp) {
        if self.link != link && link == Link::Up {
            self.listens_from(now);
        }
        self.link = link;
    }

    fn listens_from(&mut self, now: Timestamp) {
        self.link_since = now;
        self.knows_all_from = now.after(KNOWS_ALL_AFTER);
    }

    /// What was said meanwhile may not have been read yet: silence counts anew. Everybody is asked,
    /// lest a partition that is taken over soon has to wait for the next heartbeats.
    fn slept(&mut self, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        self.link_since = now;
        self.knows_all_from = self.knows_all_from.max(now.after(ROLL_CALL_WITHIN));
        if self.link == Link::Up {
            effects.push(FleetEffect::AskAll);
        }
    }

    fn fire(&mut self, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        while let Some(at) = self.next_wake().filter(|at| *at <= now) {
            let is_due = self.due.first().is_some_and(|(due, _)| *due == at);
            // Of what is due at one moment, roll calls go first, then attempts, then the rest.
            if is_due && !self.timers.contains(&(at, Timer::RollCall)) {
                self.attempts_due(at, now, effects);
                continue;
            }
            let Some((_, timer)) = self.timers.pop_first() else { return };
            match timer {
                Timer::RollCall => self.end_roll_call(now, effects),
                Timer::Silence(agent) => self.check_silence(agent, now, effects),
                Timer::Look(agent) => self.look(agent, now, effects),
                Timer::Busy(agent) => self.unpause(&agent),
                Timer::Depth(capability) => self.ask_depth(capability, now, effects),
                Timer::Breaker(name) => self.breaker_due(&name, now),
                Timer::Budget(capability) => self.budget_due(capability, now),
                Timer::Parole(agent) => self.parole_due(&agent, now),
            }
        }
    }

    fn flush_cancels(&mut self, effects: &mut Vec<FleetEffect>) {
        for (agent, attempts) in std::mem::take(&mut self.cancels) {
            for attempts in attempts.chunks(MAX_SHARED) {
                let (agent, attempts) = (agent.clone(), attempts.to_vec());
                effects.push(FleetEffect::CancelAttempts { agent, attempts });
            }
        }
    }
}

/// Notes that something changed in the pool of a capability.
fn touch(touched: &mut BTreeSet<CompactString>, capability: &CompactString) {
    if !touched.contains(capability) {
        touched.insert(capability.clone());
    }
}
