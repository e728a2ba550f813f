use expect_test::expect;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{World, render, workflow, world};
use crate::expression::{Reference, StepPart};
use crate::workflow::{StepIndex, StepKind};

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
    expect![[r#"
        {
          "whole": 3,
          "text": "n=3, none=null, list=[3,1,2]",
          "plain": [
            1,
            null,
            "{{ not ours }}"
          ],
          "data": "${{ 1 }}",
          "braces": {
            "a": {
              "b": "}}"
            }
          }
        }
    "#]]
    .assert_eq(&format!("{:#}\n", rendered.unwrap()));
}

#[test]
fn lists_and_maps_hold_what_is_passed_on_and_what_is_made() {
    let rendered = render(&json!([
        "${{ inputs.list }}",
        ["${{ inputs.n + 1 }}", "\"${{ inputs.text }}\"\n", []],
        { "list": "${{ inputs.list }}", "e\"": { "none": "${{ inputs.none }}" } },
    ]));
    expect![[r#"
        [[3,1,2],[4,"\"Hello World\"\n",[]],{"list":[3,1,2],"e\"":{"none":null}}]
    "#]]
    .assert_eq(&format!("{}\n", rendered.unwrap()));
}

#[test]
fn a_number_that_is_not_finite_is_refused_when_the_file_is_read() {
    for text in ["1e400", "-1e400", "[1, 1e400]", "{'a': 1e400}", "1 < 1e400", "1e400 | int"] {
        let file = json!({
            "name": "n",
            "steps": {"s": {"agent": "x", "with": format!("${{{{ {text} }}}}")}},
        });
        let rejected = crate::read(file.to_string().as_bytes(), "t").unwrap_err();
        let rendered = rejected.render(crate::Style::Plain);
        assert!(rendered.contains("this number is too large"), "{text}: {rendered}");
    }
}

#[test]
fn a_value_is_nested_at_most_64_deep() {
    let nested = |lists: usize, maps: usize| {
        let text = format!("${{{{ [1]{} }}}}", " | batch(1)".repeat(lists));
        (0..maps).fold(json!(text), |inner, _| json!({ "a": inner }))
    };
    let outcome = |lists, maps| match render(&nested(lists, maps)) {
        Ok(_) => "fine".to_owned(),
        Err(error) => format!("{:.4} {}", error.expression, error.problem),
    };
    let table = [(63, 0), (64, 0), (120, 0), (43, 20), (44, 20)]
        .map(|(lists, maps)| format!("{lists} {maps}  =>  {}\n", outcome(lists, maps)));
    expect![[r#"
        63 0  =>  fine
        64 0  =>  [1]  its value is nested deeper than 64 levels
        120 0  =>  [1]  its value is nested deeper than 64 levels
        43 20  =>  fine
        44 20  =>  ${{  its value is nested deeper than 64 levels
    "#]]
    .assert_eq(&table.concat());
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
        let probe = workflow.step(workflow.find("probe").unwrap());
        let StepKind::Agent { with, .. } = probe.kind() else { return Ok(()) };
        let rendered = with.render(&World::new(json!({"n": data.clone()}))).unwrap();
        prop_assert_eq!(&rendered["whole"], &data);
        let text = data.as_str().map_or_else(|| data.to_string(), str::to_owned);
        prop_assert_eq!(&rendered["text"], &json!(format!("<{text}>")));
    }

    #[test]
    fn expressions_never_panic(text in "[a-z0-9.|()\\[\\]{}'\" +*/%<>=~,:-]{0,60}") {
        let file = json!({
            "name": "n",
            "inputs": {"a": true},
            "steps": {"s": {"agent": "x", "with": format!("${{{{ {text} }}}}")}},
        });
        if let Ok(workflow) = crate::read(file.to_string().as_bytes(), "t")
            && let StepKind::Agent { with, .. } = workflow.steps()[0].kind()
        {
            let _ = with.render(&world());
        }
    }
}
