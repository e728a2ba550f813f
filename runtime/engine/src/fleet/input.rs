//! What the fleet is told and what it wants done.

use std::time::Duration;

use skep_protocol::{
    AgentId, AttemptId, Board, CoordinatorId, Failure, FailureKind, Heartbeat, PartitionId, Ration,
    Refusal, Task,
};

use super::board::Post;
use super::quarantine::Showing;
use crate::OfferTask;

/// What can happen to the fleet.
#[derive(Debug, Clone)]
pub enum FleetInput {
    /// A partition owes an attempt, durably.
    Owed(Box<OfferTask>),
    /// A partition was loaded from its journal and owes all this; some of it may have been sent
    /// before. Comes before any other input about the partition.
    Recovered {
        /// The partition.
        partition: PartitionId,
        /// What it owes.
        owed: Vec<OfferTask>,
        /// What it would owe if the runs were not paused.
        withheld: Vec<OfferTask>,
    },
    /// Whatever agents left for a recovered partition while nobody owned it was taken in: what is
    /// not settled by now is owed.
    CaughtUp {
        /// The partition.
        partition: PartitionId,
    },
    /// This coordinator does not own the partition any more.
    Dropped {
        /// The partition.
        partition: PartitionId,
    },
    /// The run of an attempt was paused: nobody gets it, but whoever has it goes on.
    Withheld {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A task did not leave for its agent, because the partition took the attempt back, and settles
    /// it next.
    TakenBack {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An attempt is not owed any more.
    Settled {
        /// The attempt.
        attempt: AttemptId,
        /// The agent whose report settled it, if one did.
        reported_by: Option<AgentId>,
    },
    /// An agent gave an attempt back untouched.
    Released {
        /// Who.
        agent: AgentId,
        /// What.
        attempt: AttemptId,
    },
    /// An agent said that it works on an attempt.
    Taken {
        /// Who.
        agent: AgentId,
        /// What.
        attempt: AttemptId,
    },
    /// A heartbeat; it names the questions of this coordinator that it answers, and no others'.
    Beat(Box<Heartbeat>),
    /// An agent answered a delivery: it holds everything that it could read and did not refuse. The
    /// answer to a look names nothing.
    Delivered {
        /// Who.
        agent: AgentId,
        /// What was sent.
        attempts: Vec<AttemptId>,
        /// What it does not take.
        refused: Vec<(AttemptId, Refusal)>,
        /// What it cannot read, and why.
        unread: Vec<(AttemptId, String)>,
    },
    /// Nobody listens in the name of the agent.
    NoAgent {
        /// Who.
        agent: AgentId,
        /// What was to be sent.
        attempts: Vec<AttemptId>,
        /// It still listened when they were sent, and may have begun them.
        sent: bool,
    },
    /// A delivery was not answered: the agent may hold the attempts or not.
    DeliveryUnknown {
        /// Who.
        agent: AgentId,
        /// What was sent.
        attempts: Vec<AttemptId>,
    },
    /// How full the queue of a capability is.
    Depth {
        /// The capability.
        capability: String,
        /// Tasks that nobody pulled.
        waiting: u64,
        /// Tasks that were pulled and not acknowledged.
        held: u64,
    },
    /// An attempt ended, durably. Comes before it is settled.
    Ended {
        /// Which.
        attempt: AttemptId,
        /// Who performed it.
        agent: Option<AgentId>,
        /// How.
        end: CallEnd,
    },
    /// What the coordinators share changed, or what was posted is on the board.
    Board {
        /// All of it.
        board: Board,
        /// The name of this coordinator.
        me: CoordinatorId,
        /// What was posted up to this number is on it, or was refused.
        posted: u64,
    },
    /// The link to the broker came or went.
    Link(Link),
    /// A moment that was asked for has come.
    Wake,
}

/// How an attempt ended, as those see it who watch over capabilities and agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallEnd {
    /// What became of it.
    pub outcome: CallOutcome,
    /// How long it took, if that is known.
    pub took: Option<Duration>,
}

impl CallEnd {
    /// Returns whether the capability failed; nothing if this tells nothing about it. A failure
    /// that is the answer (`final`, or one that the step names in `unless`) is none of it; what
    /// another agent may do tells nothing.
    pub(crate) fn blames_capability(&self, unless: &[String]) -> Option<bool> {
        match &self.outcome {
            CallOutcome::Completed => Some(false),
            CallOutcome::Failed { only_here: true, .. } => None,
            CallOutcome::Failed { kind, code, retryable, only_here: false } => match kind {
                FailureKind::Agent | FailureKind::Unclear => {
                    Some(*retryable && !unless.contains(code))
                }
                FailureKind::Panic
                | FailureKind::Timeout
                | FailureKind::Expect
                | FailureKind::Stalled => Some(true),
                FailureKind::Limit => Some(false),
                FailureKind::Deadline
                | FailureKind::QueueTimeout
                | FailureKind::Expression
                | FailureKind::Lost
                | FailureKind::SignalTimeout
                | FailureKind::Inner
                | FailureKind::Compensated
                | FailureKind::Cancelled
                | FailureKind::BreakerOpen => None,
            },
        }
    }

    /// Returns how this shows the agent, as one of several that do the same. It is held against the
    /// others, whom the same answer would come from: so what it says is final counts as well, and
    /// so does what it leaves to others.
    pub(super) fn shows_agent(&self, unless: &[String]) -> Option<Showing> {
        if let CallOutcome::Failed { only_here: true, .. } = &self.outcome {
            return Some(Showing::Answered);
        }
        let failed = self.blames_capability(unless)?;
        Some(match &self.outcome {
            CallOutcome::Completed | CallOutcome::Failed { .. } if failed => Showing::Failed,
            CallOutcome::Failed { kind: FailureKind::Agent | FailureKind::Unclear, .. } => {
                Showing::Answered
            }
            CallOutcome::Completed | CallOutcome::Failed { .. } => Showing::Well,
        })
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// It completed.
    Completed,
    /// It failed.
    Failed {
        /// In which way.
        kind: FailureKind,
        /// The word that definitions match on.
        code: String,
        /// Whether trying again can help.
        retryable: bool,
        /// Whether it is this agent that does not do it, and another one may.
        only_here: bool,
    },
}

/// The state of this coordinator's own link to the broker. Silence counts only while it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The broker can be reached.
    Up,
    /// It cannot.
    Down,
}

/// What the fleet wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FleetEffect {
    /// Send these tasks to an agent; the answer comes back as an input.
    Deliver {
        /// Who.
        agent: AgentId,
        /// What.
        tasks: Vec<Task>,
    },
    /// Send an agent no tasks, to see whether it is there; the answer comes back as an input.
    Look {
        /// Who.
        agent: AgentId,
    },
    /// Put a task into the queue of its capability.
    Enqueue {
        /// The task.
        task: Task,
        /// Rises each time the same attempt is sent again on purpose.
        sending: u32,
    },
    /// Empty the queue of a capability.
    ClearQueue {
        /// The capability.
        capability: String,
    },
    /// Find out how full the queue of a capability is.
    AskDepth {
        /// The capability.
        capability: String,
    },
    /// Tell an agent to stop these attempts.
    CancelAttempts {
        /// Who.
        agent: AgentId,
        /// What.
        attempts: Vec<AttemptId>,
    },
    /// Tell an agent that pulls how much it may hold from here on.
    Ration {
        /// Who.
        agent: AgentId,
        /// How much.
        ration: Ration,
    },
    /// An agent holds attempts that are not owed as far as the fleet knows: the partitions of
    /// their runs decide whether it has to stop.
    Strays {
        /// Who.
        agent: AgentId,
        /// What; all of partitions that this coordinator owns.
        attempts: Vec<AttemptId>,
    },
    /// Ask all agents for a heartbeat: this process slept, and does not know who is still there.
    AskAll,
    /// Ask all agents for a heartbeat that names this question.
    RollCall {
        /// Which question.
        number: u64,
        /// For whose sake.
        partition: PartitionId,
    },
    /// Tell the partition that an agent holds the attempt.
    Held {
        /// The partition.
        partition: PartitionId,
        /// Who.
        agent: AgentId,
        /// What.
        attempt: AttemptId,
    },
    /// Tell the partition that the attempt fails.
    Failed {
        /// The partition.
        partition: PartitionId,
        /// What.
        attempt: AttemptId,
        /// Who holds it.
        agent: Option<AgentId>,
        /// Why.
        failure: Failure,
    },
    /// Tell people that an attempt makes no progress, before it fails for that.
    Stalling {
        /// What.
        attempt: AttemptId,
        /// Who holds it.
        agent: AgentId,
        /// For how long.
        silent_for: Duration,
    },
    /// Put this on the board that the coordinators share; the answer is a [`FleetInput::Board`].
    Post {
        /// Rises with each.
        number: u64,
        /// What.
        post: Post,
    },
    /// Tell the partition that the attempt was lost.
    Lost {
        /// The partition.
        partition: PartitionId,
        /// What.
        attempt: AttemptId,
        /// Who held it.
        agent: Option<AgentId>,
        /// What was seen, for people.
        cause: String,
    },
}
