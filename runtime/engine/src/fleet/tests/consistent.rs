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
                    .filter(|slot| self.attempts.at(**slot).unwrap().capability() == capability)
                    .count();
                assert_eq!(used, room.used as usize, "slots of {capability} at {name}");
                let load = if agent.can_take() { room.load() } else { None };
                let mut free = self.pools.get(capability).into_iter().flat_map(|pool| &pool.free);
                let listed = free.find(|(_, id)| id == name).map(|(load, _)| *load);
                assert_eq!(listed, load, "{name} in the pool of {capability}");
            }
        }
        for slot in self.attempts.those(|_| true) {
            let attempt = self.attempts.at(slot).unwrap();
            let id = attempt.id();
            assert_eq!(self.attempts.slot(id), Some(slot), "{id} in its slot");
            let at = self.agents.iter().filter(|(_, agent)| agent.attempts.contains(&slot));
            let holders: Vec<_> = at.map(|(name, _)| name).collect();
            match attempt.place.agent() {
                Some(holder) if self.agents.contains_key(holder) => {
                    assert_eq!(holders, [holder], "{id} is in one hand");
                    let held = &self.agents[holder].attempts;
                    assert_eq!(held.get(attempt.held_as), Some(&slot), "{id} is where it says");
                }
                Some(_) | None => assert!(holders.is_empty(), "{id} is in no hand"),
            }
            let unused = Pool::default();
            let pool = self.pools.get(attempt.capability()).unwrap_or(&unused);
            let lies = pool.queued.iter().filter(|(_, at)| **at == slot);
            let lies: Vec<u64> = lies.map(|(number, _)| *number).collect();
            if let Place::Queued { number, .. } = attempt.place {
                assert_eq!(lies, [number], "{id} in the queue");
            } else {
                assert_eq!(lies, [0; 0], "{id} in no queue");
            }
            let ready = pool.first_of(usize::MAX, |_| true).contains(&slot);
            assert_eq!(ready, attempt.place == Place::Ready, "{id} ready");
            let free = self.stops_before(attempt, self.looked).is_none();
            assert!(free || attempt.place != Place::Ready, "{id} goes before another has stopped");
        }
        self.assert_no_slot_is_stale();
        self.pools.values().for_each(|pool| self.assert_queue_is_in_order(pool));
        assert_eq!(self.rounds, self.rounds_anew(), "who has to do with which round");
        for (name, agent) in &self.agents {
            let told = self.stopping.iter().filter(|(_, stopping)| stopping.agent == *name);
            assert!(told.map(|(id, _)| id).eq(&agent.stopping), "{name} is told to stop");
        }
        let told: usize = self.agents.values().map(|agent| agent.stopping.len()).sum();
        assert_eq!(told, self.stopping.len(), "nobody is told to stop something");
        assert!(at_agents <= self.attempts.len(), "agents hold what is not tracked");
    }

    /// What lies in a queue is numbered in the order in which it went there.
    fn assert_queue_is_in_order(&self, pool: &Pool) {
        assert!(pool.pulled_before <= pool.pulled && pool.pulled <= pool.put);
        assert!(pool.queued.last_key_value().is_none_or(|(number, _)| *number <= pool.put));
        let since = |slot| {
            let place = &self.attempts.at(slot).unwrap().place;
            let Place::Queued { since, .. } = place else { panic!("{place:?} in a queue") };
            *since
        };
        assert!(pool.queued.values().copied().is_sorted_by_key(since));
    }

    /// A slot that nobody is in belongs to whoever comes next.
    fn assert_no_slot_is_stale(&self) {
        let held = self.agents.values().flat_map(|agent| &agent.attempts);
        let queued = self.pools.values().flat_map(|pool| pool.queued.values());
        for slot in held.chain(queued) {
            assert!(self.attempts.at(*slot).is_some(), "a slot that nobody is in");
        }
        for (at, slot) in &self.due {
            let timer = self.attempts.at(*slot).and_then(|attempt| attempt.timer);
            assert_eq!(timer, Some(*at), "a timer that nobody asked for");
        }
        let waiting = self.attempts.all().filter(|attempt| attempt.timer.is_some());
        assert_eq!(waiting.count(), self.due.len(), "timers of attempts");
        let ready = self.attempts.all().filter(|attempt| attempt.place == Place::Ready);
        let listed: usize = self.pools.values().map(|pool| pool.waiting(|_| true)).sum();
        assert_eq!(ready.count(), listed, "ready ones in pools");
    }

    fn rounds_anew(&self) -> Rounds {
        let mut rounds = Rounds::new();
        for attempt in self.attempts.all() {
            let id = attempt.id();
            rounds.track(id, &attempt.offer.terms.rounds);
            if matches!(attempt.place, Place::Behind { .. }) {
                rounds.wait(id, &attempt.offer.terms.rounds);
            }
        }
        for (id, stopping) in &self.stopping {
            rounds.stop(id, stopping.told, &stopping.rounds);
        }
        rounds
    }
}
