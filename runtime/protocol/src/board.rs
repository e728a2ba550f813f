//! What coordinators tell each other beside the journals: which breakers are open, which agents
//! are out. Losing it costs time: each of them would find out for itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, CoordinatorId};
use crate::time::Timestamp;

/// Everything that is not as it should be, as the coordinators of a cluster agree on it. What is
/// not on it is well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// The version of the format.
    pub v: u32,
    /// When it was written, by the clock of whoever wrote it, as are the other times in it: who
    /// reads it counts from when it was first seen, if the clocks differ.
    #[serde(default)]
    pub at: Timestamp,
    /// Circuit breakers that are not closed, by name: that of a capability, or `WORKFLOW/STEP`.
    #[serde(default)]
    pub breakers: BTreeMap<String, BreakerRecord>,
    /// Agents in quarantine.
    #[serde(default)]
    pub agents: BTreeMap<AgentId, QuarantineRecord>,
}

impl Board {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = 1;
}

/// A circuit breaker that is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerRecord {
    /// The capability whose work it holds.
    pub capability: String,
    /// Open or half-open.
    pub phase: BreakerPhase,
    /// When it opened.
    pub since: Timestamp,
    /// Open: the end of the cool-down; none if a person opened it. Half-open: the end of the lease
    /// under which one coordinator probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, for people.
    pub cause: String,
    /// How often in a row it opened.
    pub trips: u32,
    /// Who wrote this; none if a person asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<CoordinatorId>,
}

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerPhase {
    /// Work passes.
    Closed,
    /// Work is parked.
    Open,
    /// A few calls pass, to find out.
    HalfOpen,
    /// They went well: work passes in waves.
    Closing,
}

impl BreakerPhase {
    /// Returns the word used on terminals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::Closing => "closing",
        }
    }
}

/// An agent that gets no work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again; none if a person put it there, who then has to release it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, for people.
    pub cause: String,
    /// How often in a row.
    pub times: u32,
    /// Who wrote this; none if a person asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<CoordinatorId>,
}
