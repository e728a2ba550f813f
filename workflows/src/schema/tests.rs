use std::collections::BTreeSet;

use expect_test::expect;
use serde_json::json;

use super::*;
use crate::definition::{
    AgentDefinition, BreakerDefinition, DefaultsDefinition, Keyed, LabelsDefinition,
    RetryDefinition, StepDefinition, SuperviseDefinition, UntilDefinition, WaitForDefinition,
};
use crate::diagnostic::Problems;

fn fixtures(folder: &str) -> Vec<(String, String)> {
    let folder = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension != "expected"))
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, String::from_utf8(std::fs::read(&path).ok()?).ok()?))
        })
        .collect();
    files.sort();
    files
}

fn as_json(text: &str) -> Option<Value> {
    crate::parse::parse(text, &mut Problems::default()).map(|node| node.to_json())
}

#[test]
fn valid_definitions_match_the_schema() {
    let schema = jsonschema::validator_for(&language()).unwrap();
    for (name, text) in fixtures("fixtures/valid").into_iter().chain(fixtures("catalog")) {
        let errors: Vec<String> = schema
            .iter_errors(&as_json(&text).unwrap())
            .map(|error| format!("{} at {}", error.masked(), error.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn definitions_of_the_wrong_shape_do_not_match() {
    let schema = jsonschema::validator_for(&language()).unwrap();
    let shapes = [
        "defaults_invalid",
        "durations",
        "foreign_keys",
        "github_actions",
        "missing_name",
        "missing_steps",
        "name_invalid",
        "name_number",
        "negative",
        "nested_unknown_keys",
        "null_values",
        "root_list",
        "shares",
        "signal_invalid",
        "step_id_invalid",
        "step_null",
        "steps_list",
        "typo_keys",
        "version_number",
        "wait_invalid",
        "words",
        "workflow_invalid",
        "wrong_types",
        "compensate_invalid",
        "input_schema_invalid",
    ];
    let fixtures = fixtures("fixtures/invalid");
    for shape in shapes {
        let (_, text) = fixtures.iter().find(|(name, _)| name.starts_with(shape)).unwrap();
        assert!(!schema.is_valid(&as_json(text).unwrap()), "{shape}");
    }
}

/// Returns the keys that the schema knows for a type.
fn keys_in_schema(schema: &Value, name: Option<&str>) -> BTreeSet<String> {
    let object = name.map_or(schema, |name| &schema["$defs"][name]);
    assert_eq!(object["additionalProperties"], json!(false), "{name:?}");
    object["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_parser_and_the_schema_know_the_same_keys() {
    let schema = language();
    let types: &[(Option<&str>, &[&str])] = &[
        (None, WorkflowDefinition::KEYS),
        (Some("Defaults"), DefaultsDefinition::KEYS),
        (Some("Step"), StepDefinition::KEYS),
        (Some("Agent"), AgentDefinition::KEYS),
        (Some("WaitFor"), WaitForDefinition::KEYS),
        (Some("Until"), UntilDefinition::KEYS),
        (Some("Retry"), RetryDefinition::KEYS),
        (Some("Breaker"), BreakerDefinition::KEYS),
        (Some("Supervise"), SuperviseDefinition::KEYS),
        (Some("Labels"), LabelsDefinition::KEYS),
    ];
    for (name, keys) in types {
        let known: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(keys_in_schema(&schema, *name), known, "{name:?}");
    }
    let closed = schema["$defs"].as_object().unwrap().values();
    let keyed = closed.filter(|object| object.get("properties").is_some()).count();
    assert_eq!(keyed + 1, types.len(), "a type is missing here");
}

#[test]
fn violations_are_few_and_do_not_repeat_the_data() {
    let schema = input("{ type: array, items: { type: integer } }").unwrap();
    assert_eq!(schema.check(&json!([1, 2])), Ok(()));
    let secret = "s".repeat(10_000);
    let violations = schema.check(&json!(vec![secret; 100])).unwrap_err();
    assert_eq!(violations.len(), VIOLATIONS);
    assert_eq!(violations[1].path, "/1");
    assert!(violations.iter().all(|violation| !violation.message.contains("ss")));
}

/// Reads a file whose one input has this schema.
fn input(schema: &str) -> Result<Schema, String> {
    let file = format!("name: n\ninputs: {{ a: {schema} }}\nsteps: {{ b: {{ agent: x }} }}\n");
    match crate::read(file.as_bytes(), "t") {
        Ok(workflow) => Ok(workflow.inputs().find("a").unwrap().schema().clone()),
        Err(rejected) => Err(rejected.diagnostics()[0].message.clone()),
    }
}

/// A schema of alternatives of alternatives, none of which anything matches.
fn branching() -> String {
    let one = ["false"; 90].join(",");
    let many = ["{$ref: '#/$defs/d'}"; 90].join(",");
    format!("$defs: {{ d: {{ anyOf: [{one}] }} }}, items: {{ anyOf: [{many}] }}")
}

#[test]
fn a_default_is_never_more_costly_than_its_length_suggests() {
    let refused = |values: usize, schema: &str| {
        let values = vec!["1"; values].join(",");
        let refused = input(&format!("{{ default: [{values}], {schema} }}")).unwrap_err();
        refused.replace("schema: ", "schema:\n")
    };
    expect![[r#"
        the default of input `a` does not match its schema:
        /0 value is not of type "string"; /1 value is not of type "string""#]]
    .assert_eq(&refused(2, "items: { type: string }"));
    expect![[r#"
        the default of input `a` does not match its schema:
        too large to be held against its schema"#]]
    .assert_eq(&refused(20_000, &branching()));
}

#[test]
fn of_what_is_wrong_with_a_large_value_only_so_much_is_said() {
    let said = |schema: &str, values: usize| {
        let found = input(schema).unwrap().check(&json!(vec![1; values])).unwrap_err();
        let lines = found.iter().map(|one| format!("{:?} {}", one.path, one.message));
        lines.collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        "/0" value is not of type "string"
        "/1" value is not of type "string""#]]
    .assert_eq(&said("{ items: { type: string } }", 2));
    expect![[r#""/0" value is not of type "string""#]]
        .assert_eq(&said("{ items: { type: string } }", 90_000));
    let branches = "{ items: { anyOf: [{ type: string }, { type: 'null' }] } }";
    expect![[r#""" not what its schema says; it is too large to say where"#]]
        .assert_eq(&said(branches, 90_000));
    expect![[r#""" too large to be held against its schema"#]]
        .assert_eq(&said(&format!("{{ {} }}", branching()), 90_000));
}

#[test]
fn a_pattern_pays_for_the_text_that_it_may_see() {
    let text = |bytes: usize| json!("ab".repeat(bytes / 2));
    let said = |schema: &str, value: Value| match input(schema).unwrap().check(&value) {
        Ok(()) => "ok".to_owned(),
        Err(found) => found[0].message.clone(),
    };
    let name = "pattern: '^[a-z]+$'";
    assert_eq!(said(&format!("{{ {name} }}"), text(1_000_000)), "ok");
    let fields = format!("{{ properties: {{ name: {{ {name} }}, text: {{ type: string }} }} }}");
    assert_eq!(said(&fields, json!({ "name": "a", "text": text(20_000_000) })), "ok");
    let large = "too large to be held against its schema";
    let counted = "pattern: 'a[ab]{1,900}c'";
    for schema in [
        format!("{{ {counted} }}"),
        format!("{{ $defs: {{ a: {{ {counted} }} }}, anyOf: [{{ $ref: '#/$defs/a' }}, true] }}"),
        format!("{{ not: {{ allOf: [{{ {counted} }}] }} }}"),
    ] {
        assert_eq!(said(&schema, text(1_000_000)), large, "{schema}");
    }
    let names = format!("{{ propertyNames: {{ {counted} }} }}");
    assert_eq!(said(&names, json!({ "a".repeat(300_000): 1 })), large);
    let items = format!("{{ items: {{ {counted} }}, contains: true, uniqueItems: true }}");
    assert_eq!(said(&items, json!(vec!["abc".repeat(1_000); 100])), large);
}
