//! A run makes good what it did.

use skep_protocol::{AttemptScheduled, Event, Failure, FailureKind};

use super::{Followed, or_fail};
use crate::desk::Desk;
use crate::render::{Reader, render};
use crate::run::unwinding::Unwind;
use crate::run::{NodeId, Run};

/// Looks at a compensation that has not started.
pub(super) fn begin(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    let Some(of) = run.node(id).compensates else { return Ok(Vec::new()) };
    if run.state.paused || !run.is_open(of) {
        return Ok(Vec::new());
    }
    let Some(remedy) = run.definition(of).compensate() else { return Ok(Vec::new()) };
    let input = render(run, Reader::Compensation(of), &remedy.with, desk).map(Some);
    let scheduled = input.map(|input| {
        let (step, attempt) = (run.path(id), run.node(id).attempt + 1);
        let event =
            AttemptScheduled { step, attempt, not_before: desk.now, input, fallback: false };
        vec![Event::AttemptScheduled(event)]
    });
    or_fail(run, id, scheduled)
}

/// Looks at a run that makes good what it did.
pub(super) fn conclude(run: &Run, unwind: &Unwind) -> Followed {
    if run.soft.unwinding.is_over() {
        return Ok(vec![end(run, unwind.failure.as_ref())]);
    }
    if !run.soft.unwinding.is_stuck() {
        return Ok(Vec::new());
    }
    let untold = run.stuck().filter(|id| {
        let of = run.node(*id).compensates;
        of.and_then(|of| run.node(of).deed.as_ref()).is_some_and(|deed| !deed.stuck)
    });
    let tell = |id| {
        let failure = run.node(id).failure.as_deref().cloned();
        let failure = failure.unwrap_or_else(|| {
            Failure::new(FailureKind::Inner, "inner", "nobody said why it failed")
        });
        Event::RunStuck { step: run.path(id), failure }
    };
    Ok(untold.map(tell).collect())
}

/// Returns how a run ends that made good what it did.
pub(super) fn end(run: &Run, failure: Option<&Failure>) -> Event {
    match failure {
        Some(failure) if run.state.cancelling.is_none() => {
            Event::RunCompensated { failure: failure.clone() }
        }
        Some(_) | None => Event::RunCancelled {},
    }
}
