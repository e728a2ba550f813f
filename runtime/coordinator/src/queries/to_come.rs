//! Steps that did not come into being, since what is around them did not begin.

use std::collections::BTreeMap;

use skep_protocol::{RunDetail, StepPath, StepStatus, StepView};
use skep_workflow::{StepIndex, Workflow};

use super::arrange::pending;

/// Adds those of the steps asked for that are to come: what an item has inside that may not begin
/// yet, and the items of a step that did not begin, however many there will be.
pub(super) fn add(detail: &mut RunDetail, workflow: &Workflow, asked: &[StepPath]) {
    let views: BTreeMap<&StepPath, &StepView> =
        detail.steps.iter().map(|view| (&view.step, view)).collect();
    let is_to_come = |step: &&StepPath| {
        !views.contains_key(step) && is_defined(workflow, step) && may_come(&views, step)
    };
    let to_come: Vec<StepView> =
        asked.iter().filter(is_to_come).map(|step| pending(step.clone())).collect();
    detail.steps.extend(to_come);
}

/// Returns whether the definition has a step at a path, and items where the path has one.
fn is_defined(workflow: &Workflow, path: &StepPath) -> bool {
    let mut steps: &[StepIndex] = workflow.roots();
    for segment in path.as_str().split('/') {
        let segment = StepPath::new(segment);
        let item = segment.as_item();
        let name = item.as_ref().map_or(&segment, |(step, _)| step);
        let is_it = |step: &&StepIndex| workflow.step(**step).id().as_str() == name.as_str();
        let Some(step) = steps.iter().find(is_it).map(|step| workflow.step(*step)) else {
            return false;
        };
        if item.is_some() && step.for_each().is_none() {
            return false;
        }
        steps = step.children();
    }
    true
}

/// Returns whether what is around a step leaves room for it: it did not begin, or it is a
/// `for_each` with so many items.
fn may_come(views: &BTreeMap<&StepPath, &StepView>, step: &StepPath) -> bool {
    let Some(around) = step.around() else { return false };
    let Some(view) = views.get(&around) else { return may_come(views, &around) };
    let index = step.as_item().map(|(_, index)| index);
    view.status == StepStatus::Pending
        || (!view.status.is_final() && index.is_some() && index < view.items)
}
