//! The queue lane: tasks that are pulled, kept while they are worked on, and acknowledged at last.

use std::time::Duration;

use skep_broker::{AgentBroker, Delivered, Hold, Settle, Unavailable};
use skep_protocol::AttemptId;
use skep_protocol::limits::HEARTBEAT_INTERVAL;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::backoff::Backoff;

/// How long one pull waits for its first task. An agent that drains waits for its pulls, because a
/// task that comes to a dropped one is delivered again only after a while.
const PULL_WAIT: Duration = Duration::from_secs(1);

/// The answer to one pull.
pub(crate) struct Pulled {
    pub(crate) capability: String,
    /// How many slots were taken for it.
    pub(crate) reserved: u32,
    pub(crate) delivered: Vec<Delivered>,
}

/// Pulls once; a broker that cannot be reached is nothing to pull, after a delay.
pub(crate) async fn pull<B: AgentBroker>(
    broker: B,
    capability: String,
    reserved: u32,
    mut backoff: Backoff,
) -> (Pulled, Result<(), Unavailable>) {
    let max = usize::try_from(reserved).unwrap_or(usize::MAX);
    let (delivered, result) = match broker.pull(&capability, max, PULL_WAIT).await {
        Ok(delivered) => (delivered, Ok(())),
        Err(error) => {
            sleep(backoff.next_delay()).await;
            (Vec::new(), Err(error))
        }
    };
    (Pulled { capability, reserved, delivered }, result)
}

/// Keeps a pulled task from being delivered again until it is told what becomes of it. If nobody
/// tells, the task is left to come again by itself.
pub(crate) async fn keep(
    attempt: AttemptId,
    mut hold: Hold,
    mut settle: oneshot::Receiver<Settle>,
) {
    loop {
        let how = tokio::select! {
            biased;
            told = &mut settle => match told {
                Ok(how) => Some(how),
                Err(_) => return,
            },
            () = sleep(HEARTBEAT_INTERVAL) => None,
        };
        let done = hold.settle(how.unwrap_or(Settle::Extend)).await;
        if let Err(error) = done {
            tracing::debug!(%error, %attempt, ?how, "a task may come again");
        }
        if how.is_some() {
            return;
        }
    }
}
