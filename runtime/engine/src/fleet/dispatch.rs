//! Who gets what: ready attempts in their order, to the least loaded agent with the right labels.

use compact_str::CompactString;
use skep_protocol::limits::{MAX_SHARED, TARGET_BATCH_BYTES};
use skep_protocol::{AgentId, Payload, Task, Timestamp};

use super::attempt::{Attempt, Rank};
use super::place::Place;
use super::pool::{Labels, Line, Pool};
use super::register::Slot;
use super::{Fleet, FleetEffect};
use crate::OfferTask;

/// What a task takes in a message beside its payloads, in bytes.
const TASK_OVERHEAD: usize = 1_024;

impl Fleet {
    /// Hands out what can be handed out, in every pool in which something changed.
    pub(super) fn dispatch(&mut self, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        while let Some(capability) = self.touched.pop_first() {
            self.ask_to_probe(&capability, now, effects);
            self.turn_away(&capability, now, effects);
            self.fail_unread(&capability, now, effects);
            while let Some((slot, agent)) = self.next_match(&capability, now) {
                self.send_direct(slot, agent, now);
            }
            self.tend_queue(&capability, now, effects);
            self.watch_budget(&capability, now);
            if self.pools.get(&capability).is_some_and(Pool::is_unused) {
                self.pools.remove(&capability);
            }
            // Moving attempts touches the pool again; nothing is left to do in it.
            self.touched.remove(&capability);
        }
        self.flush_outbox(effects);
    }

    /// Sends an attempt to an agent, if there is time left for it to be seen to be taken.
    pub(super) fn send_direct(&mut self, slot: Slot, agent: AgentId, now: Timestamp) {
        let Some(attempt) = self.attempts.at(slot) else { return };
        if attempt.is_late(now) {
            return self.move_to(slot, Place::Late);
        }
        match self.outbox.get_mut(&agent) {
            Some(slots) => slots.push(slot),
            None => {
                self.outbox.insert(agent.clone(), vec![slot]);
            }
        }
        self.move_to(slot, Place::Delivering { agent });
        self.goes_out(slot, now);
    }

    /// Returns the attempt that goes first of those that can go, and where to.
    pub(super) fn next_match(
        &self,
        capability: &CompactString,
        now: Timestamp,
    ) -> Option<(Slot, AgentId)> {
        let pool = self.pools.get(capability)?;
        if pool.free.is_empty() {
            return None;
        }
        let mut best: Option<(&Rank, Slot, &AgentId)> = None;
        for (rank, line, slot) in pool.heads() {
            if best.is_some_and(|(first, ..)| first < rank) || !self.passes(capability, line, now) {
                continue;
            }
            let Some(attempt) = self.attempts.at(slot) else { continue };
            if let Some(agent) = self.choose(pool, line, &attempt.offer.spec.prefer) {
                best = Some((rank, slot, agent));
            }
        }
        best.map(|(_, slot, agent)| (slot, agent.clone()))
    }

    /// Chooses among agents with room that can read it: all required labels, most preferred ones,
    /// least load, id.
    fn choose<'a>(&self, pool: &'a Pool, line: &Line, prefer: &Labels) -> Option<&'a AgentId> {
        let mut best: Option<(&AgentId, usize)> = None;
        for (_, id) in &pool.free {
            let Some(agent) = self.agents.get(id) else { continue };
            if !agent.has(&line.labels) || line.unread.contains(id) {
                continue;
            }
            let matches = agent.matches(prefer);
            if best.is_none_or(|(_, most)| matches > most) {
                best = Some((id, matches));
            }
            if matches == prefer.len() {
                break;
            }
        }
        best.map(|(id, _)| id)
    }

    fn flush_outbox(&mut self, effects: &mut Vec<FleetEffect>) {
        for (agent, slots) in std::mem::take(&mut self.outbox) {
            let attempts: Vec<&Attempt> =
                slots.iter().filter_map(|slot| self.attempts.at(*slot)).collect();
            let mut rest = &attempts[..];
            while !rest.is_empty() {
                let (first, others) = rest.split_at(bearable(rest));
                let tasks = first
                    .iter()
                    .map(|attempt| Task { ask: attempt.sending > 0, ..attempt.offer.task() });
                let (agent, tasks) = (agent.clone(), tasks.collect());
                effects.push(FleetEffect::Deliver { agent, tasks });
                rest = others;
            }
        }
    }
}

/// Returns how many of these can share a message of bearable size; at least one.
fn bearable(attempts: &[&Attempt]) -> usize {
    let mut bytes = 0;
    let within = attempts.iter().take(MAX_SHARED).take_while(|attempt| {
        let OfferTask { input, terms, .. } = &*attempt.offer;
        bytes +=
            TASK_OVERHEAD + inline_size(input) + terms.checkpoint.as_ref().map_or(0, inline_size);
        bytes <= TARGET_BATCH_BYTES
    });
    within.count().max(1)
}

fn inline_size(payload: &Payload) -> usize {
    payload.text().map_or(0, str::len)
}
