//! What a person decides about breakers and agents, instead of the coordinators.

use serde::{Deserialize, Serialize};

use crate::ids::AgentId;
use crate::limits::MAX_COMMAND_TEXT;

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

impl Order {
    /// Cuts what is for people, and refuses a name that nothing has: coordinators share what was
    /// ordered.
    ///
    /// # Errors
    /// What is too long, and the limit.
    pub fn bounded(mut self) -> Result<Self, String> {
        if let Self::TripBreaker { name, .. } | Self::ResetBreaker { name } = &self
            && name.len() > MAX_COMMAND_TEXT
        {
            return Err(format!("the name of a breaker has at most {MAX_COMMAND_TEXT} bytes"));
        }
        if let Self::TripBreaker { reason, .. } | Self::QuarantineAgent { reason, .. } = &mut self {
            reason.truncate(reason.floor_char_boundary(MAX_COMMAND_TEXT));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_takes_little_of_what_is_shared() {
        let trip = |name: &str, reason: &str| {
            let (name, reason) = (name.to_owned(), reason.to_owned());
            Order::TripBreaker { name, reason }.bounded()
        };
        let long = "é".repeat(MAX_COMMAND_TEXT);
        assert!(trip(&long, "").is_err());
        assert_eq!(trip("x", &long), trip("x", &"é".repeat(MAX_COMMAND_TEXT / 2)));
    }
}
