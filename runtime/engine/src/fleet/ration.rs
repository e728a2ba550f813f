//! Rations: how much agents of the queue lane may hold that are out, or on their way back.
//!
//! Nothing can be kept from somebody who pulls, so that quarantine reaches such an agent by telling
//! it. What it says in its heartbeats is what holds; while that is not what it should be, it is
//! told again.

use std::time::Duration;

use skep_protocol::{AgentId, Ration, Timestamp};

use super::agent::Agent;
use super::{Fleet, FleetEffect};

/// How long an agent may say something else before it is told again: the last word may be on its
/// way, and one coordinator sees the board a little later than another.
const HEEDED_WITHIN: Duration = Duration::from_secs(1);

impl Agent {
    /// Returns how much it may hold, if it says something else.
    pub(super) fn ration_due(&self) -> Option<Ration> {
        let due = self.health.ration();
        self.ration.filter(|said| *said != due).map(|_| due)
    }
}

impl Fleet {
    /// Returns whether quarantine reaches an agent, as far as is known.
    pub fn heeds_quarantine(&self, agent: &AgentId) -> bool {
        self.agents.get(agent).is_none_or(Agent::heeds_quarantine)
    }

    /// The standing of an agent may have changed: if it pulls, it is told at once.
    pub(super) fn change_ration(&mut self, agent: &AgentId, now: Timestamp) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        known.differs = known.ration_due().map(|_| now);
        if known.differs.is_some() {
            self.rations.insert(agent.clone());
        }
    }

    /// An agent said how much it pulls. Before the board was seen nobody knows who is out.
    pub(super) fn see_ration(&mut self, agent: &AgentId, now: Timestamp) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        if known.ration_due().is_none() {
            known.differs = None;
            return;
        }
        let since = *known.differs.get_or_insert(now);
        if now.since(since) >= HEEDED_WITHIN && self.me.is_some() {
            self.rations.insert(agent.clone());
        }
    }

    pub(super) fn flush_rations(&mut self, effects: &mut Vec<FleetEffect>) {
        for agent in std::mem::take(&mut self.rations) {
            if let Some(ration) = self.agents.get(&agent).and_then(Agent::ration_due) {
                effects.push(FleetEffect::Ration { agent, ration });
            }
        }
    }
}
