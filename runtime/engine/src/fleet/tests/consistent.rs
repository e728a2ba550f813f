//! What has to hold in the fleet between any two inputs.

use super::super::Fleet;
use super::super::place::Place;
use super::super::pool::Pool;
use super::super::rounds::Rounds;

impl Fleet {
    /// Checks everything that is kept twice.
    pub(super) fn assert_consistent(&self) {
        let mut at_agents = 0;
        for (name, agent) in &self.agents {
            at_agents += agent.attempts.len();
            for (capability, room) in &agent.offers {
                let used = agent
                    .attempts
                    .iter()
                    .filter(|id| self.attempts[*id].capability == *capability)
                    .count();
                assert_eq!(used, room.used as usize, "slots of {capability} at {name}");
            }
        }
        for (id, attempt) in &self.attempts {
            let at = self.agents.iter().filter(|(_, agent)| agent.attempts.contains(id));
            let holders: Vec<_> = at.map(|(name, _)| name).collect();
            match attempt.place.agent() {
                Some(holder) if self.agents.contains_key(holder) => {
                    assert_eq!(holders, [holder], "{id} is in one hand");
                }
                Some(_) | None => assert!(holders.is_empty(), "{id} is in no hand"),
            }
            let unused = Pool::default();
            let pool = self.pools.get(&attempt.capability).unwrap_or(&unused);
            let queued = matches!(attempt.place, Place::Queued { .. });
            assert_eq!(pool.queued.contains(id), queued, "{id} in the queue");
            let ready = pool.first_of(usize::MAX, |_| true).contains(id);
            assert_eq!(ready, attempt.place == Place::Ready, "{id} ready");
            let free = self.stops_before(id, self.looked).is_none();
            assert!(free || attempt.place != Place::Ready, "{id} goes before another has stopped");
        }
        assert_eq!(self.rounds, self.rounds_anew(), "who has to do with which round");
        for (name, agent) in &self.agents {
            let told = self.stopping.iter().filter(|(_, stopping)| stopping.agent == *name);
            assert!(told.map(|(id, _)| id).eq(&agent.stopping), "{name} is told to stop");
        }
        let told: usize = self.agents.values().map(|agent| agent.stopping.len()).sum();
        assert_eq!(told, self.stopping.len(), "nobody is told to stop something");
        assert!(at_agents <= self.attempts.len(), "agents hold what is not tracked");
    }

    fn rounds_anew(&self) -> Rounds {
        let mut rounds = Rounds::new();
        for (id, attempt) in &self.attempts {
            rounds.track(id, &attempt.offer.rounds);
            if matches!(attempt.place, Place::Behind { .. }) {
                rounds.wait(id, &attempt.offer.rounds);
            }
        }
        for (id, stopping) in &self.stopping {
            rounds.stop(id, stopping.told, &stopping.rounds);
        }
        rounds
    }
}
