//! Why steps did not run, as far as only their definition knows: the text of an `if`, and whose
//! failure stops what is around.

use std::collections::BTreeMap;

use skep_protocol::{
    CancelReason, FailureKind, RunDetail, SkipReason, StepPath, StepStatus, StepView, Timestamp,
};
use skep_workflow::{Step, StepOnFailure, Workflow};

use super::letters::definition;

/// So much of an `if` is told, in characters.
const CONDITION: usize = 200;

/// Adds to the steps of a run why they did not run.
pub(super) fn tell(detail: &mut RunDetail, workflow: &Workflow) {
    let culprits = Culprits::of(&detail.steps, workflow);
    for view in &mut detail.steps {
        if view.skipped == Some(SkipReason::Condition) {
            view.condition = condition(workflow, view);
        }
        if is_stopped(view) {
            view.stopped_by = culprits.of_step(view);
        }
    }
}

/// Returns the beginning of the `if` of a step.
fn condition(workflow: &Workflow, view: &StepView) -> Option<String> {
    let condition = definition(workflow, view.step.as_str())?.condition()?;
    Some(condition.expression().text().chars().take(CONDITION).collect())
}

/// Returns whether a step ended because what is around it stopped.
fn is_stopped(view: &StepView) -> bool {
    let stopping = Some(CancelReason::Stopping);
    view.skipped == Some(SkipReason::Stopping) || view.cancelled == stopping
}

/// The failures that stopped others.
struct Culprits {
    /// By what is around them: the first of each group, or of the run; of a `for_each` the first
    /// one too many.
    first: BTreeMap<Option<StepPath>, (Option<Timestamp>, StepPath)>,
    /// The groups whose time was up.
    late: Vec<StepPath>,
}

impl Culprits {
    fn of(steps: &[StepView], workflow: &Workflow) -> Self {
        let (mut failed, mut late) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for view in steps.iter().filter(|view| view.status == StepStatus::Failed) {
            let Some(step) = definition(workflow, view.step.as_str()) else { continue };
            let is_item = view.step.as_item().is_some();
            if is_item || step.on_failure() == StepOnFailure::Fail {
                failed.entry(view.step.around()).or_default().push((view.ended, view.step.clone()));
            }
            if view.error.as_ref().is_some_and(|error| error.kind == FailureKind::Deadline) {
                late.push(view.step.clone());
            }
        }
        let fans = steps.iter().filter_map(|view| Some((&view.step, view.items?)));
        let fans: BTreeMap<&StepPath, u32> = fans.collect();
        let mut first = BTreeMap::new();
        for (around, mut failed) in failed {
            // Those of the same moment stay in the order of the definition.
            failed.sort_by_key(|(ended, _)| *ended);
            let fan = around.as_ref().and_then(|around| fans.get_key_value(around));
            let borne = fan.map_or(0, |fan| borne(workflow, fan, failed.len()));
            first.extend(failed.into_iter().nth(borne).map(|culprit| (around, culprit)));
        }
        Self { first, late }
    }

    /// Returns the step whose failure stopped another one: the first of those beside it, and beside
    /// what is around it; or a group around it whose time was up.
    fn of_step(&self, view: &StepView) -> Option<StepPath> {
        let (mut at, mut found) = (view.step.clone(), None);
        let mut late = None;
        loop {
            let around = at.around();
            let culprit = self.first.get(&around).filter(|(ended, step)| {
                *step != at && (ended.is_none() || view.ended.is_none() || *ended <= view.ended)
            });
            found = [found, culprit].into_iter().flatten().min_by_key(|(ended, _)| *ended);
            let Some(around) = around else { break };
            late = late.or_else(|| self.late.contains(&around).then(|| around.clone()));
            at = around;
        }
        found.map(|(_, step)| step.clone()).or(late)
    }
}

/// Returns how many of the items that failed a `for_each` bore.
fn borne(workflow: &Workflow, (step, items): (&&StepPath, &u32), failed: usize) -> usize {
    let definition = definition(workflow, step.as_str());
    let Some(fan) = definition.and_then(Step::for_each) else { return 0 };
    let is_borne = |count: &usize| fan.tolerate.allows(*count as u64, u64::from(*items));
    (1..=failed).take_while(is_borne).count()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use skep_protocol::Failure;
    use skep_protocol::StepStatus::{Cancelled, Completed, Failed, Skipped};

    use super::super::arrange::pending;
    use super::super::arrange::tests::detail;
    use super::*;

    const NESTED: &str = "
name: w
steps:
  maybe: { agent: a, if: 'inputs.x > 3' }
  careless: { agent: a, on_failure: continue }
  pay: { agent: a }
  last: { agent: a, needs: [pay] }
  group:
    steps:
      one: { agent: a }
      two: { agent: a, needs: [one] }
      each:
        for_each: '${{ range(4) }}'
        tolerate: 1
        agent: a
inputs:
  x: { type: integer }
";

    /// Tells of steps: in which state they are, and when they ended.
    fn check(known: &[(&str, StepStatus, u64)], deadline: Option<&str>, expected: &Expect) {
        let workflow = skep_workflow::read(NESTED.as_bytes(), "w").expect("it is well-formed");
        let view = |(path, status, ended): &(&str, StepStatus, u64)| {
            let step = StepPath::new(path);
            let kind = match deadline == Some(*path) {
                true => FailureKind::Deadline,
                false => FailureKind::Agent,
            };
            let failure = Failure::new(kind, "code", "why");
            StepView {
                status: *status,
                ended: Some(Timestamp::from_millis(*ended)),
                items: path.ends_with("each").then_some(4),
                skipped: (*status == Skipped).then(|| match *path {
                    "maybe" => SkipReason::Condition,
                    _ => SkipReason::Stopping,
                }),
                cancelled: (*status == Cancelled).then_some(CancelReason::Stopping),
                error: (*status == Failed).then_some(failure),
                ..pending(step)
            }
        };
        let mut detail = detail(known.iter().map(view).collect());
        tell(&mut detail, &workflow);
        let line = |view: &StepView| {
            let why = view.stopped_by.as_ref().map(StepPath::as_str);
            format!("{} {}: {:?}\n", view.step, view.status, why.or(view.condition.as_deref()))
        };
        expected.assert_eq(&detail.steps.iter().map(line).collect::<String>());
    }

    #[test]
    fn an_if_is_told_by_its_text() {
        check(
            &[("maybe", Skipped, 1)],
            None,
            &expect![[r#"
            maybe skipped: Some("inputs.x > 3")
        "#]],
        );
    }

    #[test]
    fn whoever_failed_first_stopped_the_others_near_and_far() {
        check(
            &[
                ("careless", Failed, 1),
                ("pay", Failed, 2),
                ("last", Skipped, 2),
                ("group", Cancelled, 9),
                ("group/one", Failed, 8),
                ("group/two", Skipped, 2),
                ("group/each", Cancelled, 9),
                ("group/each[0]", Failed, 3),
                ("group/each[1]", Cancelled, 5),
            ],
            None,
            &expect![[r#"
                careless failed: None
                pay failed: None
                last skipped: Some("pay")
                group cancelled: Some("pay")
                group/one failed: None
                group/two skipped: Some("pay")
                group/each cancelled: Some("pay")
                group/each[0] failed: None
                group/each[1] cancelled: Some("pay")
            "#]],
        );
        // Before anything stopped the run, the group had stopped by itself.
        check(
            &[
                ("pay", Cancelled, 7),
                ("group", Failed, 6),
                ("group/one", Failed, 4),
                ("group/two", Skipped, 4),
                ("group/each[1]", Cancelled, 5),
            ],
            None,
            &expect![[r#"
                pay cancelled: Some("group")
                group failed: None
                group/one failed: None
                group/two skipped: Some("group/one")
                group/each[1] cancelled: Some("group/one")
            "#]],
        );
    }

    #[test]
    fn the_first_item_too_many_stops_the_rest() {
        check(
            &[
                ("group", Failed, 9),
                ("group/one", Completed, 1),
                ("group/each", Failed, 8),
                ("group/each[0]", Failed, 3),
                ("group/each[1]", Failed, 2),
                ("group/each[2]", Cancelled, 5),
                ("group/each[3]", Skipped, 3),
            ],
            None,
            &expect![[r#"
                group failed: None
                group/one completed: None
                group/each failed: None
                group/each[0] failed: None
                group/each[1] failed: None
                group/each[2] cancelled: Some("group/each[0]")
                group/each[3] skipped: Some("group/each[0]")
            "#]],
        );
    }

    #[test]
    fn a_group_whose_time_was_up_stops_what_is_inside() {
        check(
            &[("group", Failed, 9), ("group/one", Skipped, 3), ("pay", Skipped, 1)],
            Some("group"),
            &expect![[r#"
                group failed: None
                group/one skipped: Some("group")
                pay skipped: None
            "#]],
        );
    }
}
