//! What is seen of an attempt without a report.

use skep_protocol::{AgentId, AttemptFailed, AttemptId, Event, Failure};

use super::Decision;
use super::command::cut;
use crate::desk::Desk;
use crate::partition::Partition;
use crate::planted::{self, Bug};
use crate::run::step::Phase;

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
    match current(partition, attempt) {
        // Somebody else has it, or somebody has it by now: it is not given up.
        Some(Phase::Taken { agent: taker, .. }) if agent.as_ref() != Some(taker) => failed,
        Some(Phase::Scheduled { .. } | Phase::Taken { .. }) => {
            let AttemptId { run, step, attempt } = attempt.clone();
            let failure = failure.bounded();
            let event = AttemptFailed { step, attempt, agent, failure, duration_ms: None };
            failed.event(run, Event::AttemptFailed(event), desk)
        }
        Some(_) | None => failed,
    }
}

/// Returns the state of the step of an attempt, if it is the step's current one.
fn current<'a>(partition: &'a Partition, attempt: &AttemptId) -> Option<&'a Phase> {
    let run = partition.run(attempt.run)?;
    let node = run.node(run.find(&attempt.step)?);
    (node.attempt == attempt.attempt).then_some(&node.phase)
}
