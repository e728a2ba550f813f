//! What came out of steps, put together from what is inside them.

use serde_json::Value;
use skep_protocol::Payload;
use skep_workflow::StepPart;

use super::Sees;
use crate::desk::{Desk, Obstacle};
use crate::run::step::{Phase, Setback};
use crate::run::{NodeId, Run, ScopeId};

/// A value that may be passed on without a look into it.
pub(super) enum Part {
    /// It is there.
    Stored(Payload),
    /// It was put together from what is inside a step.
    Made(String),
}

/// Returns what came out of a step that is made good.
pub(super) fn own_output(run: &Run, id: NodeId, desk: &Desk<'_>) -> Result<Option<Part>, Obstacle> {
    let deed = run.node(id).deed.as_ref();
    match deed.and_then(|deed| deed.output.clone()) {
        Some(output) => Ok(Some(Part::Stored(output))),
        None => part_of(run, id, (StepPart::Output, Sees::Last), desk),
    }
}

pub(super) fn own_error(run: &Run, id: NodeId) -> Option<Value> {
    let node = run.node(id);
    let lost = node.phase == Phase::Retrying(Setback::Lost);
    let lost = lost.then(|| crate::retry::lost(node.losses));
    let last = node.failure.as_deref().filter(|_| node.phase != Phase::Completed);
    let failure = lost.as_ref().or(last)?;
    Some(serde_json::json!({ "code": failure.code, "message": failure.message }))
}

pub(super) fn part_of(
    run: &Run,
    id: NodeId,
    (part, sees): (StepPart, Sees),
    desk: &Desk<'_>,
) -> Result<Option<Part>, Obstacle> {
    let asked = match part {
        StepPart::Output => !run.is_fan(id),
        StepPart::Outputs => run.is_fan(id),
        StepPart::Status => false,
    };
    let completed = completed(run, id, sees).filter(|_| asked && !run.node(id).released);
    let Some(completed) = completed else { return Ok(None) };
    if part == StepPart::Output && group_scope(run, id).is_none() {
        let output = completed.output.cloned().unwrap_or_else(Payload::null);
        return Ok(Some(Part::Stored(output)));
    }
    let mut text = String::new();
    write_output(run, (id, sees), desk, &mut text)?;
    Ok(Some(Part::Made(text)))
}

/// A step as it completed.
struct Completed<'a> {
    output: Option<&'a Payload>,
    items: usize,
}

/// Returns how a step completed, as far as that is seen.
fn completed(run: &Run, id: NodeId, sees: Sees) -> Option<Completed<'_>> {
    let node = run.node(id);
    if node.phase == Phase::Completed {
        return Some(Completed { output: node.output.as_ref(), items: run.items_of(id).len() });
    }
    let before = node.before.as_deref().filter(|_| sees == Sees::Last)?;
    Some(Completed { output: before.output.as_ref(), items: before.items })
}

fn group_scope(run: &Run, id: NodeId) -> Option<ScopeId> {
    run.node(id).inner.as_ref()?.scope
}

fn write_output(
    run: &Run,
    (id, sees): (NodeId, Sees),
    desk: &Desk<'_>,
    text: &mut String,
) -> Result<(), Obstacle> {
    let Some(completed) = completed(run, id, sees) else {
        text.push_str("null");
        return Ok(());
    };
    if run.is_fan(id) {
        text.push('[');
        for (index, item) in run.all_items_of(id).iter().take(completed.items).enumerate() {
            if index > 0 {
                text.push(',');
            }
            write_output(run, (*item, sees), desk, text)?;
        }
        text.push(']');
    } else if let Some(scope) = group_scope(run, id) {
        text.push('{');
        for (index, inner) in run.scope(scope).nodes().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push('"');
            text.push_str(run.definition(inner).id().as_str());
            text.push_str("\":");
            write_output(run, (inner, sees), desk, text)?;
        }
        text.push('}');
    } else {
        match completed.output {
            Some(payload) => text.push_str(desk.text(payload)?),
            None => text.push_str("null"),
        }
    }
    Ok(())
}
