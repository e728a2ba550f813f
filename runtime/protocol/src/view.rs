//! What coordinators tell of agents and breakers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::{Lane, Offer, Ration};
use crate::board::{BreakerPhase, QuarantineRecord};
use crate::ids::{AgentId, CoordinatorId};
use crate::time::Timestamp;

/// One live agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// Its id.
    pub agent: AgentId,
    /// Which lane its tasks come by.
    pub lane: Lane,
    /// What it offers.
    pub offers: Vec<Offer>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many attempts it holds.
    pub held: u32,
    /// It takes no more.
    pub draining: bool,
    /// When it was last heard of.
    pub seen: Timestamp,
    /// The program and its version.
    pub software: String,
    /// How much it says that it pulls, if it heeds what it is told about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ration: Option<Ration>,
    /// How it does, as far as those have seen that were asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<AgentHealth>,
}

/// The agents of a cluster. Each coordinator sees how the attempts of its own runs end: together
/// they know how an agent does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterAgents {
    /// The agents, by name.
    pub agents: Vec<AgentView>,
    /// The coordinators that said what they know, by name.
    pub told_by: Vec<CoordinatorId>,
    /// Those that did not answer: what they have seen is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<CoordinatorId>,
}

/// How an agent does, as the coordinator that answers has seen it, or as all of them have: the
/// numbers are sums then, the standing is the worst.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHealth {
    /// Attempts that ended in its hands lately.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Whether it gets work.
    pub standing: AgentStanding,
    /// Why it gets none, or got none until lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineRecord>,
    /// What each coordinator has seen; empty if only one was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<HealthShare>,
}

/// What one coordinator has seen of how an agent does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthShare {
    /// Who.
    pub coordinator: CoordinatorId,
    /// Whether it gives the agent work.
    pub standing: AgentStanding,
    /// Attempts of its runs that ended in the hands of the agent lately.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
}

/// Whether an agent gets work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStanding {
    /// It does.
    Well,
    /// It gets none.
    Quarantined,
    /// It is tried with one attempt.
    Probed,
    /// It gets work, one task at a time if it pulls, and goes back at the first failure.
    Paroled,
}

impl AgentStanding {
    /// Returns the word used on terminals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Quarantined => "quarantined",
            Self::Probed => "probed",
            Self::Paroled => "on parole",
        }
    }
}

/// The circuit breakers of a cluster. Each coordinator counts the calls of its own runs, and holds
/// their work: together they make the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterBreakers {
    /// The breakers, by name.
    pub breakers: Vec<BreakerView>,
    /// The coordinators that said what they know, by name.
    pub told_by: Vec<CoordinatorId>,
    /// Those that did not answer: what they have is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<CoordinatorId>,
}

/// One circuit breaker, as the coordinator that answers sees it, or as all of them do: the numbers
/// are sums then, the state is the one that matters most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerView {
    /// Its name: that of a capability, or `WORKFLOW/STEP`.
    pub name: String,
    /// The capability whose work it holds.
    pub capability: String,
    /// Its state.
    pub phase: BreakerPhase,
    /// Calls that count at the moment.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that took too long.
    pub slow: u32,
    /// Attempts that wait because of it.
    pub parked: u32,
    /// When it opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it is tried again; none if a person opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why it opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// How often in a row it opened.
    pub trips: u32,
    /// How many calls may be under way at a time, if that is bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_a_time: Option<u32>,
    /// What each coordinator has of it; empty if only one was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<BreakerShare>,
}

/// What one coordinator has of a circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerShare {
    /// Who.
    pub coordinator: CoordinatorId,
    /// In which state it sees the breaker.
    pub phase: BreakerPhase,
    /// Calls that count at the moment.
    pub calls: u32,
    /// Those that failed.
    pub failed: u32,
    /// Those that took too long.
    pub slow: u32,
    /// Attempts that wait because of it.
    pub parked: u32,
}
