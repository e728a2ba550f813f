//! The definition language: reading a file, evaluating what stands in it.

use std::borrow::Cow;
use std::hint::black_box;
use std::rc::Rc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use skep_workflow::{Scope, Step, StepIndex, StepKind, Workflow};

use crate::case::Case;
use crate::samples;

const EVALUATIONS: u32 = 1_000;

const EXPRESSIONS: &str = r#"
name: expressions
inputs: { topic: { type: string } }
steps:
  search: { agent: role }
  template:
    agent: role
    with:
      question: "What does ${{ inputs.topic }} have to do with: ${{ steps.search.output.text }}"
      score: ${{ steps.search.output.score }}
      source: ${{ steps.search.output.hits[0] }}
  filters:
    agent: role
    with:
      best: ${{ steps.search.output.hits | selectattr("score", "gt", 0.5) | map(attribute="file") }}
      tags: ${{ steps.search.output.tags | sort | join(", ") | upper }}
  condition:
    agent: role
    if: steps.search.output.score > 0.5 and inputs.topic in steps.search.output.tags
"#;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [10, 1_000, 10_000].into_iter().map(read).collect();
    let workflow = samples::read(EXPRESSIONS);
    cases.push(evaluation("render a template", "template", &workflow, render));
    cases.push(evaluation("render filters", "filters", &workflow, render));
    cases.push(evaluation("decide a condition", "condition", &workflow, |step, seen| {
        let condition = step.condition().expect("the step has one");
        let holds = condition.holds(seen).expect("it has a value");
        assert!(holds, "all of it is looked at");
    }));
    cases
}

/// Short definitions are read several times.
fn read(steps: usize) -> Case {
    let (definition, times) = (samples::layers(steps), 100_usize.div_ceil(steps));
    let name = format!("workflow/read {steps} steps");
    let read = move || (0..times).map(|_| samples::read(&definition)).collect::<Vec<_>>();
    Case::again(name, ((steps * times) as f64, "step"), read)
}

fn evaluation<T: 'static>(
    name: &str,
    step: &str,
    workflow: &Workflow,
    evaluate: fn(&Step, &dyn Scope) -> T,
) -> Case {
    let (workflow, seen) = (workflow.clone(), Rc::new(Seen::new()));
    let step = workflow.find(step).expect("the step is there");
    let work = move || {
        for _ in 0..EVALUATIONS {
            black_box(evaluate(workflow.step(step), black_box(&*seen)));
        }
    };
    let times = (f64::from(EVALUATIONS), "evaluation");
    Case::again(format!("workflow/{name}"), times, work)
}

fn render(step: &Step, seen: &dyn Scope) -> Box<RawValue> {
    let StepKind::Agent { with, .. } = step.kind() else { unreachable!("the step has an agent") };
    with.render_raw(seen).expect("it has a value")
}

/// What the expressions see.
struct Seen {
    topic: Value,
    output: Value,
}

impl Seen {
    fn new() -> Self {
        let hit = |line: u32| {
            let (file, score) = (format!("bees/{line}.md"), 0.1 * f64::from(line));
            json!({ "file": file, "score": score })
        };
        let output = json!({
            "text": "Bees keep the brood nest warm by shivering, and cool by fanning.",
            "score": 0.87,
            "tags": ["heat", "brood", "bees"],
            "hits": (0..10).map(hit).collect::<Vec<_>>(),
        });
        Self { topic: json!("bees"), output }
    }
}

impl Scope for Seen {
    fn input(&self, _: &str) -> Option<Cow<'_, Value>> {
        Some(Cow::Borrowed(&self.topic))
    }

    fn inputs(&self) -> Cow<'_, Value> {
        Cow::Owned(json!({ "topic": self.topic }))
    }

    fn step_output(&self, _: StepIndex) -> Option<Cow<'_, Value>> {
        Some(Cow::Borrowed(&self.output))
    }

    fn step_outputs(&self, _: StepIndex) -> Option<Cow<'_, Value>> {
        None
    }

    fn step_status(&self, _: StepIndex) -> &str {
        "completed"
    }

    fn run_id(&self) -> Cow<'_, str> {
        Cow::Borrowed("0192d3a4-1b2c-7def-8123-456789abcdef")
    }

    fn run_workflow(&self) -> Cow<'_, str> {
        Cow::Borrowed("expressions")
    }

    fn success(&self) -> bool {
        true
    }

    fn failure(&self) -> bool {
        false
    }
}
