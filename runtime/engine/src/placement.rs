//! Which coordinator serves which partition.
//!
//! Every coordinator decides for itself, from the records that all of them write into the registry;
//! no two need agree. Being wrong costs time, never correctness: the fence of the journal lets one
//! writer in. Nobody's clock is compared with another's. A coordinator is gone when its record did
//! not change over several of one's *own* successful writes: whoever cannot write judges nobody.
//!
//! Read [`Placement`] first; [`Vigil`] watches the owner of one partition.

mod peer;
#[cfg(test)]
mod tests;
mod vigil;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_protocol::{CoordinatorId, Member, MemberPhase, PartitionCount, PartitionId};

use peer::{Peer, weight};

pub use vigil::{Probe, Verdict, Vigil};

/// How often a coordinator writes its record.
pub const RENEWED_EVERY: Duration = Duration::from_millis(500);
/// A coordinator is gone after so many rounds in which its record did not change.
const MISSED: u32 = 4;
/// A coordinator that is to be handed a partition has to be steady for so many rounds, all of them
/// since the partition was taken: whoever comes and goes is handed nothing.
const STEADY: u64 = 4;
/// Of so many owned partitions, one more is handed over in the same round.
const HANDED_AT_ONCE: usize = 16;

/// One look at all records.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// The records, each with the revision that tells whether it was written anew.
    pub members: BTreeMap<CoordinatorId, (u64, Member)>,
    /// Whether one's own record was written in this round.
    pub wrote: bool,
}

/// Where one coordinator stands among all of them.
#[derive(Debug)]
pub struct Placement {
    me: CoordinatorId,
    count: PartitionCount,
    weights: Vec<u64>,
    peers: BTreeMap<CoordinatorId, Peer>,
    owned: BTreeMap<PartitionId, u64>,
    warm: BTreeSet<PartitionId>,
    to_hand_over: BTreeSet<PartitionId>,
    phase: MemberPhase,
    /// Rounds that counted: apart from each other by the time between two writes.
    rounds: u64,
    counted: Option<Duration>,
}

impl Placement {
    /// Creates the view of a coordinator that has not looked yet.
    pub fn new(me: CoordinatorId, count: PartitionCount) -> Self {
        let weights = count.all().map(|partition| weight(&me, partition)).collect();
        Self {
            me,
            count,
            weights,
            peers: BTreeMap::new(),
            owned: BTreeMap::new(),
            warm: BTreeSet::new(),
            to_hand_over: BTreeSet::new(),
            phase: MemberPhase::Serving,
            rounds: 0,
            counted: None,
        }
    }

    /// Returns what this coordinator says of itself.
    pub fn member(&self, process: &str) -> Member {
        Member {
            v: Member::VERSION,
            process: process.to_owned(),
            phase: self.phase,
            owns: self.owned.keys().copied().collect(),
            warm: self.warm.iter().copied().collect(),
        }
    }

    /// Takes in one look at all records.
    pub fn looked(&mut self, round: &Round, now: Duration) {
        let due = |at: Duration| now.saturating_sub(at) >= RENEWED_EVERY;
        // Rounds that follow each other at once give the others no time to write.
        let counts = round.wrote && self.counted.is_none_or(due);
        let first = self.counted.is_none();
        if counts {
            self.counted = Some(now);
            self.rounds += 1;
        }
        self.peers.retain(|id, _| round.members.contains_key(id));
        for (id, (revision, member)) in &round.members {
            if *id == self.me {
                continue;
            }
            match self.peers.get_mut(id) {
                Some(peer) => peer.seen(*revision, member, (counts, self.rounds)),
                None => {
                    // What was there at the first look may be what a dead one left.
                    let mut peer = Peer::new(id, self.count, (*revision, member.clone()));
                    if !first {
                        peer.is_alive(self.rounds);
                    }
                    self.peers.insert(id.clone(), peer);
                }
            }
        }
        self.to_hand_over = self.find_to_hand_over();
    }

    /// This coordinator serves a partition, or does not any more.
    pub fn owns(&mut self, partition: PartitionId, owned: Ownership) {
        match owned {
            Ownership::Taken => drop(self.owned.insert(partition, self.rounds)),
            Ownership::Left => {
                self.owned.remove(&partition);
                self.to_hand_over.remove(&partition);
            }
        }
    }

    /// This coordinator could take a partition over at once, or could not.
    pub fn follows(&mut self, partition: PartitionId, following: Following) {
        match following {
            Following::Closely => drop(self.warm.insert(partition)),
            Following::No => drop(self.warm.remove(&partition)),
        }
    }

    /// This coordinator hands over what it has, or has ended.
    pub fn leaves(&mut self, phase: MemberPhase) {
        self.phase = phase;
    }

    /// Returns how many others should take a partition sooner than this coordinator, if whoever
    /// owns it by the records is gone: 0 for the designated successor.
    pub fn rank(&self, partition: PartitionId) -> u32 {
        let mine = (self.weight(partition), &self.me);
        let before = self.peers.iter().filter(|(id, peer)| {
            peer.takes_partitions() && !peer.owns(partition) && (peer.weight(partition), *id) > mine
        });
        u32::try_from(before.count()).unwrap_or(u32::MAX)
    }

    /// Returns whether another coordinator is to have a partition that this one serves: it comes
    /// first, has been steady, and is ready to take it at once.
    pub fn is_to_hand_over(&self, partition: PartitionId) -> bool {
        self.to_hand_over.contains(&partition)
    }

    /// Returns how many partitions could be taken over at once.
    pub fn followed(&self) -> usize {
        self.warm.len()
    }

    /// Returns whether this coordinator serves no partition.
    pub fn serves_nothing(&self) -> bool {
        self.owned.is_empty()
    }

    /// Returns whether this coordinator takes partitions.
    pub const fn phase(&self) -> MemberPhase {
        self.phase
    }

    /// Returns whether another coordinator may be there.
    pub fn has_company(&self) -> bool {
        self.peers.values().any(Peer::may_be_there)
    }

    /// Returns the others that may be there, with what they serve by their records. Those that
    /// serve nothing are left out, and so is what this coordinator serves itself.
    pub fn neighbours(&self) -> Vec<(CoordinatorId, Vec<PartitionId>)> {
        let there = self.peers.iter().filter(|(_, peer)| peer.may_be_there());
        let serving = there.map(|(id, peer)| {
            let theirs = peer.owned().filter(|partition| !self.owned.contains_key(partition));
            (id.clone(), theirs.collect::<Vec<_>>())
        });
        serving.filter(|(_, theirs)| !theirs.is_empty()).collect()
    }

    /// Returns the coordinators that are there, this one included.
    pub fn live(&self) -> Vec<CoordinatorId> {
        let others = self.peers.iter().filter(|(_, peer)| peer.takes_partitions());
        let mut live: Vec<_> = others.map(|(id, _)| id.clone()).collect();
        live.push(self.me.clone());
        live.sort_unstable();
        live
    }

    fn find_to_hand_over(&self) -> BTreeSet<PartitionId> {
        let at_once = 1 + self.owned.len() / HANDED_AT_ONCE;
        let wanted = self.owned.iter().filter(|(partition, taken)| {
            let mine = (self.weight(**partition), &self.me);
            let first = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.takes_partitions())
                .map(|(id, peer)| (peer.weight(**partition), id, peer))
                .max_by_key(|(weight, id, _)| (*weight, *id))
                .filter(|(weight, id, _)| (*weight, *id) > mine);
            first.is_some_and(|(_, _, peer)| {
                peer.is_ready(**partition)
                    && peer.steady_since().is_some_and(|since| {
                        self.rounds.saturating_sub(since.max(**taken)) >= STEADY
                    })
            })
        });
        wanted.map(|(partition, _)| *partition).take(at_once).collect()
    }

    fn weight(&self, partition: PartitionId) -> u64 {
        self.weights.get(usize::from(partition.get())).copied().unwrap_or_default()
    }
}

/// What became of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It is served from here on.
    Taken,
    /// It is not any more.
    Left,
}

/// How closely a journal is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// All that was written before is known.
    Closely,
    /// It is not.
    No,
}
