//! What one capability has: work that waits, and agents with room.

use std::collections::{BTreeMap, BTreeSet};

use skep_protocol::{AgentId, AttemptId, Timestamp};

use super::attempt::Rank;

/// The labels that an agent must have.
pub(super) type Labels = BTreeMap<String, String>;

/// The work and the agents of one capability.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Attempts that wait, in order, apart by the labels they require: one that no agent can take
    /// holds up nobody else.
    ready: BTreeMap<Labels, BTreeMap<Rank, AttemptId>>,
    /// Attempts in the queue lane that nobody is known to hold.
    pub(super) queued: BTreeSet<AttemptId>,
    /// Agents of the direct lane that take tasks, and have room: the least loaded first.
    pub(super) free: BTreeSet<(u32, AgentId)>,
    /// All agents of the direct lane.
    pub(super) direct: BTreeSet<AgentId>,
    /// All agents of the queue lane.
    pub(super) pullers: BTreeSet<AgentId>,
    /// When the depth of the queue is asked for next.
    pub(super) ask_at: Option<Timestamp>,
}

impl Pool {
    pub(super) fn push(&mut self, labels: &Labels, rank: Rank, id: AttemptId) {
        if let Some(line) = self.ready.get_mut(labels) {
            line.insert(rank, id);
        } else {
            self.ready.insert(labels.clone(), BTreeMap::from([(rank, id)]));
        }
    }

    pub(super) fn remove(&mut self, labels: &Labels, rank: &Rank) {
        let Some(line) = self.ready.get_mut(labels) else { return };
        line.remove(rank);
        if line.is_empty() {
            self.ready.remove(labels);
        }
    }

    /// Returns the first attempt of each line, the one whose turn it is first.
    pub(super) fn heads(&self) -> Vec<(Rank, &Labels, &AttemptId)> {
        let mut heads: Vec<_> = self
            .ready
            .iter()
            .filter_map(|(labels, line)| {
                line.first_key_value().map(|(rank, id)| (*rank, labels, id))
            })
            .collect();
        heads.sort_unstable_by_key(|(rank, _, _)| *rank);
        heads
    }

    /// Returns the first `most` attempts, in order, of the lines whose labels will do.
    pub(super) fn first_of(
        &self,
        most: usize,
        will_do: impl Fn(&Labels) -> bool,
    ) -> Vec<AttemptId> {
        let mut first: Vec<(&Rank, &AttemptId)> = self
            .ready
            .iter()
            .filter(|(labels, _)| will_do(labels))
            .flat_map(|(_, line)| line.iter().take(most))
            .collect();
        first.sort_unstable_by_key(|(rank, _)| **rank);
        first.into_iter().take(most).map(|(_, id)| id.clone()).collect()
    }

    /// Returns how many ready attempts go before `rank`.
    pub(super) fn before(&self, rank: &Rank) -> usize {
        self.ready.values().map(|line| line.range(..rank).count()).sum()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.ready.is_empty()
            && self.queued.is_empty()
            && self.direct.is_empty()
            && self.pullers.is_empty()
            && self.ask_at.is_none()
    }
}
