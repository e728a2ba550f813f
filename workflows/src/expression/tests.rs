mod costs;
mod filters;
mod templates;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::workflow::{StepKind, Workflow};

/// A scope with one finished step, one failed step and one fan-out.
struct World {
    inputs: Value,
    /// The JSON of what is read, if that is at hand.
    texts: Vec<(Reference, Box<RawValue>)>,
}

impl World {
    fn new(inputs: Value) -> Self {
        Self { inputs, texts: Vec::new() }
    }

    /// Returns the same scope, with the JSON of these.
    fn written(mut self, reads: &[Reference]) -> Self {
        for read in reads {
            let read = match read {
                Reference::Input(_) => &Reference::Inputs,
                other => other,
            };
            let value = match read {
                Reference::Inputs => Some(self.inputs()),
                Reference::Step(step, StepPart::Output) => self.step_output(*step),
                Reference::Step(step, StepPart::Outputs) => self.step_outputs(*step),
                Reference::Item => self.item(),
                _ => None,
            };
            let text = value.map(|value| to_raw_value(&*value).unwrap());
            self.texts.extend(text.map(|text| (read.clone(), text)));
        }
        self
    }
}

impl Scope for World {
    fn raw(&self, of: &Reference) -> Option<&RawValue> {
        self.texts.iter().find(|(read, _)| read == of).map(|(_, text)| &**text)
    }
    fn input(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.inputs.get(name).map(Cow::Borrowed)
    }
    fn inputs(&self) -> Cow<'_, Value> {
        Cow::Borrowed(&self.inputs)
    }
    fn step_output(&self, step: StepIndex) -> Option<Cow<'_, Value>> {
        (step.as_u32() == 0).then(|| Cow::Owned(json!({"n": 7, "big": u64::MAX, "s": "${{ 1 }}"})))
    }
    fn step_outputs(&self, _: StepIndex) -> Option<Cow<'_, Value>> {
        Some(Cow::Owned(json!([{"score": 0.5, "ok": true}, {"score": 2, "ok": false}])))
    }
    fn step_status(&self, step: StepIndex) -> &str {
        if step.as_u32() == 1 { "failed" } else { "completed" }
    }
    fn item(&self) -> Option<Cow<'_, Value>> {
        Some(Cow::Owned(json!("it")))
    }
    fn index(&self) -> Option<u64> {
        Some(3)
    }
    fn run_id(&self) -> Cow<'_, str> {
        "run-1".into()
    }
    fn run_workflow(&self) -> Cow<'_, str> {
        "demo".into()
    }
    fn success(&self) -> bool {
        false
    }
    fn failure(&self) -> bool {
        true
    }
}

fn world() -> World {
    World::new(json!({
        "text": "Hello World", "n": 3, "f": 2.5, "list": [3, 1, 2], "none": null,
        "people": [{"name": "b", "age": 3}, {"name": "a", "age": 1}],
        "huge": "x".repeat(64 * 1024),
    }))
}

/// Reads a workflow whose step `probe` has this `with`, written as JSON.
fn workflow(with: &Value) -> Workflow {
    let file = json!({
        "name": "demo",
        "inputs": {"text": true, "n": true, "f": true, "list": true, "none": true, "people": true,
                   "huge": true, "absent": true},
        "steps": {
            "done": {"agent": "x"},
            "broken": {"agent": "x"},
            "many": {"agent": "x", "for_each": [1, 2]},
            "probe": {"agent": "x", "for_each": [1], "with": with},
        }
    });
    match crate::read(file.to_string().as_bytes(), "t") {
        Ok(workflow) => workflow,
        Err(rejected) => panic!("{}", rejected.render(crate::Style::Plain)),
    }
}

fn render(with: &Value) -> Result<Value, EvaluationError> {
    let workflow = workflow(with);
    let probe = workflow.step(workflow.find("probe").unwrap());
    match probe.kind() {
        StepKind::Agent { with, .. } => {
            let value = with.render(&world());
            // Whether the value is made or not, and its parts or not, it reads the same.
            for scope in [world(), world().written(with.reads())] {
                let raw = with.render_raw(&scope).map(|raw| raw.get().to_owned());
                assert_eq!(raw, value.clone().map(|value| value.to_string()));
            }
            value
        }
        other => panic!("{other:?}"),
    }
}

fn check(expressions: &[&str], expected: Expect) {
    let mut table = String::new();
    for expression in expressions {
        let result = match render(&json!(format!("${{{{ {expression} }}}}"))) {
            Ok(value) => value.to_string(),
            Err(error) => format!("error: {}", error.problem),
        };
        table.push_str(&format!("{expression}  =>  {result}\n"));
    }
    expected.assert_eq(&table);
}

#[test]
fn values_keep_their_type() {
    check(
        &[
            "inputs.n",
            "inputs.f",
            "inputs.none",
            "inputs.list",
            "steps.done.output.big",
            "index",
            "item",
            "run.id ~ '/' ~ run.workflow",
            "steps.broken.status",
            "true",
            "1.0",
            "{'a': [1]}",
        ],
        expect![[r#"
            inputs.n  =>  3
            inputs.f  =>  2.5
            inputs.none  =>  null
            inputs.list  =>  [3,1,2]
            steps.done.output.big  =>  18446744073709551615
            index  =>  3
            item  =>  "it"
            run.id ~ '/' ~ run.workflow  =>  "run-1/demo"
            steps.broken.status  =>  "failed"
            true  =>  true
            1.0  =>  1.0
            {'a': [1]}  =>  {"a":[1]}
        "#]],
    );
}

#[test]
fn arithmetic_is_exact_or_an_error() {
    check(
        &[
            "1 + 2 * 3",
            "7 / 2",
            "7 // 2",
            "-7 // 2",
            "7 % 3",
            "2 ** 10",
            "1 / 0",
            "2 ** 200",
            "steps.done.output.big + 1",
            "1 + 0.5",
            "'a' + 'b'",
            "'a' * 3",
            "[1] + [2]",
            "1 + 'a'",
            "-inputs.f",
            "10.0 ** 400",
        ],
        expect![[r#"
            1 + 2 * 3  =>  7
            7 / 2  =>  3.5
            7 // 2  =>  3
            -7 // 2  =>  -4
            7 % 3  =>  1
            2 ** 10  =>  1024
            1 / 0  =>  error: division by zero
            2 ** 200  =>  error: the result is too large for a number
            steps.done.output.big + 1  =>  error: the result is too large for a number
            1 + 0.5  =>  1.5
            'a' + 'b'  =>  "ab"
            'a' * 3  =>  error: `*` does not work with a string and a number
            [1] + [2]  =>  [1,2]
            1 + 'a'  =>  error: `+` does not work with a number and a string
            -inputs.f  =>  -2.5
            10.0 ** 400  =>  error: the result is not a finite number
        "#]],
    );
}

#[test]
fn division_rounds_down_and_the_remainder_goes_with_it() {
    check(
        &[
            "7 // -2",
            "7.0 // -2",
            "-7 // 2.0",
            "-7 // -2",
            "7 % -2",
            "-7 % 2",
            "7.0 % -2",
            "-7.5 % 2",
            "(7 // -2) * -2 + 7 % -2",
            "-6 // 2",
            "-6.0 % 2",
            "1.0 // 0",
            "1 % 0",
            "1e300 // 1e-300",
        ],
        expect![[r#"
            7 // -2  =>  -4
            7.0 // -2  =>  -4.0
            -7 // 2.0  =>  -4.0
            -7 // -2  =>  3
            7 % -2  =>  -1
            -7 % 2  =>  1
            7.0 % -2  =>  -1.0
            -7.5 % 2  =>  0.5
            (7 // -2) * -2 + 7 % -2  =>  7
            -6 // 2  =>  -3
            -6.0 % 2  =>  0.0
            1.0 // 0  =>  error: division by zero
            1 % 0  =>  error: division by zero
            1e300 // 1e-300  =>  error: the result is not a finite number
        "#]],
    );
}

#[test]
fn comparisons_and_logic() {
    check(
        &[
            "1 == 1.0",
            "'a' < 'b'",
            "1 < 'a'",
            "1 < 2 < 3",
            "1 < 2 > 3",
            "2 in inputs.list",
            "'x' not in {'y': 1}",
            "'ell' in inputs.text",
            "not inputs.none",
            "inputs.none or 5",
            "inputs.n and 'yes'",
            "'big' if inputs.n > 2 else 'small'",
            "success()",
            "failure()",
            "always()",
            "inputs.n is odd",
            "inputs.absent is defined",
            "inputs.list is sequence",
            "(0 * -1.5) == 0",
            "-0.0 < 0",
            "[-0.0, 0] | max",
            "9007199254740993 == 9007199254740992.0",
            "9007199254740993 > 9007199254740992.0",
            "steps.done.output.big < 1e300",
            "-1e300 < steps.done.output.big",
            "-2 < -1.5 < -1",
        ],
        expect![[r#"
            1 == 1.0  =>  true
            'a' < 'b'  =>  true
            1 < 'a'  =>  error: a number and a string have no order
            1 < 2 < 3  =>  true
            1 < 2 > 3  =>  false
            2 in inputs.list  =>  true
            'x' not in {'y': 1}  =>  true
            'ell' in inputs.text  =>  true
            not inputs.none  =>  true
            inputs.none or 5  =>  5
            inputs.n and 'yes'  =>  "yes"
            'big' if inputs.n > 2 else 'small'  =>  "big"
            success()  =>  false
            failure()  =>  true
            always()  =>  true
            inputs.n is odd  =>  true
            inputs.absent is defined  =>  false
            inputs.list is sequence  =>  true
            (0 * -1.5) == 0  =>  true
            -0.0 < 0  =>  false
            [-0.0, 0] | max  =>  -0.0
            9007199254740993 == 9007199254740992.0  =>  false
            9007199254740993 > 9007199254740992.0  =>  true
            steps.done.output.big < 1e300  =>  true
            -1e300 < steps.done.output.big  =>  true
            -2 < -1.5 < -1  =>  true
        "#]],
    );
}

#[test]
fn undefined_is_an_error_unless_there_is_a_default() {
    check(
        &[
            "inputs.absent",
            "steps.broken.output",
            "steps.broken.output.a.b",
            "steps.broken.output.a.b | default('none')",
            "inputs.list[9]",
            "inputs.list[-1]",
            "inputs.none.a",
            "inputs.text | default('x')",
            "'' | default('x', true)",
            "[] | first",
            "1 if false",
        ],
        expect![[r#"
            inputs.absent  =>  error: the input `absent` is undefined
            steps.broken.output  =>  error: without a `default`, the `output` of a failed step is undefined
            steps.broken.output.a.b  =>  error: without a `default`, the `output` of a failed step is undefined
            steps.broken.output.a.b | default('none')  =>  "none"
            inputs.list[9]  =>  error: the index 9 is undefined
            inputs.list[-1]  =>  2
            inputs.none.a  =>  error: null has no field `a`
            inputs.text | default('x')  =>  "Hello World"
            '' | default('x', true)  =>  "x"
            [] | first  =>  error: an element of an empty list is undefined
            1 if false  =>  error: an `if` without `else` is undefined
        "#]],
    );
}
