//! What is seen of an attempt without a report.

use skep_protocol::{AgentId, AttemptFailed, AttemptId, Event, Failure};

use super::Decision;
use super::command::cut;
use crate::desk::Desk;
use crate::partition::Partition;
use crate::planted::{self, Bug};
use crate::run::step::Phase;
use crate::run::{NodeId, Run};

/// An agent holds an attempt: recorded once.
pub(super) fn held(
    partition: &Partition,
    agent: &AgentId,
    attempt: &AttemptId,
    desk: &Desk<'_>,
) -> Decision {
    let held = Decision::default();
    match current(partition, attempt) {
        Some(Phase::Scheduled { .. }) => {
            let AttemptId { run, step, attempt } = attempt.clone();
            held.event(run, Event::AttemptTaken { step, attempt, agent: agent.clone() }, desk)
        }
        Some(_) | None => held,
    }
}

/// The agent of an attempt is gone.
pub(super) fn lost(
    partition: &Partition,
    attempt: &AttemptId,
    (agent, cause): (Option<AgentId>, String),
    desk: &Desk<'_>,
) -> Decision {
    let lost = Decision::default();
    match current(partition, attempt) {
        // Somebody else has it: the loss of another copy is no loss.
        Some(Phase::Taken { agent: taker, .. }) if agent.as_ref().is_some_and(|a| a != taker) => {
            lost
        }
        Some(Phase::Scheduled { .. }) if planted::is(Bug::SendLostAgain) => lost,
        Some(Phase::Taken { agent, .. }) if planted::is(Bug::SendLostAgain) => {
            let (agent, AttemptId { run, step, attempt }) = (agent.clone(), attempt.clone());
            lost.event(run, Event::AttemptReleased { step, attempt, agent }, desk)
        }
        Some(Phase::Scheduled { .. } | Phase::Taken { .. }) => {
            let AttemptId { run, step, attempt } = attempt.clone();
            let cause = cut(cause);
            lost.event(run, Event::AttemptLost { step, attempt, agent, cause }, desk)
        }
        Some(_) | None => lost,
    }
}

/// The fleet gives an attempt up.
pub(super) fn failed(
    partition: &Partition,
    attempt: &AttemptId,
    (agent, failure): (Option<AgentId>, Failure),
    desk: &Desk<'_>,
) -> Decision {
    let failed = Decision::default();
    match step_of(partition, attempt).map(|(run, id)| (&run.node(id).phase, run, id)) {
        // Somebody else has it, or somebody has it by now: it is not given up.
        Some((Phase::Taken { agent: taker, .. }, ..)) if agent.as_ref() != Some(taker) => failed,
        Some((Phase::Scheduled { .. } | Phase::Taken { .. }, run, id)) => {
            failed.event(run.id(), given_up(run, id, (agent, failure.bounded()), desk), desk)
        }
        Some(_) | None => failed,
    }
}

/// Returns the failure of an attempt that somebody other than its agent gives up.
pub(super) fn given_up(
    run: &Run,
    id: NodeId,
    (agent, failure): (Option<AgentId>, Failure),
    desk: &Desk<'_>,
) -> Event {
    let AttemptId { step, attempt, .. } = run.current_attempt(id);
    let in_doubt = desk.is_in_doubt(run, id);
    let failed = AttemptFailed { step, attempt, agent, failure, in_doubt, duration_ms: None };
    Event::AttemptFailed(failed)
}

/// Returns the state of the step of an attempt, if it is the step's current one.
fn current<'a>(partition: &'a Partition, attempt: &AttemptId) -> Option<&'a Phase> {
    step_of(partition, attempt).map(|(run, id)| &run.node(id).phase)
}

/// Returns the step of an attempt, if that is its current one.
fn step_of<'a>(partition: &'a Partition, attempt: &AttemptId) -> Option<(&'a Run, NodeId)> {
    let run = partition.run(attempt.run)?;
    let id = run.find(&attempt.step)?;
    (run.node(id).attempt == attempt.attempt).then_some((run, id))
}
