//! Workflows that start themselves, always and without end.

use super::edges::Edges;
use super::survey::{Survey, Surveyed};
use crate::diagnostic::{Problems, codes};
use crate::name::Name;
use crate::workflow::StepIndex;

/// Reports a step that starts the same workflow again, if nothing can keep it from that: no
/// condition, no fan-out that may be empty, no need that may be skipped.
pub(super) fn check(name: Option<&Name>, survey: &Survey, edges: &Edges, problems: &mut Problems) {
    let Some(name) = name else { return };
    let calls = |step: &Surveyed| {
        step.definition.workflow.as_ref().is_some_and(|called| *name == *called.value.name)
    };
    if !survey.steps.iter().any(calls) {
        return;
    }
    let skippable = skippable(survey, edges);
    for (index, step) in survey.steps.iter().enumerate().filter(|(_, step)| calls(step)) {
        let mut around = Some(StepIndex(index as u32));
        let mut ends = false;
        while let Some(at) = around {
            let fans_out = survey.step(at).definition.keys.span("for_each").is_some();
            ends |= fans_out || skippable[at.as_usize()];
            around = survey.step(at).parent;
        }
        if !ends {
            let message =
                format!("step `{}` starts this workflow again, without end", step.key.text);
            problems
                .error(codes::SELF_WORKFLOW, step.key.span, message)
                .help("give it an `if` that ends the recursion");
        }
    }
}

/// Tells of each step whether it may be skipped: by its own `if`, because a signal does not come,
/// or because it needs such a step.
fn skippable(survey: &Survey, edges: &Edges) -> Vec<bool> {
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); survey.steps.len()];
    for (index, needs) in edges.iter().enumerate() {
        for need in needs.keys() {
            dependents[need.as_usize()].push(index);
        }
    }
    let mut skippable: Vec<bool> = survey
        .steps
        .iter()
        .map(|step| ["if", "wait_for"].iter().any(|key| step.definition.keys.span(key).is_some()))
        .collect();
    let mut open: Vec<usize> = (0..skippable.len()).filter(|at| skippable[*at]).collect();
    while let Some(at) = open.pop() {
        for dependent in &dependents[at] {
            if !std::mem::replace(&mut skippable[*dependent], true) {
                open.push(*dependent);
            }
        }
    }
    skippable
}
