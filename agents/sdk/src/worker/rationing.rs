//! How much may be pulled, as coordinators say.

use skep_broker::AgentBroker;
use skep_protocol::{Lane, Ration};

use super::Worker;

/// What an agent was told, and what it said that it was told. Less holds at once, more once it was
/// said: of whoever says that it pulls nothing, nothing is pulled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rations {
    told: Ration,
    /// What the last heartbeat says, which may be under way.
    saying: Ration,
    said: Ration,
}

impl Rations {
    pub(super) const FULL: Self =
        Self { told: Ration::Full, saying: Ration::Full, said: Ration::Full };

    fn most(self) -> u32 {
        self.told.most().min(self.said.most())
    }
}

impl<B: AgentBroker> Worker<B> {
    /// Learns how much may be pulled. What is too much and has not begun goes back.
    pub(super) fn rationed(&mut self, ration: Ration) {
        if self.agent.lane == Lane::Direct || self.rations.told == ration {
            return;
        }
        tracing::info!(agent_id = %self.id, ?ration, "the agent is told how much to pull");
        self.rations.told = ration;
        self.leases.ration(self.rations.most());
        if !self.leases.may_begin() {
            self.withdraw_questions();
        }
        self.beat_soon();
    }

    /// Returns what a heartbeat says of it. If that is less than before, it may be heard although
    /// the heartbeat fails, and holds from here on.
    pub(super) fn say_ration(&mut self) -> Option<Ration> {
        self.rations.saying = self.rations.told;
        if self.rations.saying.most() < self.rations.said.most() {
            self.rations.said = self.rations.saying;
        }
        (self.agent.lane == Lane::Queue).then_some(self.rations.saying)
    }

    /// The last heartbeat has left.
    pub(super) fn said_ration(&mut self) {
        self.rations.said = self.rations.saying;
        self.leases.ration(self.rations.most());
    }
}
