//! What a record says that only an agent can have told.

use skep_protocol::{AgentId, AttemptId, Event, Payload, RunRecord, StepPath};

/// What only an agent can have told.
pub(super) enum Told<'a> {
    Completed(AttemptId, &'a AgentId, &'a Payload),
    Released(AttemptId, &'a AgentId),
}

pub(super) fn told(record: &RunRecord) -> Option<Told<'_>> {
    let id = |step: &StepPath, attempt| AttemptId { run: record.run, step: step.clone(), attempt };
    if let Event::AttemptCompleted(event) = &record.event {
        return Some(Told::Completed(id(&event.step, event.attempt), &event.agent, &event.output));
    }
    if let Event::AttemptReleased { step, attempt, agent } = &record.event {
        return Some(Told::Released(id(step, *attempt), agent));
    }
    None
}
