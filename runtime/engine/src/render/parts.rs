//! What came out of steps, put together from what is inside them.

use serde_json::Value;
use skep_protocol::Payload;
use skep_workflow::StepPart;

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
        None => part_of(run, id, StepPart::Output, desk),
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
    part: StepPart,
    desk: &Desk<'_>,
) -> Result<Option<Part>, Obstacle> {
    let node = run.node(id);
    let asked = match part {
        StepPart::Output => !run.is_fan(id),
        StepPart::Outputs => run.is_fan(id),
        StepPart::Status => false,
    };
    if !asked || node.phase != Phase::Completed || node.released {
        return Ok(None);
    }
    if part == StepPart::Output && group_scope(run, id).is_none() {
        let output = node.output.clone().unwrap_or_else(Payload::null);
        return Ok(Some(Part::Stored(output)));
    }
    let mut text = String::new();
    write_output(run, id, desk, &mut text)?;
    Ok(Some(Part::Made(text)))
}

fn group_scope(run: &Run, id: NodeId) -> Option<ScopeId> {
    run.node(id).inner.as_ref()?.scope
}

fn write_output(run: &Run, id: NodeId, desk: &Desk<'_>, text: &mut String) -> Result<(), Obstacle> {
    let node = run.node(id);
    if node.phase != Phase::Completed {
        text.push_str("null");
    } else if run.is_fan(id) {
        text.push('[');
        for (index, item) in run.items_of(id).iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            write_output(run, *item, desk, text)?;
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
            write_output(run, inner, desk, text)?;
        }
        text.push('}');
    } else {
        match &node.output {
            Some(payload) => text.push_str(desk.text(payload)?),
            None => text.push_str("null"),
        }
    }
    Ok(())
}
