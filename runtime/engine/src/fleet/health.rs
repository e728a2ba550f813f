//! Which agents are in quarantine, and who of them is let out.

use compact_str::CompactString;
use skep_protocol::{AgentHealth, AgentId, Board, QuarantineRecord, Timestamp};

use super::board::Post;
use super::quarantine::{Finding, may_be_out, outlier};
use super::{Fleet, FleetEffect, Timer};

impl Fleet {
    /// An attempt in the hands of an agent ended.
    pub(super) fn judge_agent(
        &mut self,
        (agent, capability): (&AgentId, &CompactString),
        failed: bool,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        match known.health.ended(failed, now) {
            Some(Finding::Suspect) => {
                let own = known.health.counts(now);
                let Some(cause) = outlier(own, self.peers(agent, capability, now)) else { return };
                if self.has_room_without(agent) {
                    self.put_out(agent, cause, now, effects);
                }
            }
            Some(Finding::Relapse) => {
                let cause = "it failed again when it was tried".to_owned();
                self.put_out(agent, cause, now, effects);
            }
            Some(Finding::Paroled) => {
                let post = Post::Paroled { agent: agent.clone() };
                self.post_about(agent, post, effects);
            }
            None => {}
        }
        self.relist(agent);
    }

    /// Returns attempts and failed ones of all other agents of a pool.
    fn peers(&self, agent: &AgentId, capability: &str, now: Timestamp) -> [u32; 2] {
        let Some(pool) = self.pools.get(capability) else { return [0; 2] };
        let others = pool.direct.iter().chain(&pool.pullers).filter(|id| *id != agent);
        let mut sums = [0_u32; 2];
        for other in others.filter_map(|id| self.agents.get(id)) {
            for (sum, count) in sums.iter_mut().zip(other.health.counts(now)) {
                *sum = sum.saturating_add(count);
            }
        }
        sums
    }

    /// Returns whether enough agents are left in each pool of an agent without it.
    fn has_room_without(&self, agent: &AgentId) -> bool {
        let Some(known) = self.agents.get(agent) else { return false };
        known.offers.keys().filter_map(|capability| self.pools.get(capability)).all(|pool| {
            let agents = pool.direct.iter().chain(&pool.pullers);
            let known = agents.filter_map(|id| self.agents.get(id));
            let (mut count, mut out) = (0, 0);
            for agent in known {
                count += 1;
                out += usize::from(agent.health.is_out());
            }
            may_be_out(count, out)
        })
    }

    fn put_out(
        &mut self,
        agent: &AgentId,
        cause: String,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) {
        let Some(known) = self.agents.get(agent) else { return };
        let sentence = known.health.sentence(cause, now);
        let record = QuarantineRecord { by: self.me.clone(), ..sentence };
        self.post_about(
            agent,
            Post::Quarantined { agent: agent.clone(), record: record.clone() },
            effects,
        );
        self.heed_record(agent, record);
    }

    fn post_about(&mut self, agent: &AgentId, post: Post, effects: &mut Vec<FleetEffect>) {
        let number = self.post(post, effects);
        if let Some(known) = self.agents.get_mut(agent) {
            known.posted = number;
        }
    }

    fn heed_record(&mut self, agent: &AgentId, record: QuarantineRecord) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        if let Some(until) = record.until {
            self.timers.insert((until, Timer::Parole(agent.clone())));
        }
        known.health.put_out(record);
        self.relist(agent);
    }

    /// The term of an agent may be over.
    pub(super) fn parole_due(&mut self, agent: &AgentId, now: Timestamp) {
        if let Some(known) = self.agents.get_mut(agent) {
            known.health.probe(now);
            self.relist(agent);
        }
    }

    /// The process of an agent ended: whoever has its name next is somebody else.
    pub(super) fn forget_health(&mut self, agent: &AgentId, effects: &mut Vec<FleetEffect>) {
        if self.board.agents.get(agent).is_some_and(|record| record.until.is_some()) {
            self.post(Post::Paroled { agent: agent.clone() }, effects);
        }
    }

    /// A new agent appeared: the others may know it.
    pub(super) fn recall_health(&mut self, agent: &AgentId, now: Timestamp) {
        if let Some(record) = self.board.agents.get(agent).cloned() {
            self.heed_record(agent, record);
            self.parole_due(agent, now);
        }
    }

    /// The board changed, or what was posted is on it.
    pub(super) fn see_quarantine(&mut self, board: &Board, now: Timestamp) {
        let posted = self.posted;
        let settled: Vec<AgentId> = self
            .agents
            .iter()
            .filter(|(_, agent)| agent.posted <= posted)
            .filter(|(id, agent)| agent.health.record() != board.agents.get(*id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in settled {
            match board.agents.get(&id) {
                Some(record) => {
                    self.heed_record(&id, record.clone());
                    self.parole_due(&id, now);
                }
                None => {
                    if let Some(known) = self.agents.get_mut(&id) {
                        known.health.release(now);
                    }
                    self.relist(&id);
                }
            }
        }
    }

    /// Returns how an agent does, for people.
    pub(super) fn health_of(&self, agent: &AgentId, now: Timestamp) -> Option<AgentHealth> {
        let health = &self.agents.get(agent)?.health;
        let [calls, failed] = health.counts(now);
        let (standing, record) = (health.standing(), health.record().cloned());
        Some(AgentHealth { calls, failed, standing, quarantine: record })
    }
}
