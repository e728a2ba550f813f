//! Tasks that agents cannot read: others may, and if there are no others, the attempt fails.

use compact_str::CompactString;
use skep_protocol::limits::AGENT_SILENCE;
use skep_protocol::{AgentId, AttemptId, Failure, FailureKind, Timestamp};

use super::place::Place;
use super::pool::{Line, Pool};
use super::{Fleet, FleetEffect};

impl Fleet {
    /// An agent cannot read a task: it goes to others.
    pub(super) fn unread(
        &mut self,
        agent: &AgentId,
        id: &AttemptId,
        cause: String,
        now: Timestamp,
    ) {
        self.never_arrived(agent, id, now);
        let Some(slot) = self.on_its_way(id, agent) else { return };
        if let Some(attempt) = self.attempts.at_mut(slot) {
            attempt.line.unread.insert(agent.clone());
            let unread = &mut attempt.seldom.unread;
            let since = unread.as_ref().map_or(now, |(since, _)| *since);
            *unread = Some((since, cause));
        }
        self.make_ready(slot, now);
    }

    /// Fails what none of those can read who are there, once it is sure that nobody else is: one
    /// that is being replaced has time to come back.
    pub(super) fn fail_unread(
        &mut self,
        capability: &CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(pool) = self.pools.get(capability) else { return };
        for slot in pool.first_of(usize::MAX, |line| self.is_beyond_all(pool, capability, line)) {
            let Some(attempt) = self.attempts.at(slot) else { continue };
            let Some((since, cause)) = &attempt.seldom.unread else { continue };
            if now.since(*since) < AGENT_SILENCE {
                continue;
            }
            let partition = attempt.offer.partition;
            let message = format!("{} cannot read the task: {cause}", who(&attempt.line));
            let failure = Failure::new(FailureKind::Agent, "task_unreadable", message);
            let failure = Failure { only_here: true, ..failure };
            let attempt = attempt.id().clone();
            self.move_to(slot, Place::Refused { again: now.after(AGENT_SILENCE) });
            effects.push(FleetEffect::Failed { partition, attempt, agent: None, failure });
        }
    }

    /// Returns whether somebody is there who could not read what waits in a line, and nobody else.
    fn is_beyond_all(&self, pool: &Pool, capability: &CompactString, line: &Line) -> bool {
        if line.unread.is_empty() {
            return false;
        }
        let takes = |id: &&AgentId| {
            let agent = self.agents.get(*id);
            agent.is_some_and(|a| a.takes(capability).is_some() && a.has(&line.labels))
        };
        let (unread, others): (Vec<_>, Vec<_>) =
            pool.agents().filter(takes).partition(|id| line.unread.contains(*id));
        !unread.is_empty() && others.is_empty()
    }
}

/// Names those who cannot read what waits in a line.
pub(super) fn who(line: &Line) -> String {
    let first = line.unread.first().map(ToString::to_string).unwrap_or_default();
    match line.unread.len() {
        1 => format!("agent {first}"),
        many => format!("agents {first} and {} more", many - 1),
    }
}
