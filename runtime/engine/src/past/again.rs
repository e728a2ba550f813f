//! Which steps run again.

use skep_protocol::{RunStatus, StepPath};

use super::{Again, CannotRetry, in_use, inside, was_made_good};
use crate::run::step::Phase;
use crate::run::{NodeId, Run, ScopeId};

/// What becomes of the steps of a run that is done over.
pub(super) struct Choice<'a> {
    run: &'a Run,
    /// The steps that are in no group, each after all that it needs.
    order: Vec<NodeId>,
    /// By node: it runs again.
    again: Vec<bool>,
    /// The step that was asked for, and the item of it.
    from: Option<(NodeId, Option<NodeId>)>,
    only: bool,
    inputs_change: bool,
}

impl<'a> Choice<'a> {
    pub(super) fn new(
        run: &'a Run,
        status: RunStatus,
        wanted: &Again,
    ) -> Result<Self, CannotRetry> {
        let mut order: Vec<NodeId> = run.scope(ScopeId::ROOT).nodes().collect();
        order.sort_by_key(|id| run.definition(*id).rank());
        let (only, inputs_change) = (wanted.only, wanted.inputs_change);
        let again = vec![false; run.all_nodes().count()];
        let mut choice = Self { run, order, again, from: None, only, inputs_change };
        choice.choose();
        let Some(path) = &wanted.from else {
            let any = choice.order.iter().any(|id| choice.is_again(*id));
            return if any { Ok(choice) } else { Err(nothing(run, status)) };
        };
        let without = choice.again.clone();
        choice.from = Some(find(run, path)?);
        choice.choose();
        choice.keeps_pivots(&without)?;
        Ok(choice)
    }

    /// Returns the steps that are in no group, each after all that it needs.
    pub(super) fn in_order(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.order.clone().into_iter()
    }

    pub(super) fn is_again(&self, id: NodeId) -> bool {
        self.again[id.as_usize()]
    }

    /// Returns whether what a step is given is what it was given before.
    pub(super) fn is_same(&self, id: NodeId) -> bool {
        let needs = self.run.definition(id).needs().iter();
        let mut needs = needs.filter_map(|need| self.run.in_scope(ScopeId::ROOT, *need));
        !self.inputs_change && !needs.any(|need| self.is_again(need))
    }

    /// Returns whether a `for_each` that runs again goes on with the items that it had.
    pub(super) fn goes_on(&self, id: NodeId) -> bool {
        let run = self.run;
        let whole = self.from.is_some_and(|(from, item)| from == id && item.is_none());
        let items = run.items_of(id);
        let known = run.is_fan(id) && items.iter().all(|item| run.is_over(*item));
        known && !whole && self.is_same(id) && items.iter().any(|item| self.is_item_kept(*item))
    }

    /// Returns whether an item of a `for_each` that goes on is as it was.
    pub(super) fn is_item_kept(&self, item: NodeId) -> bool {
        let asked = self.from.is_some_and(|(_, asked)| asked == Some(item));
        !asked && self.is_done(item)
    }

    /// Returns whether a step completed, and was not made good since.
    fn is_done(&self, id: NodeId) -> bool {
        self.run.node(id).phase == Phase::Completed && !was_made_good(self.run, id)
    }

    fn choose(&mut self) {
        for id in self.order.clone() {
            let asked = self.from.is_some_and(|(from, _)| from == id);
            let again = asked || !self.is_done(id) || self.is_dragged(id);
            self.again[id.as_usize()] = again;
        }
    }

    /// Returns whether a step that completed runs again because of what it needs.
    fn is_dragged(&self, id: NodeId) -> bool {
        let (run, step) = (self.run, self.run.definition(id));
        // Whether it ran depended on how the others ended.
        let asks = run.plan.cleans_up(run.step_index(id)) && !has_passed_pivot(run, id);
        let needs = step.needs().iter().filter_map(|need| run.in_scope(ScopeId::ROOT, *need));
        needs.filter(|need| self.is_again(*need)).any(|need| {
            match self.from.is_some_and(|(from, _)| from == need) {
                true => !self.only,
                // What it was given has another value this time.
                false => asks || run.node(need).phase == Phase::Completed,
            }
        })
    }

    /// Refuses to run again what there is no way back from, unless it has to.
    fn keeps_pivots(&self, without: &[bool]) -> Result<(), CannotRetry> {
        let more = |id: &&NodeId| self.is_again(**id) && !without[id.as_usize()];
        let passed = self.order.iter().filter(more);
        let Some(pivot) = passed.copied().find(|id| has_passed_pivot(self.run, *id)) else {
            return Ok(());
        };
        let (run, pivot) = (self.run.id(), self.run.path(pivot));
        Err(CannotRetry {
            cause: format!(
                "step `{pivot}` is or holds a pivot that was passed, and would run again"
            ),
            help: format!("retry from a step behind it, or without --from: skep retry {run}"),
        })
    }
}

/// Returns whether a step that completed, or something inside it that did, is a pivot.
fn has_passed_pivot(run: &Run, id: NodeId) -> bool {
    let passed = run.definition(id).is_pivot() && run.node(id).phase == Phase::Completed;
    passed || inside(run, id).into_iter().any(|inner| has_passed_pivot(run, inner))
}

fn nothing(run: &Run, status: RunStatus) -> CannotRetry {
    CannotRetry {
        cause: format!("it is {status}, and every step of it completed"),
        help: format!("name a step that shall run again: skep retry {} --from STEP", run.id()),
    }
}

/// Finds the step that a retry begins with, and the item.
fn find(run: &Run, path: &StepPath) -> Result<(NodeId, Option<NodeId>), CannotRetry> {
    let refused = |cause: String, help: String| Err(CannotRetry { cause, help });
    if let Some((outer, _)) = path.as_str().split_once('/') {
        return refused(
            format!("step `{path}` is inside the group `{outer}`, which runs as a unit"),
            format!("retry from the group: --from '{outer}'"),
        );
    }
    let workflow = run.plan.workflow();
    let fan = path.as_item().map_or_else(|| path.clone(), |(fan, _)| fan);
    let step = workflow.find(fan.as_str());
    let Some(id) = step.and_then(|step| run.in_scope(ScopeId::ROOT, step)) else {
        let names = workflow.roots().iter().map(|step| workflow.step(*step).id().as_str());
        let names: Vec<&str> = names.take(20).collect();
        return refused(
            format!("it has no step `{path}`"),
            format!("its steps are {}", names.join(", ")),
        );
    };
    if fan == *path {
        return Ok((id, None));
    }
    match run.find(path).filter(|item| in_use(run, id).contains(item)) {
        Some(item) => Ok((id, Some(item))),
        None => refused(
            format!("step `{fan}` has no item `{path}`"),
            format!("retry from the step with all of its items: --from '{fan}'"),
        ),
    }
}
