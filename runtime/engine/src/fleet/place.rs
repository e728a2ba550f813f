//! Where an attempt can be.

use skep_protocol::{AgentId, Timestamp};

/// Where an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere yet: known and nothing more.
    New,
    /// Its run is paused.
    Withheld,
    /// Its time has not come.
    BackOff,
    /// An attempt before it, at its step or of an earlier round, was told to stop, and may not have
    /// stopped yet. It is looked at again at this moment.
    Behind { until: Timestamp },
    /// It may have been sent before this coordinator took over; the agents are being asked.
    RollCall,
    /// An agent took it, by the journal, and that agent was not heard of yet.
    Missing { until: Timestamp },
    /// It waits for a free slot or for room in the queue.
    Ready,
    /// Nobody gets it any more, for the partition is about to give it up: so little is left of the
    /// time to take it, or it was taken back.
    Late,
    /// It is on its way to an agent, which has not answered yet.
    Delivering { agent: AgentId },
    /// The agent answered that it holds it, or did not answer at all.
    Sent { agent: AgentId, since: Timestamp },
    /// The agent said in a heartbeat (or by a report) that it holds it.
    Held { agent: AgentId, seen: Timestamp },
    /// It lies in the queue since then, or somebody pulled it and has not told yet. Numbers rise
    /// with what is put into a queue after it.
    Queued { since: Timestamp, number: u64 },
    /// The partition was told that it is lost with this agent, and is about to settle it. It may
    /// know better; then it says nothing.
    Lost { agent: Option<AgentId>, again: Timestamp },
    /// The partition was told that it fails, because a breaker is open.
    Refused { again: Timestamp },
}

impl Place {
    /// Returns the agent in whose hands it is, or soon will be.
    pub(super) fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Delivering { agent } | Self::Sent { agent, .. } | Self::Held { agent, .. } => {
                Some(agent)
            }
            Self::New
            | Self::Withheld
            | Self::BackOff
            | Self::Behind { .. }
            | Self::RollCall
            | Self::Missing { .. }
            | Self::Ready
            | Self::Late
            | Self::Queued { .. }
            | Self::Lost { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// Returns whether somebody may have got it already.
    pub(super) fn is_out(&self) -> bool {
        match self {
            Self::New
            | Self::Withheld
            | Self::BackOff
            | Self::Behind { .. }
            | Self::RollCall
            | Self::Ready
            | Self::Late => false,
            Self::Missing { .. }
            | Self::Delivering { .. }
            | Self::Sent { .. }
            | Self::Held { .. }
            | Self::Queued { .. }
            | Self::Lost { .. }
            | Self::Refused { .. } => true,
        }
    }
}
