//! What may go wrong.

use std::collections::BTreeSet;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Messages take their time.
    Delay,
    /// Messages, or answers to them, never arrive.
    Loss,
    /// Something is done although its sender was told that nobody knows: at once, or much later.
    Ghost,
    /// Messages arrive twice.
    Repeat,
    /// A coordinator is killed and started again.
    CoordinatorDies,
    /// A coordinator stops for a while (SIGSTOP), then goes on.
    CoordinatorStops,
    /// A coordinator is cut off from the broker for a while.
    CoordinatorCutOff,
    /// A coordinator is told to drain and started again.
    CoordinatorDrains,
    /// An agent is killed and started again.
    AgentDies,
    /// An agent stops for a while (SIGSTOP), then goes on.
    AgentStops,
    /// An agent is cut off from the broker for a while.
    AgentCutOff,
    /// An agent is told to drain and started again.
    AgentDrains,
    /// Handlers fail, panic, hang or are slow.
    HandlerFails,
    /// The broker is restarted: the queues of tasks are empty.
    BrokerRestarts,
    /// The disk of the broker is full for a while: what is to be kept gets no answer.
    DiskFull,
    /// The wall clock jumps by an hour.
    ClockJumps,
    /// Clients pause, resume and cancel runs, start them twice, send signals, and order breakers
    /// and agents about.
    ClientsMeddle,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::Delay,
        Self::Loss,
        Self::Ghost,
        Self::Repeat,
        Self::CoordinatorDies,
        Self::CoordinatorStops,
        Self::CoordinatorCutOff,
        Self::CoordinatorDrains,
        Self::AgentDies,
        Self::AgentStops,
        Self::AgentCutOff,
        Self::AgentDrains,
        Self::HandlerFails,
        Self::BrokerRestarts,
        Self::DiskFull,
        Self::ClockJumps,
        Self::ClientsMeddle,
    ];
}

/// The kinds of faults that a simulation has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(BTreeSet<Fault>);

impl Faults {
    /// Returns every kind.
    pub fn all() -> Self {
        Fault::ALL.into_iter().collect()
    }

    /// Returns no kind: messages arrive at once, nothing dies.
    pub fn none() -> Self {
        Self::default()
    }

    /// Leaves one kind out.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.0.remove(&fault);
        self
    }

    /// Returns whether a kind is among them.
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// Returns whether only handlers and clients do what they should not: machines and messages do
    /// as they are told.
    pub(crate) fn is_orderly(&self) -> bool {
        self.0.iter().all(|kind| matches!(kind, Fault::HandlerFails | Fault::ClientsMeddle))
    }

    /// Returns the kinds, sorted.
    pub fn iter(&self) -> impl Iterator<Item = Fault> {
        self.0.iter().copied()
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<T: IntoIterator<Item = Fault>>(kinds: T) -> Self {
        Self(kinds.into_iter().collect())
    }
}
