//! Which agents are in quarantine, and who of them is let out.

use std::collections::BTreeSet;

use compact_str::CompactString;
use skep_protocol::{AgentHealth, AgentId, AgentStanding, Board, QuarantineRecord, Timestamp};

use super::board::{Post, Share};
use super::pool::Pool;
use super::quarantine::{Finding, Showing, WINDOW, is_common, is_suspect, most_out, outlier};
use super::window::Window;
use super::{Fleet, FleetEffect, Timer};

/// Agents of one capability that are watched until the others have shown how they do.
const MOST_SUSPECTS: usize = 8;

/// How the attempts of one capability end, at all of its agents.
#[derive(Debug)]
pub(super) struct Peers {
    /// Attempts, failed ones, and those of agents that were put out since.
    counts: Window<4>,
    /// Who may be an outlier, and was not held against enough others yet.
    suspects: BTreeSet<AgentId>,
}

impl Peers {
    pub(super) const fn new() -> Self {
        Self { counts: Window::new(WINDOW), suspects: BTreeSet::new() }
    }

    /// Returns whether it remembers nothing.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.counts.counts(now) == [0; 4]
    }

    /// Returns how the attempts ended that are not an agent's own.
    fn others(&self, own: [u32; 2], now: Timestamp) -> [u32; 2] {
        let [calls, failed, forgiven, forgiven_failed] = self.counts.counts(now);
        let (calls, failed) =
            (calls.saturating_sub(forgiven), failed.saturating_sub(forgiven_failed));
        [calls.saturating_sub(own[0]), failed.saturating_sub(own[1])]
    }
}

impl Fleet {
    /// An attempt in the hands of an agent ended. Returns whether the trouble of its capability was
    /// that of an agent, which is out now.
    pub(super) fn judge_agent(
        &mut self,
        (agent, capability): (&AgentId, &CompactString),
        showing: Showing,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) -> bool {
        let failed = showing != Showing::Well;
        let Some(known) = self.agents.get_mut(agent) else { return false };
        let (before, was_out) = (known.health.standing(), known.health.is_out());
        let heeds = known.heeds_quarantine();
        let finding = known.health.ended(failed, now).filter(|_| heeds);
        let is_as_before = known.health.standing() == before && known.ration_due().is_none();
        if let Some(purse) = self.purses.get_mut(capability) {
            if !was_out {
                purse.peers.counts.add([1, u32::from(failed), 0, 0], now);
            }
            if finding.is_none() && is_as_before && purse.peers.suspects.is_empty() {
                return false;
            }
        }
        match finding {
            Some(Finding::Suspect) => {
                if let Some(purse) = self.purses.get_mut(capability)
                    && purse.peers.suspects.len() < MOST_SUSPECTS
                {
                    purse.peers.suspects.insert(agent.clone());
                }
            }
            Some(Finding::Relapse)
                if showing == Showing::Answered && self.is_usual(capability, now) => {}
            Some(Finding::Relapse) if !self.has_room_without(agent) => {
                // Too few would be left, for others are gone since: one at a time is the least.
                if let Some(known) = self.agents.get_mut(agent) {
                    known.health.hold_back();
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
        self.restand(agent, now);
        self.judge_suspects(capability, now, effects)
    }

    /// Holds those who fail against the others, of whom more is known with each attempt that ends.
    /// Returns whether one of them was put out.
    fn judge_suspects(
        &mut self,
        capability: &CompactString,
        now: Timestamp,
        effects: &mut Vec<FleetEffect>,
    ) -> bool {
        let Some(purse) = self.purses.get_mut(capability) else { return false };
        if purse.peers.suspects.is_empty() {
            return false;
        }
        let agents = &self.agents;
        let counts = |id: &AgentId| agents.get(id).map(|agent| agent.health.counts(now));
        purse.peers.suspects.retain(|id| counts(id).is_some_and(is_suspect));
        let found = purse.peers.suspects.iter().find_map(|id| {
            let own = counts(id)?;
            Some((id.clone(), own, outlier(own, purse.peers.others(own, now))?))
        });
        let Some((agent, [calls, failed], cause)) = found else { return false };
        if !self.has_room_without(&agent) {
            return false;
        }
        if let Some(purse) = self.purses.get_mut(capability) {
            purse.peers.suspects.remove(&agent);
            purse.peers.counts.add([0, 0, calls, failed], now);
        }
        self.put_out(&agent, cause, now, effects);
        true
    }

    /// Returns whether so many attempts fail at all agents that one more answer to this effect
    /// tells nothing of who gave it.
    fn is_usual(&self, capability: &CompactString, now: Timestamp) -> bool {
        let purse = self.purses.get(capability);
        purse.is_some_and(|purse| is_common(purse.peers.others([0; 2], now)))
    }

    /// Returns whether enough agents are left in each pool of one without it. Who is on parole
    /// counts as out: it may be again at its next failure.
    fn has_room_without(&self, agent: &AgentId) -> bool {
        self.pools_of(agent).all(|pool| {
            let others = pool.agents().filter(|id| *id != agent);
            let watched = others
                .filter_map(|id| self.agents.get(id))
                .filter(|other| other.health.standing() != AgentStanding::Well);
            watched.count() < most_out(pool.size())
        })
    }

    fn pools_of(&self, agent: &AgentId) -> impl Iterator<Item = &Pool> {
        let offers = self.agents.get(agent).into_iter().flat_map(|known| known.offers.keys());
        offers.filter_map(|capability| self.pools.get(capability))
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
        let share = |pool: &Pool| Share {
            most: most_out(pool.size()),
            agents: pool.agents().cloned().collect(),
        };
        let pools = self.pools_of(agent).map(share).collect();
        let post = Post::Quarantined { agent: agent.clone(), record: record.clone(), pools };
        self.post_about(agent, post, effects);
        self.heed_record(agent, record, now);
    }

    fn post_about(&mut self, agent: &AgentId, post: Post, effects: &mut Vec<FleetEffect>) {
        let number = self.post(post, effects);
        if let Some(known) = self.agents.get_mut(agent) {
            known.posted = number;
        }
    }

    fn heed_record(&mut self, agent: &AgentId, record: QuarantineRecord, now: Timestamp) {
        let Some(known) = self.agents.get_mut(agent) else { return };
        if let Some(until) = record.until {
            self.timers.insert((until, Timer::Parole(agent.clone())));
        }
        known.health.put_out(record);
        known.health.probe(now);
        self.restand(agent, now);
    }

    /// The standing of an agent changed: so does what it may have.
    fn restand(&mut self, agent: &AgentId, now: Timestamp) {
        self.relist(agent);
        self.change_ration(agent, now);
    }

    /// The term of an agent may be over.
    pub(super) fn parole_due(&mut self, agent: &AgentId, now: Timestamp) {
        if let Some(known) = self.agents.get_mut(agent) {
            known.health.probe(now);
            self.restand(agent, now);
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
            self.heed_record(agent, record, now);
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
                Some(record) => self.heed_record(&id, record.clone(), now),
                None => {
                    if let Some(known) = self.agents.get_mut(&id) {
                        known.health.release(now);
                    }
                    self.restand(&id, now);
                }
            }
        }
    }

    /// Returns how an agent does, for people.
    pub(super) fn health_of(&self, agent: &AgentId, now: Timestamp) -> Option<AgentHealth> {
        let known = self.agents.get(agent)?;
        let health = &known.health;
        let [calls, failed] = health.counts(now);
        let record = health.record().cloned();
        // Whoever does not heed what is ordered gets work as before.
        let heeds = known.heeds_quarantine();
        let standing = if heeds { health.standing() } else { AgentStanding::Well };
        Some(AgentHealth { calls, failed, standing, quarantine: record, shares: Vec::new() })
    }
}
