//! A run that does another one over takes down what it keeps, before any step begins.

use skep_protocol::Event;
use skep_protocol::limits::MAX_DECIDED_AT_ONCE;

use super::Followed;
use crate::desk::{Desk, Obstacle};
use crate::run::Run;
use crate::size;

/// Returns the next facts of the run before. If they cannot be had, the run is cancelled: nothing
/// is done twice because nobody knows that it was done.
pub(super) fn next(run: &Run, desk: &Desk<'_>) -> Followed {
    match facts(run, desk) {
        Ok(events) => Ok(events),
        Err(Obstacle::Missing) => Err(Obstacle::Missing),
        Err(Obstacle::Failure(failure)) => {
            let reason = format!("what is kept of the run before cannot be read: {failure}");
            Ok(vec![Event::CancelRequested { reason: crate::decide::cut(reason) }])
        }
    }
}

fn facts(run: &Run, desk: &Desk<'_>) -> Followed {
    let retry = run.state.started.retry().as_ref();
    let kept = retry.and_then(|retry| retry.kept.as_ref());
    let kept = kept.ok_or_else(|| unreadable("it is nowhere"))?;
    let facts: Vec<Event> =
        serde_json::from_str(desk.text(kept)?).map_err(|error| unreadable(&error.to_string()))?;
    let left = facts.into_iter().skip(run.state.kept as usize);
    let (mut next, mut bytes) = (Vec::new(), 0);
    for fact in left.take(run.to_keep() as usize) {
        if !matches!(fact, Event::StepKept(_) | Event::StepExpanded(_)) {
            return Err(unreadable("there are other facts in it"));
        }
        bytes += size::of(&fact);
        next.push(fact);
        if bytes > MAX_DECIDED_AT_ONCE {
            break;
        }
    }
    if next.is_empty() { Err(unreadable("it is too short")) } else { Ok(next) }
}

fn unreadable(why: &str) -> Obstacle {
    let kind = skep_protocol::FailureKind::Inner;
    skep_protocol::Failure::new(kind, "kept_facts", why).fatal().into()
}
