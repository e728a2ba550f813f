//! What the fleet and one partition share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use skep_engine::fleet::FleetEffect;
use skep_protocol::{AgentId, AttemptId, Failure, Task};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::ownership::Ownership;
use crate::untouched::Untouched;

/// Strays that may wait for one partition.
const MAX_STRAYS: usize = 16_384;

/// Where the fleet meets a partition.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) untouched: Arc<Untouched>,
}

impl Desk {
    pub(crate) fn new(clock: &Arc<Clock>) -> Self {
        let ownership = Ownership::new(Arc::clone(clock));
        let (inbox, untouched) = (Arc::default(), Arc::default());
        Self { inbox, ownership: Arc::new(ownership), untouched }
    }
}

/// Takes tasks that are not wanted out of what was to be sent: to an agent, or into a queue.
pub(super) fn keep_tasks(
    effects: &mut Vec<FleetEffect>,
    wanted: impl Fn(&Task, Option<&AgentId>) -> bool,
) {
    effects.retain_mut(|effect| match effect {
        FleetEffect::Deliver { agent, tasks } => {
            tasks.retain(|task| wanted(task, Some(agent)));
            !tasks.is_empty()
        }
        FleetEffect::Enqueue { task, .. } => wanted(task, None),
        FleetEffect::Look { .. }
        | FleetEffect::ClearQueue { .. }
        | FleetEffect::AskDepth { .. }
        | FleetEffect::CancelAttempts { .. }
        | FleetEffect::Ration { .. }
        | FleetEffect::AskAll
        | FleetEffect::RollCall { .. }
        | FleetEffect::Strays { .. }
        | FleetEffect::Held { .. }
        | FleetEffect::Failed { .. }
        | FleetEffect::Stalling { .. }
        | FleetEffect::Post { .. }
        | FleetEffect::Lost { .. } => true,
    });
}

/// What the fleet has to tell a partition.
#[derive(Debug)]
pub(crate) enum Feedback {
    Held { agent: AgentId, attempt: AttemptId },
    Lost { attempt: AttemptId, agent: Option<AgentId>, cause: String },
    Failed { attempt: AttemptId, agent: Option<AgentId>, failure: Failure },
    Stray { agent: AgentId, attempt: AttemptId },
}

impl Feedback {
    /// Of each kind, only what was told last about an attempt is of interest.
    fn key(&self) -> (AttemptId, Kind) {
        match self {
            Self::Held { attempt, .. } => (attempt.clone(), Kind::Held),
            Self::Lost { attempt, .. } => (attempt.clone(), Kind::Lost),
            Self::Failed { attempt, .. } => (attempt.clone(), Kind::Failed),
            Self::Stray { attempt, .. } => (attempt.clone(), Kind::Stray),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Held,
    Lost,
    Failed,
    Stray,
}

/// Where a partition finds what the fleet has to tell it. Bounded by what the partition owes, and
/// a number of strays: those that find no room come again with the next heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    kept: Mutex<Kept>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    feedback: BTreeMap<(AttemptId, Kind), Feedback>,
    strays: usize,
}

impl Inbox {
    pub(super) fn put(&self, feedback: Feedback) {
        let mut kept = self.kept.lock().expect("no holder panics");
        let key = feedback.key();
        if key.1 == Kind::Stray && !kept.feedback.contains_key(&key) {
            if kept.strays == MAX_STRAYS {
                return;
            }
            kept.strays += 1;
        }
        kept.feedback.insert(key, feedback);
        drop(kept);
        self.arrived.notify_one();
    }

    /// Waits until there is something.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(crate) fn take(&self) -> Vec<Feedback> {
        let kept = std::mem::take(&mut *self.kept.lock().expect("no holder panics"));
        kept.feedback.into_values().collect()
    }
}
