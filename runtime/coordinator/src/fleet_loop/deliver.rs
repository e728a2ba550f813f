//! Tasks on their way to an agent.

use futures::FutureExt as _;
use skep_broker::{Broker, RequestError};
use skep_engine::fleet::FleetInput;
use skep_protocol::{AgentId, AttemptId, Delivery, Refusal, Task, TaskBatch};

use super::FleetLoop;
use crate::observe;
use crate::partition::unwound;

/// So much of what an agent says is wrong with a task is kept, in bytes.
const MAX_CAUSE: usize = 512;

impl<B: Broker> FleetLoop<B> {
    /// Sends tasks to an agent; returns what came of it if that is known at once.
    pub(super) fn deliver(&mut self, agent: AgentId, mut tasks: Vec<Task>) -> Option<FleetInput> {
        let now = self.clock.now();
        tasks.iter_mut().for_each(|task| task.sent(now));
        let mut delivering = Box::pin(deliver(self.broker.clone(), agent, tasks));
        // To have another thread write it takes longer.
        if self.jobs.is_empty()
            && let Some(delivered) = (&mut delivering).now_or_never()
        {
            delivered.iter().for_each(|input| self.came_back(input));
            return delivered;
        }
        self.jobs.spawn(delivering);
        None
    }
}

/// Sends tasks to an agent; returns what came of that.
async fn deliver<B: Broker>(broker: B, agent: AgentId, tasks: Vec<Task>) -> Option<FleetInput> {
    let attempts: Vec<AttemptId> = tasks.iter().map(Task::id).collect();
    let delivering = unwound(send(&broker, &agent, tasks));
    let Some(delivered) = delivering.await else {
        return Some(FleetInput::DeliveryUnknown { agent, attempts });
    };
    Some(match delivered {
        Ok(Answered { refused, unread }) => {
            FleetInput::Delivered { agent, attempts, refused, unread }
        }
        Err(RequestError::NoResponders { sent, .. }) => {
            FleetInput::NoAgent { agent, attempts, sent }
        }
        Err(error) => {
            observe::delivery_failed(&agent, &error);
            FleetInput::DeliveryUnknown { agent, attempts }
        }
    })
}

/// What an agent does not take.
#[derive(Debug, Default)]
struct Answered {
    refused: Vec<(AttemptId, Refusal)>,
    /// What it cannot read, and why.
    unread: Vec<(AttemptId, String)>,
}

/// Sends tasks to an agent. If it cannot read them, each is sent alone, so that none keeps the
/// others away from it.
async fn send<B: Broker>(
    broker: &B,
    agent: &AgentId,
    tasks: Vec<Task>,
) -> Result<Answered, RequestError> {
    let batch = TaskBatch { tasks };
    let Delivery { refused, unreadable } = broker.deliver(agent, &batch).await?;
    let Some(cause) = unreadable.map(brief) else {
        return Ok(Answered { refused, ..Answered::default() });
    };
    let tasks = batch.tasks;
    observe::delivery_unread(agent, tasks.len(), &cause);
    if let [only] = tasks.as_slice() {
        return Ok(Answered { unread: vec![(only.id(), cause)], ..Answered::default() });
    }
    let mut answered = Answered::default();
    for task in tasks {
        let id = task.id();
        let delivery = broker.deliver(agent, &TaskBatch { tasks: vec![task] }).await;
        let delivery = delivery.map_err(some_were_sent)?;
        answered.refused.extend(delivery.refused);
        answered.unread.extend(delivery.unreadable.map(|cause| (id, brief(cause))));
    }
    Ok(answered)
}

/// Cuts what an agent says is wrong.
fn brief(cause: String) -> String {
    cause[..cause.floor_char_boundary(MAX_CAUSE)].to_owned()
}

/// What an agent had taken before it was gone it may have begun.
fn some_were_sent(error: RequestError) -> RequestError {
    if let RequestError::NoResponders { what, .. } = error {
        return RequestError::NoResponders { what, sent: true };
    }
    error
}
