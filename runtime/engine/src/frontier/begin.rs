//! A step begins, or is tried again.

use skep_protocol::limits::{
    MAX_INLINE_PAYLOAD, MAX_ITEMS_BYTES, MAX_RUN_DEPTH, MAX_STEPS_PER_RUN,
};
use skep_protocol::{
    AttemptScheduled, ChildStarted, Event, Failure, FailureKind, Payload, RunId, SkipReason,
    StepExpanded, Timestamp, WaitStarted, WaitingFor,
};
use skep_workflow::{Condition, StepKind, WaitFor};

use super::{Followed, Readiness, failed, or_fail, readiness, setback_failure};
use crate::desk::{Desk, Obstacle};
use crate::plan::Plan;
use crate::render::{Reader, evaluate, evaluate_with_signal, render};
use crate::retry;
use crate::run::step::Setback;
use crate::run::{NodeId, Run};

/// Items of one event: together no larger than this, so that it fits into a journal message.
const ITEMS_BYTES: usize = 4 * MAX_INLINE_PAYLOAD;

/// Looks at a step that has not started.
pub(super) fn pending(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    if run.state.paused || run.to_keep() > 0 {
        return Ok(Vec::new());
    }
    if let Some((fan, index)) = run.node(id).item_of {
        let progress = run.node(fan).phase.progress();
        let admitted = progress.is_some_and(|progress| index < progress.admitted);
        return if admitted { or_fail(run, id, start(run, id, desk)) } else { Ok(Vec::new()) };
    }
    if run.is_held(run.node(id).scope) {
        return Ok(Vec::new());
    }
    match readiness(run, id) {
        Readiness::Wait => Ok(Vec::new()),
        Readiness::Skip(reason) => Ok(vec![skip(run, id, reason)]),
        Readiness::Ready => or_fail(run, id, ready(run, id, desk)),
    }
}

fn skip(run: &Run, id: NodeId, reason: SkipReason) -> Event {
    Event::StepSkipped { step: run.path(id), reason }
}

fn ready(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    let step = run.definition(id);
    if let Some(condition) = step.condition()
        && !holds(run, id, condition, desk)?
    {
        return Ok(vec![skip(run, id, SkipReason::Condition)]);
    }
    if step.for_each().is_some() { expand(run, id, desk) } else { start(run, id, desk) }
}

fn holds(run: &Run, id: NodeId, condition: &Condition, desk: &Desk<'_>) -> Result<bool, Obstacle> {
    let reads = condition.expression().reads();
    evaluate(run, Reader::Around(id), reads, desk, |scope| condition.holds(scope))
}

/// Evaluates a `for_each`, or the rest of one whose first items are known already.
pub(super) fn expand(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    let Some(fan) = run.definition(id).for_each() else { return Ok(Vec::new()) };
    let (items, reader) = (&fan.items, Reader::Around(id));
    let value = evaluate(run, reader, items.reads(), desk, |scope| items.evaluate(scope))?;
    let serde_json::Value::Array(values) = value else {
        let message =
            format!("`for_each` wants an array, `{}` gave {}", items.text(), kind(&value));
        return Err(Failure::new(FailureKind::Expression, "for_each", message).fatal().into());
    };
    check_growth(run, id, values.len(), Growth::Items)?;
    let progress = run.node(id).phase.progress();
    let known = progress.map_or(0, |progress| progress.known as usize);
    let total = u32::try_from(values.len()).expect("steps are bounded");
    let mut events = Vec::new();
    let mut part = StepExpanded { step: run.path(id), items: Vec::new(), offset: 0, total };
    part.offset = u32::try_from(known).expect("steps are bounded");
    let (mut bytes, mut all) = (0, 0);
    for value in values.iter().skip(known) {
        let item = desk.encode(value)?;
        all += item.size();
        if all > MAX_ITEMS_BYTES as u64 {
            return Err(too_large().into());
        }
        let size = item.text().map_or(128, str::len) + 16;
        bytes += size;
        if bytes > ITEMS_BYTES && !part.items.is_empty() {
            let offset = part.offset + u32::try_from(part.items.len()).expect("steps are bounded");
            let next = StepExpanded { step: run.path(id), items: Vec::new(), offset, total };
            events.push(Event::StepExpanded(std::mem::replace(&mut part, next)));
            bytes = size;
        }
        part.items.push(item);
    }
    events.push(Event::StepExpanded(part));
    Ok(events)
}

fn too_large() -> Failure {
    let message =
        format!("the items of the `for_each` have more than {MAX_ITEMS_BYTES} bytes together");
    Failure::new(FailureKind::Limit, "items_size", message).fatal()
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "an array",
        serde_json::Value::Object(_) => "an object",
    }
}

/// What makes a run grow.
enum Growth {
    Items,
    Group,
}

fn check_growth(run: &Run, id: NodeId, wanted: usize, growth: Growth) -> Result<(), Obstacle> {
    let more = run.growth(id, wanted, matches!(growth, Growth::Items));
    let steps = run.state.nodes.len().saturating_add(more);
    if steps <= MAX_STEPS_PER_RUN {
        return Ok(());
    }
    let message = format!("the run would have {steps} steps, {MAX_STEPS_PER_RUN} is the limit");
    Err(Failure::new(FailureKind::Limit, "too_many_steps", message).fatal().into())
}

/// Starts a step, or one item of a `for_each`.
fn start(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    let step = run.definition(id);
    let not_before = run.not_before(id).max(desk.now);
    match step.kind() {
        StepKind::Agent { with, .. } => {
            let input = Some(render(run, Reader::Step(id), with, desk)?);
            let attempt = run.node(id).attempt + 1;
            let step = run.path(id);
            let event = AttemptScheduled { step, attempt, not_before, input, fallback: false };
            Ok(vec![Event::AttemptScheduled(event)])
        }
        StepKind::Workflow { with, .. } => {
            let inputs = render(run, Reader::Step(id), with, desk)?;
            child(run, id, inputs, not_before)
        }
        StepKind::Wait(wait) => {
            let until = Some(wait_until(run, id, wait, (not_before, desk))?);
            let (step, waiting_for) = (run.path(id), WaitingFor::Time);
            Ok(vec![Event::WaitStarted(WaitStarted { step, waiting_for, until })])
        }
        StepKind::Signal { name, timeout, .. } => {
            let until = timeout.map(|timeout| not_before.after(timeout));
            let (step, waiting_for) = (run.path(id), WaitingFor::Signal(name.to_string()));
            Ok(vec![Event::WaitStarted(WaitStarted { step, waiting_for, until })])
        }
        StepKind::Group => {
            check_growth(run, id, step.children().len(), Growth::Group)?;
            Ok(vec![Event::GroupStarted { step: run.path(id) }])
        }
    }
}

fn child(run: &Run, id: NodeId, inputs: Payload, not_before: Timestamp) -> Followed {
    if run.state.started.depth() + 1 >= MAX_RUN_DEPTH {
        let message = format!("sub-workflows are nested more than {MAX_RUN_DEPTH} deep");
        return Err(Failure::new(FailureKind::Limit, "run_depth", message).fatal().into());
    }
    let reference = Plan::reference(run.definition(id)).unwrap_or_default();
    let Some(digest) = run.state.started.pinned.get(&reference).copied() else {
        let message = format!("the sub-workflow `{reference}` was not pinned when the run started");
        return Err(Failure::new(FailureKind::Inner, "not_pinned", message).fatal().into());
    };
    let (step, attempt) = (run.path(id), run.node(id).attempt + 1);
    let child = RunId::child(run.id(), &step, attempt);
    let started = ChildStarted { step, attempt, not_before, child, digest, inputs };
    Ok(vec![Event::ChildStarted(Box::new(started))])
}

fn wait_until(
    run: &Run,
    id: NodeId,
    wait: &WaitFor,
    (not_before, desk): (Timestamp, &Desk<'_>),
) -> Result<Timestamp, Obstacle> {
    let template = match wait {
        WaitFor::Duration(duration) => return Ok(not_before.after(*duration)),
        WaitFor::Until(template) => template,
    };
    let reads = template.reads();
    let value = evaluate(run, Reader::Step(id), reads, desk, |scope| template.render(scope))?;
    let moment = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let Some(moment) = moment else {
        let message = format!("`wait.until` wants a time like 2026-01-31T09:00:00Z, got {value}");
        return Err(Failure::new(FailureKind::Expression, "wait_until", message).fatal().into());
    };
    // Rounded up: a wait is never over early. What lies before the epoch is over at once.
    let millis = moment.as_nanosecond().max(0).unsigned_abs().div_ceil(1_000_000);
    Ok(Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// Looks at a step whose last attempt came to nothing.
pub(super) fn again(run: &Run, id: NodeId, setback: Setback, desk: &Desk<'_>) -> Followed {
    let (node, now) = (run.node(id), desk.now);
    let (entropy, policy) = (run.entropy(id, node.attempt), run.work(id).retry);
    let first = node.first_began(run.state.paused_at, now);
    let not_before = match setback_failure(run, id, setback) {
        Some(failure) => {
            let made = (node.tries, first.unwrap_or(now));
            match retry::after_failure(policy, failure, made, (now, entropy)) {
                Some(at) => at,
                None => return used_up(run, id, failure, desk),
            }
        }
        None => match retry::after_loss(policy, (node.losses, first), (now, entropy)) {
            Ok(at) => at,
            Err(failure) => return used_up(run, id, &failure, desk),
        },
    };
    if run.work(id).capability.is_none() {
        // A task is withheld while the run is paused; a child would start at once.
        if run.state.paused {
            return Ok(Vec::new());
        }
        let inputs = node.input.clone().unwrap_or_else(Payload::null);
        return or_fail(run, id, child(run, id, inputs, not_before));
    }
    let (step, attempt) = (run.path(id), node.attempt + 1);
    Ok(vec![Event::AttemptScheduled(AttemptScheduled {
        step,
        attempt,
        not_before,
        input: None,
        fallback: false,
    })])
}

/// The attempts of a step are used up: it is the turn of its fallback, if it has one that had none.
fn used_up(run: &Run, id: NodeId, failure: &Failure, desk: &Desk<'_>) -> Followed {
    let node = run.node(id);
    let fallback = run.definition(id).fallback();
    let fallback = fallback.filter(|_| !node.fallback && node.compensates.is_none());
    let Some(fallback) = fallback else { return Ok(failed(run, id, failure.clone())) };
    let scheduled = render(run, Reader::Fallback(id), &fallback.with, desk).map(|input| {
        let (step, attempt, not_before) = (run.path(id), node.attempt + 1, desk.now);
        let input = Some(input);
        let event = AttemptScheduled { step, attempt, not_before, input, fallback: true };
        vec![Event::AttemptScheduled(event)]
    });
    or_fail(run, id, scheduled)
}

/// Looks whether a signal is there for a step that waits for one, the oldest first.
pub(super) fn take_signal(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    let StepKind::Signal { name, condition, .. } = run.definition(id).kind() else {
        return Ok(Vec::new());
    };
    for signal in run.state.signals.early.iter().filter(|signal| *name == *signal.name) {
        let taken = match condition {
            None => true,
            Some(condition) => {
                let seen = (condition.expression().reads(), &signal.payload);
                let holds =
                    evaluate_with_signal(run, id, seen, desk, |scope| condition.holds(scope));
                match holds {
                    Ok(holds) => holds,
                    Err(Obstacle::Missing) => return Err(Obstacle::Missing),
                    // Anybody can send a signal: one that the condition cannot be asked of does
                    // not count, and harms nobody.
                    Err(Obstacle::Failure(_)) => false,
                }
            }
        };
        if taken {
            let (output, signal) = (Some(signal.payload.clone()), Some(signal.id.clone()));
            return Ok(vec![Event::StepCompleted { step: run.path(id), output, signal }]);
        }
    }
    Ok(Vec::new())
}

/// Returns what a policy makes of the failure of what is inside a group.
pub(super) fn restart_of(
    run: &Run,
    id: NodeId,
    (failure, round): (&Failure, u32),
    desk: &Desk<'_>,
) -> Option<Timestamp> {
    let (node, now) = (run.node(id), desk.now);
    // A snapshot of old does not say when the first round began.
    let first =
        node.first_began(run.state.paused_at, now).or_else(|| node.began.get()).unwrap_or(now);
    let chance = (now, run.entropy(id, round));
    retry::after_failure(run.definition(id).retry(), failure, (round, first), chance)
}
