//! A sub-workflow ended.

use skep_protocol::{
    AttemptFailed, CancelReason, ChildOutcome, Event, Failure, FailureKind, Parent, RunId,
};

use super::Decision;
use super::report::mismatch;
use super::timer::timed_out;
use crate::desk::{Desk, Obstacle};
use crate::frontier::deadline_passed;
use crate::partition::Partition;
use crate::run::step::Phase;
use crate::run::{NodeId, Run};

/// Decides what the end of a child means to its step; confirmed whatever it means, since the child
/// repeats itself until it is.
pub(super) fn ended(
    partition: &Partition,
    parent: &Parent,
    (child, outcome): (RunId, ChildOutcome),
    desk: &Desk<'_>,
) -> Result<Decision, Obstacle> {
    let done = Decision::done();
    let Some(run) = partition.run(parent.run) else { return Ok(done) };
    let Some(id) = run.find(&parent.step) else { return Ok(done) };
    let awaited =
        matches!(run.node(id).phase, Phase::Child { child: awaited, .. } if awaited == child);
    if !awaited {
        return Ok(done);
    }
    let events = match outcome {
        ChildOutcome::Completed(outputs) => match mismatch(run, id, &outputs, desk)? {
            Some(failure) => failed(run, id, failure),
            None => {
                let output = Some(desk.bounded(outputs));
                vec![Event::StepCompleted { step: run.path(id), output, signal: None }]
            }
        },
        ChildOutcome::Failed(failure) => {
            let message = format!("run {child}: {}", failure.message);
            let failure = Failure { kind: FailureKind::Inner, message, details: None, ..failure };
            failed(run, id, failure.bounded())
        }
        ChildOutcome::Compensated(failure) => {
            let message = format!("run {child}, which made good what it did: {}", failure.message);
            let kind = FailureKind::Compensated;
            failed(run, id, Failure { kind, message, details: None, ..failure }.bounded())
        }
        ChildOutcome::Cancelled { left } => {
            let message = format!("run {child} was cancelled");
            let kind = if left { FailureKind::Inner } else { FailureKind::Cancelled };
            let failure = Failure::new(kind, "child_cancelled", message);
            failed(run, id, failure.fatal())
        }
    };
    let record = |done: Decision, event| done.event(parent.run, event, desk);
    Ok(events.into_iter().fold(done, record))
}

/// Returns what follows when a child did not complete: what it left is noted before the step ends
/// for another reason.
fn failed(run: &Run, id: NodeId, failure: Failure) -> Vec<Event> {
    let (step, attempt) = (run.path(id), run.node(id).attempt);
    let leaves_something = !failure.kind.leaves_nothing();
    let attempt_failed = |failure| {
        let (step, agent, in_doubt, duration_ms) = (step.clone(), None, false, None);
        Event::AttemptFailed(AttemptFailed { step, attempt, agent, failure, in_doubt, duration_ms })
    };
    let ending = match (run.told_to_stop(id), run.node(id).stop) {
        // The frontier ends it.
        (Some(_), _) if leaves_something => return vec![attempt_failed(failure)],
        (Some(reason), _)
        | (
            None,
            Some(
                reason @ (CancelReason::RunCancelled
                | CancelReason::Stopping
                | CancelReason::Restart),
            ),
        ) => Event::StepCancelled { step: step.clone(), reason, untouched: false },
        (None, Some(CancelReason::Deadline)) => {
            let (step, failure) = (step.clone(), deadline_passed(run, id));
            Event::StepFailed { step, failure, untouched: false }
        }
        (None, Some(CancelReason::Timeout)) => {
            let kind = match leaves_something {
                true => FailureKind::Timeout,
                false => FailureKind::Compensated,
            };
            return vec![attempt_failed(Failure { kind, ..timed_out(run, id) })];
        }
        (None, None) => return vec![attempt_failed(failure)],
    };
    let left = leaves_something.then(|| attempt_failed(failure));
    left.into_iter().chain([ending]).collect()
}
