//! Signals that are kept until a step asks for them, and who makes room when there are too many.
//!
//! The name that most of them have gives way, the oldest first; what no step of the workflow waits
//! for counts as one name. So nobody who sends many signals keeps out another one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use skep_protocol::limits::{MAX_EARLY_SIGNALS, MAX_SIGNAL_IDS};
use skep_protocol::{Payload, Signal, SignalId};

use super::standing::Index;
use super::{NodeId, Run};
use crate::rare::Blank;

/// Signals that nobody has asked for yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Signals {
    pub(crate) early: VecDeque<EarlySignal>,
    /// The ids of those that arrived last, so that a repeated one is dropped.
    pub(crate) seen: VecDeque<SignalId>,
}

impl Blank for Signals {
    const BLANK: &'static Self = &Self { early: VecDeque::new(), seen: VecDeque::new() };
}

/// A signal that is kept until a step asks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EarlySignal {
    pub(crate) name: CompactString,
    pub(crate) id: SignalId,
    pub(crate) payload: Payload,
}

impl Run {
    /// Returns whether a signal is to be taken in: there is room, a step waits for its name, or a
    /// name that has more of them gives way.
    pub(crate) fn has_room_for(&self, name: &str) -> bool {
        if self.state.signals.early.len() < MAX_EARLY_SIGNALS {
            return true;
        }
        let counts = self.early_by_name();
        let own = counts.get(&self.waited_for(name)).copied().unwrap_or_default();
        self.soft.waiters.contains_key(name) || counts.values().any(|count| *count > own)
    }

    /// Returns whether a signal is new, and no step waits for it.
    pub(crate) fn would_keep(&self, signal: &Signal) -> bool {
        !self.soft.waiters.contains_key(&signal.name)
            && !self.state.signals.seen.contains(&signal.id)
    }

    /// Returns how many signals of a name came and ended no wait.
    pub(crate) fn kept_signals(&self, name: &str) -> usize {
        self.state.signals.early.iter().filter(|signal| signal.name == name).count()
    }

    pub(super) fn receive(
        &mut self,
        name: &str,
        (id, payload): (&SignalId, &Payload),
        index: &mut Index,
    ) {
        self.make_room();
        let signals = &mut *self.state.signals;
        signals.seen.push_back(id.clone());
        if signals.seen.len() > MAX_SIGNAL_IDS {
            signals.seen.pop_front();
        }
        let (id, payload) = (id.clone(), payload.clone());
        signals.early.push_back(EarlySignal { name: CompactString::new(name), id, payload });
        let waiters = self.soft.waiters.get(name);
        let waiters: Vec<NodeId> = waiters.into_iter().flatten().copied().collect();
        for waiter in waiters {
            self.enqueue(waiter, index);
        }
    }

    /// Drops an early signal if there are as many as are kept.
    fn make_room(&mut self) {
        let early = &self.state.signals.early;
        if early.len() < MAX_EARLY_SIGNALS {
            return;
        }
        let counts = self.early_by_name();
        let most = counts.iter().max_by_key(|(name, count)| (**count, Reverse(**name)));
        let most = most.and_then(|(name, _)| *name);
        let oldest = early.iter().position(|signal| self.waited_for(&signal.name) == most);
        if let Some(oldest) = oldest {
            self.state.signals.early.remove(oldest);
        }
    }

    /// Counts the early signals by their names; none stands for all that no step waits for.
    fn early_by_name(&self) -> BTreeMap<Option<&str>, usize> {
        let mut counts = BTreeMap::new();
        for signal in &self.state.signals.early {
            *counts.entry(self.waited_for(&signal.name)).or_default() += 1;
        }
        counts
    }

    /// Returns the name of a signal if some step of the workflow waits for it.
    fn waited_for(&self, name: &str) -> Option<&str> {
        self.plan.signal(name)
    }
}
