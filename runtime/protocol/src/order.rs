//! What a person decides about breakers and agents, instead of the coordinators.

use serde::{Deserialize, Serialize};

use crate::ids::AgentId;

/// See [`Command::Order`](crate::Command::Order). It holds for the whole cluster, whoever takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Open a circuit breaker until it is reset.
    TripBreaker {
        /// The capability, or `WORKFLOW/STEP`.
        name: String,
        /// Why, for people.
        reason: String,
    },
    /// Close a circuit breaker: work passes again, in waves.
    ResetBreaker {
        /// Its name.
        name: String,
    },
    /// Give an agent no more work until it is released.
    QuarantineAgent {
        /// Who.
        agent: AgentId,
        /// Why, for people.
        reason: String,
    },
    /// Let an agent out.
    ReleaseAgent {
        /// Who.
        agent: AgentId,
    },
}
