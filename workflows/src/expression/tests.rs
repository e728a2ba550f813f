use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::workflow::{StepKind, Workflow};

/// A scope with one finished step, one failed step and one fan-out.
struct World(Value);

impl Scope for World {
    fn input(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.0.get(name).map(Cow::Borrowed)
    }
    fn inputs(&self) -> Cow<'_, Value> {
        Cow::Borrowed(&self.0)
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
    World(json!({
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
        StepKind::Agent { with, .. } => with.render(&world()),
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
            steps.broken.output  =>  error: the step's `output` is undefined
            steps.broken.output.a.b  =>  error: the step's `output` is undefined
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

#[test]
fn filters_of_lists() {
    check(
        &[
            "inputs.text | upper",
            "inputs.text | length",
            "inputs.list | sort | join('-')",
            "inputs.list | max",
            "inputs.list | sum",
            "inputs.people | map(attribute='name') | list",
            "inputs.people | sort(attribute='age') | map(attribute='name') | join(',')",
            "inputs.people | selectattr('age', 'gt', 2) | length",
            "inputs.list | select('odd') | list",
            "inputs.list | reject('odd') | first",
            "inputs.list | map('string') | list",
            "steps.many.outputs | map(attribute='score') | min >= 0.8",
            "[1, 1, 2] | unique",
            "inputs.list | batch(2)",
        ],
        expect![[r#"
            inputs.text | upper  =>  "HELLO WORLD"
            inputs.text | length  =>  11
            inputs.list | sort | join('-')  =>  "1-2-3"
            inputs.list | max  =>  3
            inputs.list | sum  =>  6
            inputs.people | map(attribute='name') | list  =>  ["b","a"]
            inputs.people | sort(attribute='age') | map(attribute='name') | join(',')  =>  "a,b"
            inputs.people | selectattr('age', 'gt', 2) | length  =>  1
            inputs.list | select('odd') | list  =>  [3,1]
            inputs.list | reject('odd') | first  =>  2
            inputs.list | map('string') | list  =>  ["3","1","2"]
            steps.many.outputs | map(attribute='score') | min >= 0.8  =>  false
            [1, 1, 2] | unique  =>  [1,2]
            inputs.list | batch(2)  =>  [[3,1],[2]]
        "#]],
    );
}

#[test]
fn filters_of_texts_and_numbers() {
    check(
        &[
            "' a ' | trim",
            "'a,b,c' | split(',')",
            "'a-b' | replace('-', '+')",
            "'42' | int",
            "'x' | int",
            "2.567 | round(1)",
            "-3 | abs",
            "{'b': 1, 'a': 2} | dictsort",
            "inputs.people[0] | tojson",
            "inputs.text[0:5]",
            "inputs.list[1:]",
            "range(1, 7, 2)",
            "'hello world' | title",
            "inputs.list | reverse",
            "inputs.n | upper",
        ],
        expect![[r#"
            ' a ' | trim  =>  "a"
            'a,b,c' | split(',')  =>  ["a","b","c"]
            'a-b' | replace('-', '+')  =>  "a+b"
            '42' | int  =>  42
            'x' | int  =>  error: `x` is not a number
            2.567 | round(1)  =>  2.6
            -3 | abs  =>  3
            {'b': 1, 'a': 2} | dictsort  =>  [["a",2],["b",1]]
            inputs.people[0] | tojson  =>  "{\"name\":\"b\",\"age\":3}"
            inputs.text[0:5]  =>  "Hello"
            inputs.list[1:]  =>  [1,2]
            range(1, 7, 2)  =>  [1,3,5]
            'hello world' | title  =>  "Hello World"
            inputs.list | reverse  =>  [2,1,3]
            inputs.n | upper  =>  error: a string is needed here, but this is a number
        "#]],
    );
}

#[test]
fn what_makes_much_out_of_little_is_refused() {
    check(
        &[
            "inputs.huge | replace('x', inputs.huge) | length",
            "range(100000000) | length",
            "range(100000) | select('in', range(100000)) | list | length",
            "inputs.huge | split('x') | join(inputs.huge) | length",
            "range(5000) | map('replace', 'x', inputs.huge) | list",
        ],
        expect![[r#"
            inputs.huge | replace('x', inputs.huge) | length  =>  error: it is too expensive: it makes or looks at too much data
            range(100000000) | length  =>  error: it is too expensive: it makes or looks at too much data
            range(100000) | select('in', range(100000)) | list | length  =>  error: it is too expensive: it makes or looks at too much data
            inputs.huge | split('x') | join(inputs.huge) | length  =>  error: it is too expensive: it makes or looks at too much data
            range(5000) | map('replace', 'x', inputs.huge) | list  =>  error: a string is needed here, but this is a number
        "#]],
    );
}

#[test]
fn a_template_pays_as_a_whole() {
    let many: Vec<Value> = (0..2000).map(|_| json!("${{ inputs.huge }}")).collect();
    let error = render(&json!(many)).unwrap_err();
    assert!(error.problem.contains("too expensive"), "{error}");
    let text = "${{ inputs.huge }}".repeat(5);
    assert!(render(&json!(text)).unwrap_err().problem.contains("longer than"));
}

#[test]
fn a_string_that_is_one_expression_keeps_its_type_and_others_are_text() {
    let rendered = render(&json!({
        "whole": "${{ inputs.n }}",
        "text": "n=${{ inputs.n }}, none=${{ inputs.none }}, list=${{ inputs.list }}",
        "plain": [1, null, "{{ not ours }}"],
        "data": "${{ steps.done.output.s }}",
        "braces": "${{ {'a': {'b': '}}'}} }}",
    }));
    expect![[r#"{"whole":3,"text":"n=3, none=null, list=[3,1,2]","plain":[1,null,"{{ not ours }}"],"data":"${{ 1 }}","braces":{"a":{"b":"}}"}}}"#]]
        .assert_eq(&rendered.unwrap().to_string());
}

#[test]
fn passthrough_is_exactly_one_reference() {
    let passthrough = |with: Value| {
        let workflow = workflow(&with);
        match workflow.step(workflow.find("probe").unwrap()).kind() {
            StepKind::Agent { with, .. } => with.passthrough().cloned(),
            _ => None,
        }
    };
    let output = Reference::Step(StepIndex(0), StepPart::Output);
    assert_eq!(passthrough(json!("${{ steps.done.output }}")), Some(output));
    assert_eq!(passthrough(json!("${{ item }}")), Some(Reference::Item));
    assert_eq!(passthrough(json!("${{ steps.done.output.n }}")), None);
    assert_eq!(passthrough(json!(" ${{ item }}")), None);
    assert_eq!(passthrough(json!(["${{ item }}"])), None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-z${} |]{0,12}".prop_map(Value::from),
        Just(json!("${{ steps.done.output }}")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z${}]{1,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn data_stays_data(data in any_json()) {
        let workflow = workflow(&json!({"whole": "${{ inputs.n }}", "text": "<${{ inputs.n }}>"}));
        let StepKind::Agent { with, .. } = workflow.step(workflow.find("probe").unwrap()).kind() else {
            return Ok(());
        };
        let rendered = with.render(&World(json!({"n": data.clone()}))).unwrap();
        prop_assert_eq!(&rendered["whole"], &data);
        let text = data.as_str().map_or_else(|| data.to_string(), str::to_owned);
        prop_assert_eq!(&rendered["text"], &json!(format!("<{text}>")));
    }

    #[test]
    fn expressions_never_panic(text in "[a-z0-9.|()\\[\\]{}'\" +*/%<>=~,:-]{0,60}") {
        let file = json!({"name": "n", "inputs": {"a": true}, "steps": {"s": {"agent": "x", "with": format!("${{{{ {text} }}}}")}}});
        if let Ok(workflow) = crate::read(file.to_string().as_bytes(), "t")
            && let StepKind::Agent { with, .. } = workflow.steps()[0].kind()
        {
            let _ = with.render(&world());
        }
    }
}
