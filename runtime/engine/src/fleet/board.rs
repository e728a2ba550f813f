//! What coordinators agree on: who may change what of it.
//!
//! Each change is a compare-and-set on one small fact of the cluster: every coordinator sees the
//! changes in the same order, so that the one that finds a breaker's cool-down over first is the
//! one that probes, for as long as its lease lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_protocol::limits::MAX_ON_BOARD;
use skep_protocol::{
    AgentId, Board, BreakerPhase, BreakerRecord, CoordinatorId, QuarantineRecord, Timestamp,
};

/// What somebody wants on the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Post {
    /// A breaker opened.
    Opened {
        /// Its name.
        name: String,
        /// Why and how long.
        record: BreakerRecord,
    },
    /// The cool-down of a breaker is over: the poster wants to probe.
    Probe {
        /// Its name.
        name: String,
        /// How long the others leave it to the poster.
        lease: Duration,
    },
    /// The probes of the poster went well.
    Healed {
        /// The name of the breaker.
        name: String,
    },
    /// A person closes a breaker.
    Reset {
        /// Its name.
        name: String,
    },
    /// An agent gets no more work.
    Quarantined {
        /// Who.
        agent: AgentId,
        /// Why and how long.
        record: QuarantineRecord,
        /// The pools that it must not leave too small; none if a person decides.
        pools: Vec<Share>,
    },
    /// An agent did well on parole, or its process has ended.
    Paroled {
        /// Who.
        agent: AgentId,
    },
    /// A person lets an agent out.
    Released {
        /// Who.
        agent: AgentId,
    },
}

/// Agents that offer the same, and how many of them may be out at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// All of them.
    pub agents: BTreeSet<AgentId>,
    /// How many may be out.
    pub most: usize,
}

impl Share {
    /// Returns whether one more may be out than there are by the board.
    fn has_room(&self, board: &Board) -> bool {
        board.agents.keys().filter(|agent| self.agents.contains(*agent)).count() < self.most
    }
}

impl Post {
    /// Puts it on the board, unless that says something else by now; returns whether anything
    /// changed.
    pub fn onto(&self, board: &mut Board, me: &CoordinatorId, now: Timestamp) -> bool {
        match self {
            Self::Opened { name, record } => match board.breakers.get_mut(name) {
                // Who opened it by hand closes it by hand; among others, the longest wait holds.
                Some(known) if outlasts(known, record) => false,
                Some(known) => {
                    known.clone_from(record);
                    true
                }
                None => {
                    make_room(&mut board.breakers, |known| known.until, now)
                        && board.breakers.insert(name.clone(), record.clone()).is_none()
                }
            },
            Self::Probe { name, lease } => {
                let Some(record) = board.breakers.get_mut(name) else { return false };
                if record.until.is_none_or(|until| until > now) {
                    return false;
                }
                record.phase = BreakerPhase::HalfOpen;
                (record.until, record.by) = (Some(now.after(*lease)), Some(me.clone()));
                true
            }
            Self::Healed { name } => {
                let mine = |record: &BreakerRecord| {
                    record.phase == BreakerPhase::HalfOpen && record.by.as_ref() == Some(me)
                };
                board.breakers.get(name).is_some_and(mine) && board.breakers.remove(name).is_some()
            }
            Self::Reset { name } => board.breakers.remove(name).is_some(),
            Self::Quarantined { agent, record, pools } => {
                let allowed = pools.iter().all(|pool| pool.has_room(board));
                match board.agents.get_mut(agent) {
                    Some(known) if is_by_hand(known) && !is_by_hand(record) => false,
                    Some(known) => {
                        known.clone_from(record);
                        true
                    }
                    // Others may have put somebody out at the same moment.
                    None if !allowed => false,
                    None => {
                        make_room(&mut board.agents, |known| known.until, now)
                            && board.agents.insert(agent.clone(), record.clone()).is_none()
                    }
                }
            }
            Self::Paroled { agent } => {
                let by_hand = board.agents.get(agent).is_some_and(is_by_hand);
                !by_hand && board.agents.remove(agent).is_some()
            }
            Self::Released { agent } => board.agents.remove(agent).is_some(),
        }
    }
}

/// Sees to it that one more has room: what has been over for longest goes, for nobody came to probe
/// it. What a person put there, or is not over, stays.
fn make_room<K: Ord + Clone, R>(
    known: &mut BTreeMap<K, R>,
    until: impl Fn(&R) -> Option<Timestamp>,
    now: Timestamp,
) -> bool {
    if known.len() < MAX_ON_BOARD {
        return true;
    }
    let over = |(key, record)| Some((until(record).filter(|until| *until <= now)?, key));
    let Some((_, oldest)) = known.iter().filter_map(over).min() else { return false };
    let oldest = K::clone(oldest);
    known.remove(&oldest).is_some()
}

/// Returns whether a breaker that is open stays as it is, whatever else was found.
fn outlasts(known: &BreakerRecord, record: &BreakerRecord) -> bool {
    match (known.phase, known.until, record.until) {
        (_, _, None) => false,
        (_, None, Some(_)) => true,
        (BreakerPhase::Open, Some(known), Some(found)) => known >= found,
        (BreakerPhase::Closed | BreakerPhase::HalfOpen | BreakerPhase::Closing, _, Some(_)) => {
            false
        }
    }
}

const fn is_by_hand(record: &QuarantineRecord) -> bool {
    record.until.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn me(name: &str) -> CoordinatorId {
        CoordinatorId::new(name).unwrap()
    }

    fn opened(until: Option<u64>) -> Post {
        let record = BreakerRecord {
            capability: "c".to_owned(),
            phase: BreakerPhase::Open,
            since: at(0),
            until: until.map(at),
            cause: "why".to_owned(),
            trips: 1,
            by: None,
        };
        Post::Opened { name: "c".to_owned(), record }
    }

    const LEASE: Duration = Duration::from_millis(100);

    #[test]
    fn one_of_several_probes_and_another_one_once_it_is_not_heard_of() {
        let mut board = Board::default();
        let probe = Post::Probe { name: "c".to_owned(), lease: LEASE };
        assert!(!probe.onto(&mut board, &me("a"), at(1)), "there is nothing to probe");
        assert!(opened(Some(50)).onto(&mut board, &me("a"), at(0)));
        assert!(!probe.onto(&mut board, &me("a"), at(49)));
        assert!(probe.onto(&mut board, &me("b"), at(50)));
        assert!(!probe.onto(&mut board, &me("a"), at(51)), "b has the lease");
        assert!(probe.onto(&mut board, &me("a"), at(150)), "and lost it");
        let healed = Post::Healed { name: "c".to_owned() };
        assert!(!healed.onto(&mut board, &me("b"), at(151)), "b's word is of no interest");
        assert!(healed.onto(&mut board, &me("a"), at(151)));
        assert_eq!(board, Board::default());
    }

    #[test]
    fn what_a_person_did_a_person_undoes() {
        let mut board = Board::default();
        assert!(opened(None).onto(&mut board, &me("a"), at(0)));
        assert!(!opened(Some(9)).onto(&mut board, &me("a"), at(0)));
        let probe = Post::Probe { name: "c".to_owned(), lease: LEASE };
        assert!(!probe.onto(&mut board, &me("a"), at(1_000)));
        assert!(Post::Reset { name: "c".to_owned() }.onto(&mut board, &me("a"), at(0)));
        let agent = AgentId::new("x").unwrap();
        let out = |until| {
            let (since, cause, times) = (at(0), "why".to_owned(), 1);
            let record = QuarantineRecord { since, until, cause, times, by: None };
            Post::Quarantined { agent: agent.clone(), record, pools: Vec::new() }
        };
        assert!(out(None).onto(&mut board, &me("a"), at(0)));
        assert!(!out(Some(at(9))).onto(&mut board, &me("a"), at(0)));
        let paroled = Post::Paroled { agent: agent.clone() };
        assert!(!paroled.onto(&mut board, &me("a"), at(0)));
        assert!(Post::Released { agent: agent.clone() }.onto(&mut board, &me("a"), at(0)));
        assert!(out(Some(at(9))).onto(&mut board, &me("a"), at(0)));
        assert!(paroled.onto(&mut board, &me("a"), at(0)));
        assert_eq!(board, Board::default());
    }

    #[test]
    fn on_a_full_board_what_is_over_for_longest_makes_room() {
        let mut board = Board::default();
        let Post::Opened { record, .. } = opened(None) else { panic!("it is opened") };
        let open = |name: &str, until: Option<u64>| {
            let record = BreakerRecord { until: until.map(at), ..record.clone() };
            Post::Opened { name: name.to_owned(), record }
        };
        let put = |name: usize, until: Option<u64>| {
            let (agent, until) = (AgentId::new(&name.to_string()).unwrap(), until.map(at));
            let (since, cause) = (at(0), "why".to_owned());
            let record = QuarantineRecord { since, until, cause, times: 1, by: None };
            Post::Quarantined { agent, record, pools: Vec::new() }
        };
        // The first is by hand, the second over at 1, …
        for name in 0..MAX_ON_BOARD {
            let until = (name > 0).then_some(name as u64);
            assert!(open(&name.to_string(), until).onto(&mut board, &me("a"), at(0)));
            assert!(put(name, until).onto(&mut board, &me("a"), at(0)));
        }
        let full = board.clone();
        assert!(!open("new", Some(9)).onto(&mut board, &me("a"), at(0)), "nothing is over");
        assert!(!put(MAX_ON_BOARD, Some(9)).onto(&mut board, &me("a"), at(0)));
        assert_eq!(board, full);
        assert!(open("new", Some(9)).onto(&mut board, &me("a"), at(2)));
        assert!(put(MAX_ON_BOARD, Some(9)).onto(&mut board, &me("a"), at(2)));
        assert_eq!((board.breakers.len(), board.agents.len()), (MAX_ON_BOARD, MAX_ON_BOARD));
        let gone: Vec<_> =
            full.breakers.keys().filter(|k| !board.breakers.contains_key(*k)).collect();
        assert_eq!(gone, ["1"]);
        let gone: Vec<_> = full.agents.keys().filter(|k| !board.agents.contains_key(*k)).collect();
        assert_eq!(gone, [&AgentId::new("1").unwrap()]);
    }

    #[test]
    fn two_that_each_put_somebody_out_do_not_empty_a_pool() {
        let mut board = Board::default();
        let out = |name: &str| {
            let agent = AgentId::new(name).unwrap();
            let (since, until, cause) = (at(0), Some(at(9)), "why".to_owned());
            let record = QuarantineRecord { since, until, cause, times: 1, by: None };
            let agents = ["x", "y", "z"].map(|name| AgentId::new(name).unwrap());
            let pools = vec![Share { agents: agents.into(), most: 1 }];
            Post::Quarantined { agent, record, pools }
        };
        assert!(out("x").onto(&mut board, &me("a"), at(0)));
        assert!(!out("y").onto(&mut board, &me("b"), at(0)), "x is out");
        assert!(out("x").onto(&mut board, &me("b"), at(1)), "it is out already");
        assert!(Post::Paroled { agent: AgentId::new("x").unwrap() }.onto(
            &mut board,
            &me("a"),
            at(2)
        ));
        assert!(out("y").onto(&mut board, &me("b"), at(2)));
    }
}
