//! What one coordinator knows of another.

use std::collections::BTreeSet;

use skep_protocol::{CoordinatorId, Hash, Member, MemberPhase, PartitionCount, PartitionId};

use super::MISSED;

/// Another coordinator.
#[derive(Debug)]
pub(super) struct Peer {
    weights: Vec<u64>,
    revision: u64,
    process: String,
    phase: MemberPhase,
    owns: BTreeSet<PartitionId>,
    warm: BTreeSet<PartitionId>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its record was there before anybody could see it change.
    Unproven,
    /// Its record changes.
    Alive {
        /// The round since which it has never missed two in a row.
        since: u64,
        missed: u32,
    },
    /// Its record has not changed for too long.
    Gone,
}

/// Returns how much a coordinator is the one for a partition: the highest one is.
pub(super) fn weight(id: &CoordinatorId, partition: PartitionId) -> u64 {
    let hash = Hash::of(format!("{id} {partition}").as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}

impl Peer {
    pub(super) fn new(
        id: &CoordinatorId,
        count: PartitionCount,
        (revision, member): (u64, Member),
    ) -> Self {
        Self {
            weights: count.all().map(|partition| weight(id, partition)).collect(),
            revision,
            process: member.process,
            phase: member.phase,
            owns: member.owns.into_iter().collect(),
            warm: member.warm.into_iter().collect(),
            state: State::Unproven,
        }
    }

    pub(super) fn is_alive(&mut self, round: u64) {
        self.state = State::Alive { since: round, missed: 0 };
    }

    pub(super) fn seen(&mut self, revision: u64, member: &Member, (counts, round): (bool, u64)) {
        if revision == self.revision {
            if let State::Alive { since, missed } = self.state
                && counts
            {
                let missed = missed + 1;
                let since = if missed > 1 { round } else { since };
                self.state = match missed {
                    MISSED.. => State::Gone,
                    _ => State::Alive { since, missed },
                };
            }
            return;
        }
        self.revision = revision;
        let is_another = self.process != member.process;
        self.process.clone_from(&member.process);
        self.phase = member.phase;
        self.owns = member.owns.iter().copied().collect();
        self.warm = member.warm.iter().copied().collect();
        match &mut self.state {
            State::Alive { missed, .. } if !is_another => *missed = 0,
            State::Alive { .. } | State::Unproven | State::Gone => self.is_alive(round),
        }
    }

    /// Returns whether it is there and stays.
    pub(super) fn takes_partitions(&self) -> bool {
        let is_alive = match self.state {
            State::Alive { .. } => true,
            State::Unproven | State::Gone => false,
        };
        is_alive && self.phase == MemberPhase::Serving
    }

    /// Returns whether it has neither left nor been seen to be gone.
    pub(super) fn may_be_there(&self) -> bool {
        self.phase != MemberPhase::Left && self.state != State::Gone
    }

    /// Returns the round since which its record has changed all the time.
    pub(super) fn steady_since(&self) -> Option<u64> {
        match self.state {
            State::Alive { since, missed: 0 } => Some(since),
            State::Alive { .. } | State::Unproven | State::Gone => None,
        }
    }

    /// Returns the partitions that it serves.
    pub(super) fn owned(&self) -> impl Iterator<Item = PartitionId> {
        self.owns.iter().copied()
    }

    pub(super) fn owns(&self, partition: PartitionId) -> bool {
        self.owns.contains(&partition)
    }

    /// Returns whether it could take a partition over at once.
    pub(super) fn is_ready(&self, partition: PartitionId) -> bool {
        self.warm.contains(&partition)
    }

    pub(super) fn weight(&self, partition: PartitionId) -> u64 {
        self.weights.get(usize::from(partition.get())).copied().unwrap_or_default()
    }
}
