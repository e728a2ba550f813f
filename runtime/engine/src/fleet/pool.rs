//! What one capability has: work that waits, and agents with room.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use skep_protocol::{AgentId, Timestamp};
use skep_workflow::WhenOpen;

use super::attempt::Rank;
use super::register::Slot;
use crate::OfferTask;
use crate::rare::Blank;

/// The labels that an agent must have.
pub(super) type Labels = BTreeMap<String, String>;

/// The pools, by capability.
pub(super) type Pools = BTreeMap<CompactString, Pool>;

/// What attempts have in common that go, or have to wait, for the same reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// The labels that an agent must have.
    pub(super) labels: Labels,
    /// The breaker in front of it, if that is not the one of the capability.
    pub(super) breaker: Option<CompactString>,
    /// They repeat failed attempts: the retry budget has a say.
    pub(super) again: bool,
    /// They fail while the breaker is open.
    pub(super) fails: bool,
    /// Agents that cannot read them.
    pub(super) unread: BTreeSet<AgentId>,
}

/// What asks for nothing special waits in this one: nearly all attempts.
impl Blank for Line {
    const BLANK: &'static Self = &Self {
        labels: Labels::new(),
        breaker: None,
        again: false,
        fails: false,
        unread: BTreeSet::new(),
    };
}

impl OfferTask {
    /// Returns where an attempt waits for its turn.
    pub(super) fn line(&self) -> Line {
        Line {
            labels: self.spec.labels.clone(),
            breaker: self.spec.breaker.as_ref().map(|own| own.0.clone()),
            again: self.is_retry,
            fails: self.spec.when_open == WhenOpen::Fail,
            unread: BTreeSet::new(),
        }
    }
}

/// The work and the agents of one capability.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Attempts that wait, in order, apart by what they have to wait for: one that cannot go holds
    /// up nobody else.
    ready: BTreeMap<Line, BTreeMap<Rank, Slot>>,
    /// Attempts in the queue lane that nobody is known to hold, in the order in which they went
    /// there.
    pub(super) queued: BTreeMap<u64, Slot>,
    /// The number of what went there last.
    pub(super) put: u64,
    /// Agents of the direct lane that take tasks, and have room: the least loaded first.
    pub(super) free: BTreeSet<(u32, AgentId)>,
    /// All agents of the direct lane.
    pub(super) direct: BTreeSet<AgentId>,
    /// All agents of the queue lane.
    pub(super) pullers: BTreeSet<AgentId>,
    /// The number of what went there last of all that was pulled.
    pub(super) pulled: u64,
    /// The same, when the queue was looked at last.
    pub(super) pulled_before: u64,
    /// When the depth of the queue is asked for next.
    pub(super) ask_at: Option<Timestamp>,
}

/// Returns the pool of a capability; it is there from then on.
pub(super) fn pool_of<'a>(pools: &'a mut Pools, capability: &CompactString) -> &'a mut Pool {
    pools.entry(capability.clone()).or_default()
}

impl Pool {
    pub(super) fn push(&mut self, line: &Line, rank: Rank, slot: Slot) {
        if let Some(waiting) = self.ready.get_mut(line) {
            waiting.insert(rank, slot);
        } else {
            self.ready.insert(line.clone(), BTreeMap::from([(rank, slot)]));
        }
    }

    pub(super) fn remove(&mut self, line: &Line, rank: &Rank) {
        let Some(waiting) = self.ready.get_mut(line) else { return };
        waiting.remove(rank);
        if waiting.is_empty() {
            self.ready.remove(line);
        }
    }

    /// Returns the first attempt of each line.
    pub(super) fn heads(&self) -> impl Iterator<Item = (&Rank, &Line, Slot)> {
        self.ready.iter().filter_map(|(line, waiting)| {
            let (rank, slot) = waiting.first_key_value()?;
            Some((rank, line, *slot))
        })
    }

    /// Returns the lines in which somebody waits.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.ready.keys()
    }

    /// Returns how many wait in the lines that will do.
    pub(super) fn waiting(&self, will_do: impl Fn(&Line) -> bool) -> usize {
        let lines = self.ready.iter().filter(|(line, _)| will_do(line));
        lines.map(|(_, waiting)| waiting.len()).sum()
    }

    /// Returns the first `most` attempts, in order, of the lines that will do.
    pub(super) fn first_of(&self, most: usize, will_do: impl Fn(&Line) -> bool) -> Vec<Slot> {
        let mut first: Vec<(&Rank, &Slot)> = self
            .ready
            .iter()
            .filter(|(line, _)| will_do(line))
            .flat_map(|(_, waiting)| waiting.iter().take(most))
            .collect();
        first.sort_unstable_by_key(|(rank, _)| **rank);
        first.into_iter().take(most).map(|(_, slot)| *slot).collect()
    }

    /// Returns how many ready attempts go before `rank`.
    pub(super) fn before(&self, rank: &Rank) -> usize {
        self.ready.values().map(|waiting| waiting.range(..rank).count()).sum()
    }

    /// Returns all agents, of both lanes.
    pub(super) fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.direct.iter().chain(&self.pullers)
    }

    /// Returns how many agents there are, of both lanes.
    pub(super) fn size(&self) -> usize {
        self.direct.len() + self.pullers.len()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.ready.is_empty()
            && self.queued.is_empty()
            && self.direct.is_empty()
            && self.pullers.is_empty()
            && self.ask_at.is_none()
    }
}
