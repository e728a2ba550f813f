//! The steps of a run as its definition has them.

use std::collections::BTreeMap;

use skep_protocol::{RunDetail, StepPath, StepStatus, StepView};
use skep_workflow::{StepIndex, Workflow};

/// Puts the steps into the order of the definition, what is inside a step right after it, and adds
/// those to come: of a run that is not over, where what they are inside of is not.
pub(super) fn arrange(detail: &mut RunDetail, workflow: &Workflow) {
    let mut arrange = Arrange { workflow, known: BTreeMap::new(), items: BTreeMap::new() };
    for (at, view) in std::mem::take(&mut detail.steps).into_iter().enumerate() {
        if let Some((step, item)) = item(&view.step) {
            arrange.items.entry(step).or_default().push((item, view.step.clone()));
        }
        arrange.known.insert(view.step.clone(), (at, view));
    }
    arrange.items.values_mut().for_each(|items| items.sort_unstable());
    let more = if detail.summary.status.is_final() { More::Never } else { More::ToCome };
    for &step in workflow.roots() {
        let path = StepPath::new(workflow.step(step).id());
        arrange.step(&mut detail.steps, path, step, more);
    }
    // What the definition does not have is told after it, in its own order.
    let mut rest: Vec<(usize, StepView)> = arrange.known.into_values().collect();
    rest.sort_by_key(|(at, _)| *at);
    detail.steps.extend(rest.into_iter().map(|(_, view)| view));
}

/// Takes the path of an item apart: `g/each[3]` → `g/each`, 3.
fn item(path: &StepPath) -> Option<(StepPath, u32)> {
    let (step, number) = path.as_str().strip_suffix(']')?.rsplit_once('[')?;
    Some((StepPath::new(step), number.parse().ok()?))
}

/// Whether steps that did not come into being will.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    ToCome,
    Never,
}

struct Arrange<'a> {
    workflow: &'a Workflow,
    /// What came into being and has no place yet.
    known: BTreeMap<StepPath, (usize, StepView)>,
    /// The items of each `for_each`, in order.
    items: BTreeMap<StepPath, Vec<(u32, StepPath)>>,
}

impl Arrange<'_> {
    fn step(&mut self, to: &mut Vec<StepView>, path: StepPath, step: StepIndex, more: More) {
        let view = match (self.known.remove(&path), more) {
            (Some((_, view)), _) => view,
            (None, More::ToCome) => pending(path.clone()),
            (None, More::Never) => return,
        };
        let more = if view.status.is_final() { More::Never } else { more };
        to.push(view);
        let definition = self.workflow.step(step);
        if definition.for_each().is_none() {
            return self.inside(to, &path, step, more);
        }
        for (_, item) in self.items.remove(&path).unwrap_or_default() {
            let Some((_, view)) = self.known.remove(&item) else { continue };
            let more = if view.status.is_final() { More::Never } else { more };
            to.push(view);
            self.inside(to, &item, step, more);
        }
    }

    fn inside(&mut self, to: &mut Vec<StepView>, path: &StepPath, step: StepIndex, more: More) {
        let workflow = self.workflow;
        for &inner in workflow.step(step).children() {
            let path = path.inner(workflow.step(inner).id());
            self.step(to, path, inner, more);
        }
    }
}

pub(super) fn pending(step: StepPath) -> StepView {
    StepView {
        step,
        status: StepStatus::Pending,
        attempts: Vec::new(),
        started: None,
        ended: None,
        output: None,
        error: None,
        skipped: None,
        condition: None,
        cancelled: None,
        stopped_by: None,
        child: None,
        items: None,
        kept: false,
        skipped_by: None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use expect_test::{Expect, expect};
    use skep_protocol::{Hash, Payload, RunId, RunStatus, RunSummary, Timestamp};

    use super::*;

    const NESTED: &str = "
name: w
steps:
  last: { agent: a, needs: [each, group] }
  group:
    steps:
      one: { agent: a }
      two: { agent: a, needs: [one] }
  each:
    for_each: '${{ range(3) }}'
    steps:
      in: { agent: a }
      out: { agent: a, needs: [in] }
";

    pub(in super::super) fn detail(steps: Vec<StepView>) -> RunDetail {
        RunDetail {
            summary: RunSummary {
                run: RunId::from_key("w", "k"),
                workflow: "w".to_owned(),
                digest: Hash::ZERO,
                status: RunStatus::Running,
                started: Timestamp::EPOCH,
                ended: None,
                parent: None,
                steps: 0,
                steps_ended: 0,
                labels: BTreeMap::new(),
                retry_of: None,
            },
            inputs: Payload::null(),
            outputs: None,
            error: None,
            cancelled: None,
            paused: None,
            retried_by: Vec::new(),
            steps,
            waiting: Vec::new(),
        }
    }

    fn check(status: RunStatus, known: &[(&str, StepStatus)], expected: &Expect) {
        let workflow = skep_workflow::read(NESTED.as_bytes(), "w").expect("it is well-formed");
        let view = |(step, status): &(&str, StepStatus)| StepView {
            status: *status,
            ..pending(StepPath::new(step))
        };
        let mut detail = detail(known.iter().map(view).collect());
        detail.summary.status = status;
        arrange(&mut detail, &workflow);
        let line = |view: &StepView| format!("{} {}\n", view.step, view.status);
        expected.assert_eq(&detail.steps.iter().map(line).collect::<String>());
    }

    #[test]
    fn steps_to_come_are_told_in_their_place() {
        let known = [
            ("each", StepStatus::Running),
            ("each[0]", StepStatus::Running),
            ("group", StepStatus::Running),
            ("each[10]", StepStatus::Running),
            ("each[2]", StepStatus::Completed),
            ("each[0]/in", StepStatus::Scheduled),
            ("group/one", StepStatus::Scheduled),
            ("unheard", StepStatus::Running),
        ];
        check(
            RunStatus::Running,
            &known,
            &expect![[r#"
            last pending
            group running
            group/one scheduled
            group/two pending
            each running
            each[0] running
            each[0]/in scheduled
            each[0]/out pending
            each[2] completed
            each[10] running
            each[10]/in pending
            each[10]/out pending
            unheard running
        "#]],
        );
    }

    #[test]
    fn in_what_is_over_nothing_comes() {
        let known = [("group", StepStatus::Failed), ("group/one", StepStatus::Failed)];
        check(
            RunStatus::Running,
            &known,
            &expect![[r#"
            last pending
            group failed
            group/one failed
            each pending
        "#]],
        );
        check(
            RunStatus::Failed,
            &known,
            &expect![[r#"
            group failed
            group/one failed
        "#]],
        );
    }
}
