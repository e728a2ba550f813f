//! The queue lane: a shallow queue per capability, for agents that pull.

use std::collections::BTreeSet;

use compact_str::CompactString;
use skep_protocol::limits::{HOLD_CONFIRMED_WITHIN, QUEUE_DEPTH_WITHOUT_AGENTS};
use skep_protocol::{AgentId, Timestamp};

use super::agent::Agent;
use super::place::Place;
use super::pool::{Line, Pool, pool_of};
use super::register::Slot;
use super::{Fleet, FleetEffect, Timer};

impl Fleet {
    /// Keeps the queue of a capability as full as its agents can take soon, with what no direct
    /// agent takes at the moment; or empties it when the work goes to direct agents alone.
    pub(super) fn tend_queue(
        &mut self,
        capability: &CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        self.park_queued(capability, now, effects);
        let Some(pool) = self.pools.get(capability) else { return };
        let direct = self.takers(&pool.direct, capability).next().is_some();
        let pulled = self.takers(&pool.pullers, capability).next().is_some();
        if direct && !pulled {
            let reached =
                self.takers(&pool.direct, capability).any(|agent| agent.unanswered.is_none());
            if reached && !pool.queued.is_empty() {
                self.take_back(capability, now, effects);
            }
            return;
        }
        if self.roll_call.is_some() {
            return;
        }
        let room = self.queue_room(pool, capability);
        for slot in self.queueable(pool, capability, (room, now)) {
            let line = self.attempts.at(slot).map(|attempt| &attempt.line);
            if line.is_some_and(|line| self.passes(capability, line, now)) {
                self.enqueue(slot, now, effects);
            }
        }
        self.watch_queue(capability, now);
    }

    /// Returns those of some agents that take tasks of a capability.
    fn takers<'a>(
        &'a self,
        agents: &'a BTreeSet<AgentId>,
        capability: &'a str,
    ) -> impl Iterator<Item = &'a Agent> {
        let known = agents.iter().filter_map(|id| self.agents.get(id));
        known.filter(move |agent| agent.takes(capability).is_some())
    }

    /// Returns how many more tasks the queue should have.
    fn queue_room(&self, pool: &Pool, capability: &str) -> usize {
        let (mut slots, mut used) = (0, 0);
        for agent in self.takers(&pool.pullers, capability) {
            slots += agent.takes(capability).unwrap_or_default();
            used += agent.has_of(capability);
        }
        let depth = if slots == 0 { QUEUE_DEPTH_WITHOUT_AGENTS } else { slots * 2 };
        depth.saturating_sub(used + pool.queued.len())
    }

    /// Returns the ready attempts whose turn it is. The queue cannot choose an agent by labels, so
    /// an attempt that wants some goes there only if whoever pulls it has them.
    fn queueable(
        &self,
        pool: &Pool,
        capability: &CompactString,
        (room, now): (usize, Timestamp),
    ) -> Vec<Slot> {
        if room == 0 {
            return Vec::new();
        }
        let have = |line: &Line| {
            let mut takers = self.takers(&pool.pullers, capability).peekable();
            takers.peek().is_some() && takers.all(|agent| agent.has(&line.labels))
        };
        pool.first_of(room, |line| {
            (line.labels.is_empty() || have(line)) && self.passes(capability, line, now)
        })
    }

    fn enqueue(&mut self, slot: Slot, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        let Some(attempt) = self.attempts.at(slot) else { return };
        let (task, sending) = (attempt.offer.task(), attempt.sending);
        effects.push(FleetEffect::Enqueue { task, sending });
        let pool = pool_of(&mut self.pools, attempt.capability());
        pool.put += 1;
        let number = pool.put;
        self.move_to(slot, Place::Queued { since: now, number });
        self.goes_out(slot, now);
    }

    /// Direct agents are there and nobody pulls: the work goes direct.
    fn take_back(
        &mut self,
        capability: &CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        self.clear_queue(capability, now, effects);
        while let Some((slot, agent)) = self.next_match(capability, now) {
            self.send_direct(slot, agent, now);
        }
    }

    /// Takes everything out of a queue; it waits in here instead.
    fn clear_queue(
        &mut self,
        capability: &CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        effects.push(FleetEffect::ClearQueue { capability: capability.to_string() });
        let Some(pool) = self.pools.get(capability) else { return };
        let queued: Vec<Slot> = pool.queued.values().copied().collect();
        for slot in queued {
            self.send_again(slot, now);
        }
    }

    /// Takes out of the queue what nobody is to pull, because the breaker of the capability is
    /// open. The breaker of a single step leaves there what little is there.
    fn park_queued(
        &mut self,
        capability: &CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let open = self.guards.get(capability).is_some_and(|guard| guard.is_open());
        let queued = self.pools.get(capability).is_some_and(|pool| !pool.queued.is_empty());
        if open && queued {
            self.clear_queue(capability, now, effects);
        }
    }

    /// A queue in use is looked at now and then: its content is a hint and may vanish.
    fn watch_queue(&mut self, capability: &CompactString, now: Timestamp) {
        let Some(pool) = self.pools.get_mut(capability) else { return };
        if pool.queued.is_empty() || pool.ask_at.is_some() {
            return;
        }
        let at = now.after(HOLD_CONFIRMED_WITHIN);
        pool.ask_at = Some(at);
        self.timers.insert((at, Timer::Depth(capability.clone())));
    }

    pub(super) fn ask_depth(
        &mut self,
        capability: CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(pool) = self.pools.get_mut(&capability) else { return };
        pool.ask_at = None;
        let pulled = std::mem::replace(&mut pool.pulled_before, pool.pulled);
        let passed: Vec<Slot> = pool.queued.range(..pulled).map(|(_, slot)| *slot).collect();
        for slot in passed {
            self.send_again(slot, now);
        }
        let Some(pool) = self.pools.get(&capability) else { return };
        if !pool.queued.is_empty() {
            effects.push(FleetEffect::AskDepth { capability: capability.to_string() });
        }
        self.watch_queue(&capability, now);
        self.touched.insert(capability);
    }

    /// The queue has fewer tasks than were put there and are neither held nor done: the oldest ones
    /// are sent again.
    pub(super) fn depth(&mut self, capability: &str, found: u64, now: Timestamp) {
        let Some(pool) = self.pools.get(capability) else { return };
        let pullers = pool.pullers.iter().filter_map(|id| self.agents.get(id));
        let held: usize = pullers.map(|agent| agent.has_of(capability)).sum();
        let known = pool.queued.len() + held;
        let vanished = known.saturating_sub(usize::try_from(found).unwrap_or(usize::MAX));
        let is_old = |slot: &Slot| {
            let place = self.attempts.at(*slot).map(|attempt| &attempt.place);
            let Some(Place::Queued { since, .. }) = place else { return false };
            now.since(*since) >= HOLD_CONFIRMED_WITHIN
        };
        let old = pool.queued.values().copied().take_while(is_old);
        let vanished: Vec<Slot> = old.take(vanished).collect();
        for slot in vanished {
            self.send_again(slot, now);
        }
    }

    /// Somebody has an attempt that lay in the queue: those before it were pulled, too. Those that
    /// nobody took a while later vanished; how many others' tasks lie there does not matter.
    pub(super) fn see_pulled(&mut self, slot: Slot) {
        let Some(attempt) = self.attempts.at(slot) else { return };
        // Of what was sent again, it may be the copy from before that was pulled.
        if attempt.sending > 0 {
            return;
        }
        let Place::Queued { number, .. } = attempt.place else { return };
        if let Some(pool) = self.pools.get_mut(attempt.capability()) {
            pool.pulled = pool.pulled.max(number);
        }
    }
}
