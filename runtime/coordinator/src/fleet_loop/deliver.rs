//! Tasks on their way to an agent.

use skep_broker::{Broker, RequestError};
use skep_engine::fleet::FleetInput;
use skep_protocol::{AgentId, AttemptId, Task, TaskBatch};

use crate::observe;
use crate::partition::unwound;

/// Sends tasks to an agent; returns what came of that.
pub(super) async fn deliver<B: Broker>(
    broker: B,
    agent: AgentId,
    tasks: Vec<Task>,
) -> Option<FleetInput> {
    let attempts: Vec<AttemptId> = tasks.iter().map(Task::id).collect();
    let delivering = unwound(broker.deliver(&agent, TaskBatch { tasks }));
    let Some(delivered) = delivering.await else {
        return Some(FleetInput::DeliveryUnknown { agent, attempts });
    };
    Some(match delivered {
        Ok(delivery) => FleetInput::Delivered { agent, attempts, refused: delivery.refused },
        Err(RequestError::NoResponders { sent, .. }) => {
            FleetInput::NoAgent { agent, attempts, sent }
        }
        Err(error) => {
            observe::delivery_failed(&agent, &error);
            FleetInput::DeliveryUnknown { agent, attempts }
        }
    })
}
