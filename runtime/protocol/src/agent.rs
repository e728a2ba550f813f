//! Agents: what they say of themselves, and what they are told beside tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::Versioned;
use crate::ids::{AgentId, AttemptId, CoordinatorId};
use crate::partition::PartitionId;
use crate::time::Timestamp;

/// What an agent says every [`HEARTBEAT_INTERVAL`](crate::limits::HEARTBEAT_INTERVAL): that it is
/// there, what it offers and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The version of the format.
    pub v: u32,
    /// Who.
    pub agent: AgentId,
    /// Rises with every heartbeat of this process, so that a late one is noticed.
    pub seq: u64,
    /// Which lane its tasks come by.
    pub lane: Lane,
    /// What it offers.
    pub offers: Vec<Offer>,
    /// Free words that steps choose agents by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it works on, and what it has finished but not yet been confirmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// It takes no more tasks.
    #[serde(default)]
    pub draining: bool,
    /// This is its last heartbeat: whatever it held goes back at once.
    #[serde(default)]
    pub leaving: bool,
    /// The program and its version, for people.
    #[serde(default)]
    pub software: String,
    /// The roll calls that it answers: what an agent was sent before it heard of them is listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<RollCall>,
    /// Queue lane: how much it was told last that it may hold, `full` before that. Whoever does not
    /// say this does not heed it either, and cannot be put into quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ration: Option<Ration>,
}

impl Heartbeat {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = 1;

    /// Returns how many tasks the agent performs at a time, over all it offers.
    pub fn slots(&self) -> u32 {
        self.offers.iter().map(|offer| offer.slots).fold(0, u32::saturating_add)
    }
}

impl Versioned for Heartbeat {
    const KNOWN: u32 = Self::VERSION;

    fn version(&self) -> u32 {
        self.v
    }
}

/// By which way tasks reach an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// The coordinator picks the agent and sends it the task.
    Direct,
    /// The agent pulls from the queue of the capability.
    Queue,
}

/// How much an agent of the queue lane may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ration {
    /// No more tasks than this at a time, over all that it offers: with 0 it pulls nothing.
    AtMost(u32),
    /// What it has slots for.
    Full,
}

impl Ration {
    /// Returns how many tasks that are at most.
    pub const fn most(self) -> u32 {
        match self {
            Self::AtMost(most) => most,
            Self::Full => u32::MAX,
        }
    }
}

/// One capability that an agent offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The capability.
    pub capability: String,
    /// How many of its tasks the agent performs at a time.
    pub slots: u32,
}

/// An attempt in the hands of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The attempt.
    #[serde(flatten)]
    pub attempt: AttemptId,
    /// Since when, by the agent's clock.
    pub since: Timestamp,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// It is over, and its report was not confirmed yet: no progress is to be expected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Rises with each call of `progress`, so that a stalled handler is noticed.
    pub calls: u64,
    /// 0 to 1000 per mille, if the handler knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_mille: Option<u16>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a coordinator tells an agent beside tasks. Losing one costs time, never correctness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Stop these attempts; their outcome is of no interest.
    Cancel {
        /// The attempts.
        attempts: Vec<AttemptId>,
    },
    /// Take no more tasks, finish those held, leave.
    Drain {},
    /// Hold no more than this of what is pulled, until told otherwise, and say so in every
    /// heartbeat. What runs goes on; what has not begun and is too much goes back.
    Ration(Ration),
    /// Send a heartbeat at once: a coordinator has taken a partition over and knows nothing, or it
    /// slept, and then this is for no partition.
    RollCall {
        /// Which one; the heartbeat that answers it names it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<RollCall>,
    },
}

/// One question of a coordinator that took a partition over: who holds what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RollCall {
    /// Who asks.
    pub coordinator: CoordinatorId,
    /// Which of its questions.
    pub number: u64,
    /// What it took over: reports to the owner before it are sent again.
    pub partition: PartitionId,
}
