//! Why an attempt is not being worked on, as a sentence for people.

use skep_protocol::{AgentId, AttemptId, Timestamp};

use super::attempt::{Attempt, Place};
use super::pool::Pool;
use super::{Fleet, Link};

impl Fleet {
    /// Says what an attempt waits for; `None` if it is not owed, or if an agent works on it.
    pub fn explain(&self, id: &AttemptId, now: Timestamp) -> Option<String> {
        let attempt = self.attempts.get(id)?;
        let capability = &attempt.capability;
        let unused = Pool::default();
        let pool = self.pools.get(capability).unwrap_or(&unused);
        Some(match &attempt.place {
            Place::Held { .. } | Place::Sent { .. } => return None,
            Place::BackOff => back_off(attempt.offer.not_before, now),
            Place::Withheld => "the run is paused".to_owned(),
            Place::New | Place::RollCall => {
                "the agents are being asked whether one of them holds it".to_owned()
            }
            Place::Missing { .. } => match &attempt.offer.taken_by {
                Some(agent) => format!("agent {agent}, which took it, was not heard of yet"),
                None => "the agent that took it was not heard of yet".to_owned(),
            },
            Place::Delivering { agent } => format!("being sent to agent {agent}"),
            Place::Lost { .. } => "it was lost with its agent".to_owned(),
            Place::Ready if self.link == Link::Down => "the broker cannot be reached".to_owned(),
            Place::Ready => self.explain_ready(attempt, pool),
            Place::Queued { .. } if pool.pullers.is_empty() => no_agent(attempt, ""),
            Place::Queued { .. } => {
                format!("in the queue of {capability} ({})", self.strength(pool))
            }
        })
    }

    /// Returns the agent that works on an attempt, if one does.
    pub fn holder(&self, id: &AttemptId) -> Option<&AgentId> {
        match &self.attempts.get(id)?.place {
            Place::Held { agent, .. } | Place::Sent { agent, .. } => Some(agent),
            Place::New
            | Place::Withheld
            | Place::BackOff
            | Place::RollCall
            | Place::Missing { .. }
            | Place::Ready
            | Place::Delivering { .. }
            | Place::Queued { .. }
            | Place::Lost { .. } => None,
        }
    }

    fn explain_ready(&self, attempt: &Attempt, pool: &Pool) -> String {
        let capability = &attempt.capability;
        if pool.direct.is_empty() && pool.pullers.is_empty() {
            return no_agent(attempt, "");
        }
        let labels = &attempt.offer.task.labels;
        let mut agents =
            pool.direct.iter().chain(&pool.pullers).filter_map(|id| self.agents.get(id));
        if !labels.is_empty() && !agents.any(|agent| agent.has(labels)) {
            let wanted: Vec<String> =
                labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            return no_agent(attempt, &format!(" with the labels {}", wanted.join(", ")));
        }
        let before = pool.before(&attempt.rank());
        format!(
            "waiting for a free slot of {capability} ({}, {before} waiting before it)",
            self.strength(pool)
        )
    }

    fn strength(&self, pool: &Pool) -> String {
        let agents = pool.direct.iter().chain(&pool.pullers).filter_map(|id| self.agents.get(id));
        let (mut count, mut slots, mut draining) = (0, 0_u64, 0);
        for agent in agents {
            count += 1;
            slots += u64::from(agent.slots());
            draining += u32::from(agent.draining);
        }
        let agents = if count == 1 { "1 agent".to_owned() } else { format!("{count} agents") };
        let slots = if slots == 1 { "1 slot".to_owned() } else { format!("{slots} slots") };
        if draining == 0 {
            format!("{agents}, {slots}")
        } else {
            format!("{agents}, {slots}, {draining} draining")
        }
    }
}

fn back_off(due: Timestamp, now: Timestamp) -> String {
    let ms = due.since(now).as_millis();
    format!("back-off, due in {}.{} s", ms / 1_000, ms % 1_000 / 100)
}

fn no_agent(attempt: &Attempt, with: &str) -> String {
    format!("no live agent offers {}{with}", attempt.capability)
}
