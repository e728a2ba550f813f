//! A group, a `for_each` or a run comes to its end.

use skep_protocol::{CancelReason, Event, Failure, FailureKind, Payload};

use skep_workflow::OnFailure;

use super::{Followed, begin, failed, keep, unwind};
use crate::desk::{Desk, Obstacle};
use crate::render::{Reader, render_into};
use crate::run::step::{Phase, Progress};
use crate::run::{NodeId, Run, ScopeId};

/// Looks at a `for_each` that is under way.
pub(super) fn for_each(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    let Phase::Expanded(progress) = run.node(id).phase else { return Ok(Vec::new()) };
    if run.to_keep() > 0 {
        return Ok(Vec::new());
    }
    if progress.known < progress.total {
        // The journal was cut between the parts of the expansion.
        return super::or_fail(run, id, begin::expand(run, id, desk));
    }
    let Some(fan) = run.definition(id).for_each() else { return Ok(Vec::new()) };
    let tolerated = fan.tolerate.allows(u64::from(progress.failed), u64::from(progress.total));
    let stop = run.node(id).stop;
    if progress.ended < progress.total {
        if !tolerated && stop.is_none() && run.stops_at_failure() {
            let (step, reason) = (run.path(id), CancelReason::Stopping);
            return Ok(vec![Event::StepStopping { step, reason }]);
        }
        return Ok(Vec::new());
    }
    if let Some(CancelReason::Deadline) = stop {
        return Ok(failed(run, id, deadline_passed(run, id)));
    }
    if tolerated {
        return Ok(vec![Event::StepCompleted { step: run.path(id), output: None, signal: None }]);
    }
    Ok(failed(run, id, items_failed(run, id, progress)))
}

fn items_failed(run: &Run, id: NodeId, progress: Progress) -> Failure {
    let items = run.items_of(id).iter();
    let first = items.copied().find(|item| run.node(*item).phase == Phase::Failed);
    let failure = first.and_then(|item| Some((item, run.node(item).failure.as_deref()?)));
    let (code, cause) = match failure {
        Some((item, failure)) => {
            (failure.code.as_str(), format!("{}: {}", run.path(item), failure.message))
        }
        None => ("inner", "no item says why".to_owned()),
    };
    let failed = run.items_of(id).iter().map(|item| run.node(*item));
    let failed: Vec<_> = failed.filter(|item| item.phase == Phase::Failed).collect();
    let message = format!("{} of {} items failed; first {cause}", failed.len(), progress.total);
    let mut failure = Failure::new(FailureKind::Inner, code, message);
    let asked = failed.iter().filter_map(|item| item.failure.as_deref()?.retry_after_ms);
    failure.retry_after_ms = asked.max();
    failure
}

/// Returns the failure of a step whose `deadline` has passed.
pub(crate) fn deadline_passed(run: &Run, id: NodeId) -> Failure {
    let deadline = run.definition(id).deadline().unwrap_or_default();
    let message = format!("the step took longer than its deadline of {deadline:?}");
    Failure::new(FailureKind::Deadline, "deadline", message).fatal()
}

/// Looks at a group that is under way.
pub(super) fn group(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    let Phase::Group { round } = run.node(id).phase else { return Ok(Vec::new()) };
    let Some(scope) = run.node(id).inner.as_ref().and_then(|inner| inner.scope) else {
        return Ok(Vec::new());
    };
    if run.is_held(scope) && run.node(id).stop.is_none() {
        return Ok(supervise(run, id, scope, desk));
    }
    if run.scope(scope).open > 0 {
        return Ok(Vec::new());
    }
    if run.node(id).stop == Some(CancelReason::Deadline) {
        return Ok(failed(run, id, deadline_passed(run, id)));
    }
    let Some(failure) = inner_failure(run, scope) else {
        return Ok(vec![Event::StepCompleted { step: run.path(id), output: None, signal: None }]);
    };
    if let Some(not_before) = begin::restart_of(run, id, (&failure, round), desk) {
        let (step, round) = (run.path(id), round + 1);
        return Ok(vec![Event::GroupRestarted { step, round, not_before }]);
    }
    Ok(failed(run, id, failure))
}

/// Looks at a group whose supervision has a failure to deal with.
fn supervise(run: &Run, id: NodeId, scope: ScopeId, desk: &Desk<'_>) -> Vec<Event> {
    let state = run.scope(scope);
    if state.restarting.is_some() {
        let steps = run.to_restart(scope).into_iter();
        let restarted = |id| {
            let (step, not_before) = (run.path(id), run.asked_to_wait(id, desk.now));
            Event::StepRestarted { step, not_before }
        };
        return steps.map(restarted).collect();
    }
    let Some(failed) = state.failed else { return Vec::new() };
    let (step, failed) = (run.path(id), run.path(failed));
    vec![if run.is_too_much(scope, desk.now) {
        Event::RestartsExhausted { step, failed }
    } else {
        Event::RestartDecided { step, failed }
    }]
}

/// Returns the failure of what is around a scope whose step failed.
fn inner_failure(run: &Run, scope: ScopeId) -> Option<Failure> {
    let culprit = run.scope(scope).failed?;
    let failure = run.node(culprit).failure.as_deref()?;
    let message = format!("{}: {}", run.path(culprit), failure.message);
    let mut inner = Failure::new(FailureKind::Inner, &failure.code, message);
    inner.retry_after_ms = failure.retry_after_ms;
    Some(inner)
}

/// Looks at the run as a whole.
pub(super) fn run(run: &Run, desk: &Desk<'_>) -> Followed {
    if run.to_keep() > 0 && run.state.cancelling.is_none() {
        return keep::next(run, desk);
    }
    let root = run.scope(ScopeId::ROOT);
    if root.open > 0 {
        return Ok(Vec::new());
    }
    if let Some(unwind) = &run.state.unwind {
        return unwind::conclude(run, unwind);
    }
    if run.state.cancelling.is_some() {
        // Before everything is kept it did nothing: what the run before did is not its own yet.
        let began = run.to_keep() == 0;
        return Ok(vec![if began { after_all(run, None) } else { Event::RunCancelled {} }]);
    }
    if let Some(culprit) = root.failed {
        let failure = run.node(culprit).failure.as_deref();
        let failure = failure
            .cloned()
            .unwrap_or_else(|| Failure::new(FailureKind::Inner, "inner", "a step failed"));
        let message = format!("{}: {}", run.path(culprit), failure.message);
        let failure = Failure { message, ..failure }.bounded();
        return Ok(vec![after_all(run, Some(failure))]);
    }
    match outputs(run, desk) {
        Ok(outputs) => Ok(vec![Event::RunCompleted { outputs }]),
        Err(Obstacle::Missing) => Err(Obstacle::Missing),
        Err(Obstacle::Failure(failure)) => Ok(vec![after_all(run, Some(*failure))]),
    }
}

/// Decides what follows when a run comes to a bad end: it makes good what it did, if there is
/// anything, and unless it went past a point after which there is no way back.
fn after_all(run: &Run, failure: Option<Failure>) -> Event {
    let unwinds = run.plan.workflow().on_failure() == OnFailure::Compensate || failure.is_none();
    if unwinds && !run.is_past_pivot() {
        if run.has_deeds() {
            return Event::UnwindStarted { failure };
        }
        return unwind::end(run, failure.as_ref());
    }
    match failure {
        Some(failure) => Event::RunFailed { failure },
        None => Event::RunCancelled {},
    }
}

fn outputs(run: &Run, desk: &Desk<'_>) -> Result<Payload, Obstacle> {
    let mut text = String::from("{");
    let mut missing = false;
    for (index, (name, template)) in run.plan.workflow().outputs().iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push('"');
        text.push_str(name.as_str());
        text.push_str("\":");
        match render_into(run, (Reader::Run, template), desk, &mut text) {
            Ok(()) => {}
            Err(Obstacle::Missing) => missing = true,
            Err(Obstacle::Failure(failure)) => {
                let message = format!("output `{name}`: {}", failure.message);
                return Err(Failure { message, ..*failure }.bounded().into());
            }
        }
    }
    text.push('}');
    if missing { Err(Obstacle::Missing) } else { desk.payload(text) }
}
