//! Who gets what: ready attempts in their order, to the least loaded agent with the right labels.

use compact_str::CompactString;
use skep_protocol::limits::{MAX_SHARED, TARGET_BATCH_BYTES};
use skep_protocol::{AgentId, AttemptId, Payload, Task, Timestamp};

use super::place::Place;
use super::pool::{Labels, Line, Pool};
use super::{Fleet, FleetEffect};

/// What a task takes in a message beside its payloads, in bytes.
const TASK_OVERHEAD: usize = 1_024;

impl Fleet {
    /// Hands out what can be handed out, in every pool in which something changed.
    pub(super) fn dispatch(&mut self, now: Timestamp, effects: &mut Vec<FleetEffect>) {
        while let Some(capability) = self.touched.pop_first() {
            self.ask_to_probe(&capability, now, effects);
            self.turn_away(&capability, now, effects);
            self.fail_unread(&capability, now, effects);
            while let Some((id, agent)) = self.next_match(&capability, now) {
                self.send_direct(&id, agent, now);
            }
            self.tend_queue(&capability, now, effects);
            self.watch_budget(&capability, now);
            if self.pools.get(&capability).is_some_and(Pool::is_unused) {
                self.pools.remove(&capability);
            }
            // Moving attempts touches the pool again; nothing is left to do in it.
            self.touched.remove(&capability);
        }
        for (agent, tasks) in std::mem::take(&mut self.outbox) {
            for tasks in shared(tasks) {
                effects.push(FleetEffect::Deliver { agent: agent.clone(), tasks });
            }
        }
    }

    /// Sends an attempt to an agent, if there is time left for it to be seen to be taken.
    pub(super) fn send_direct(&mut self, id: &AttemptId, agent: AgentId, now: Timestamp) {
        let Some(attempt) = self.attempts.get(id) else { return };
        if attempt.is_late(now) {
            return self.move_to(id, Place::Late);
        }
        let task = Task { ask: attempt.sending > 0, ..attempt.offer.task.clone() };
        self.outbox.entry(agent.clone()).or_default().push(task);
        self.move_to(id, Place::Delivering { agent });
        self.goes_out(id, now);
    }

    pub(super) fn next_match(
        &self,
        capability: &CompactString,
        now: Timestamp,
    ) -> Option<(AttemptId, AgentId)> {
        let pool = self.pools.get(capability)?;
        if pool.free.is_empty() || !pool.has_ready() {
            return None;
        }
        pool.heads().into_iter().find_map(|(_, line, id)| {
            if !self.passes(capability, line, now) {
                return None;
            }
            let prefer = &self.attempts.get(id)?.offer.prefer;
            let agent = self.choose(pool, line, prefer)?;
            Some((id.clone(), agent.clone()))
        })
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
}

/// Splits tasks for one agent into messages of bearable size.
fn shared(tasks: Vec<Task>) -> Vec<Vec<Task>> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    for task in tasks {
        let size = TASK_OVERHEAD
            + inline_size(&task.input)
            + task.checkpoint.as_ref().map_or(0, inline_size);
        bytes += size;
        match messages.last_mut() {
            Some(last) if Vec::len(last) < MAX_SHARED && bytes <= TARGET_BATCH_BYTES => {
                last.push(task);
            }
            Some(_) | None => {
                bytes = size;
                messages.push(vec![task]);
            }
        }
    }
    messages
}

fn inline_size(payload: &Payload) -> usize {
    payload.text().map_or(0, str::len)
}
