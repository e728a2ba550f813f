//! Agents, tasks and offers to play with.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_protocol::{
    AgentId, AttemptId, PartitionCount, Payload, RunId, StepPath, Task, Timestamp,
};

use crate::rare::Rare;
use crate::{OfferTask, TaskSpec};

pub(super) fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

pub(super) fn task(step: &str, capability: &str, priority: u8) -> Task {
    let run = RunId::from_key("w", "k");
    Task {
        v: 1,
        run,
        step: StepPath::new(step),
        attempt: 1,
        fencing_token: 1,
        ask: false,
        origin: None,
        capability: capability.to_owned(),
        workflow: "w".to_owned(),
        partition: PartitionCount::DEFAULT.of(run),
        input: Payload::null(),
        checkpoint: None,
        timeout_ms: 60_000,
        deadline: None,
        deadline_in_ms: None,
        priority,
        labels: BTreeMap::new(),
    }
}

pub(super) fn offer(task: Task) -> OfferTask {
    offer_as(task, TaskSpec::default())
}

/// Returns an offer whose step says more than its task tells.
pub(super) fn offer_as(task: Task, more: TaskSpec) -> OfferTask {
    let id = task.id();
    let spec = TaskSpec {
        workflow: task.workflow,
        capability: task.capability.into(),
        timeout_ms: task.timeout_ms,
        priority: task.priority,
        labels: task.labels,
        ..more
    };
    OfferTask {
        id,
        partition: task.partition,
        fencing_token: task.fencing_token,
        input: task.input,
        not_before: Timestamp::EPOCH,
        is_retry: false,
        terms: Rare::default(),
        spec: Arc::new(spec),
    }
}

/// Returns the same offer of what somebody holds already.
pub(super) fn taken(mut offer: OfferTask, by: &str) -> OfferTask {
    offer.terms.taken_by = Some(agent(by));
    offer
}

pub(super) fn id(step: &str) -> AttemptId {
    task(step, "c", 5).id()
}
