//! What hostile expressions cost: each ends, and what is cheap stays possible.

use std::sync::LazyLock;

use expect_test::{Expect, expect};
use serde_json::{Map, Value, json};

use super::World;
use crate::expression::evaluate::Machine;
use crate::expression::names::{EACH, Filter, Test};
use crate::limits;
use crate::workflow::StepKind;

/// Data that is large, but not larger than what a step may give.
static LARGE: LazyLock<World> = LazyLock::new(|| {
    let texts = (0..1000).map(|n| format!("{}{:04}", "x".repeat(10_000), n * 7919 % 1000));
    let people = (0..50_000).map(|n| json!({"name": format!("n{n}"), "tags": {"a": [n, n]}}));
    let keys = (0..50_000).map(|n| (format!("Key{n}"), json!(n)));
    let mut wide = vec![json!([0]); 200_000];
    wide.insert(0, json!(vec![9; 200_000]));
    World::new(json!({
        "ints": (0..100_000).collect::<Vec<_>>(),
        "big": "x".repeat(4_000_000),
        "other": format!("y{}", "x".repeat(3_999_999)),
        "spaces": " ".repeat(1_000_000),
        "controls": "\u{1}".repeat(2_000_000),
        "greek": "ΐ".repeat(1_000_000),
        "texts": texts.collect::<Vec<_>>(),
        "people": people.collect::<Vec<_>>(),
        "keys": Value::Object(keys.collect::<Map<_, _>>()),
        "wide": wide,
        "lists": vec![json!([[1, 2], [3]]); 50_000],
        "digits": vec![json!("7".repeat(2_000)); 2_000],
    }))
});

/// Returns the value of a template, if it is short, and its cost in KiB.
fn outcome(template: &Value) -> String {
    let inputs: Map<String, Value> =
        LARGE.inputs.as_object().unwrap().keys().map(|name| (name.clone(), json!(true))).collect();
    let steps = json!({"s": {"agent": "x", "with": template}});
    let file = json!({"name": "n", "inputs": inputs, "steps": steps}).to_string();
    let workflow = match crate::read(file.as_bytes(), "t") {
        Ok(workflow) => workflow,
        Err(rejected) => panic!("{}", rejected.render(crate::Style::Plain)),
    };
    let StepKind::Agent { with, .. } = workflow.steps()[0].kind() else { panic!("an agent") };
    let (value, cost) = with.0.measured(Machine::new(&*LARGE), |draft| draft.into_value());
    match value {
        Ok(value) => {
            assert!(cost <= limits::EVALUATION_COST);
            let text = value.to_string();
            format!("{}, {} KiB", if text.len() > 20 { "a value" } else { &text }, cost / 1024)
        }
        Err(error) if error.problem.starts_with("it is too expensive") => "too expensive".into(),
        Err(error) => error.problem,
    }
}

/// Evaluates expressions, those with a number as often as it says, in one template.
fn check(expressions: &[&str], expected: Expect) {
    let mut table = String::new();
    for line in expressions {
        let (expression, times) = line.split_once(" ×").unwrap_or((line, "1"));
        let one = json!(format!("${{{{ {expression} }}}}"));
        let times = times.parse().unwrap();
        let template = if times == 1 { one } else { json!(vec![one; times]) };
        table.push_str(&format!("{line}  =>  {}\n", outcome(&template)));
    }
    expected.assert_eq(&table);
}

/// One large value is looked at, or copied, once per element of a list.
const ARGUMENTS: &[&str] = &[
    "range(100000) | select('eq', inputs.ints) | list | length",
    "range(20000) | map('string') | map('replace', inputs.big, 'x') | list | length",
    "range(20000) | map('string') | map('replace', 'x', inputs.big) | list | length",
    "range(20000) | map('default', inputs.ints, true) | list | length",
    "range(20000) | map('string') | map('trim', inputs.big) | length",
    "range(20000) | map('string') | map('split', inputs.big) | length",
    "range(20000) | map('string') | join(inputs.big) | length",
    "range(20000) | select('in', inputs.ints) | length",
    "range(20000) | map('string') | select('in', inputs.big ~ 'y') | length",
    "range(20000) | map('string') | select('in', inputs.keys) | length",
    "range(20000) | map('string') | reject('startingwith', inputs.big) | length",
    "range(20000) | map('string') | reject('endingwith', inputs.big) | length",
    "inputs.people | map(attribute='none', default=inputs.big ~ '') | length",
];

/// What is compared is large on both sides.
const COMPARISONS: &[&str] = &[
    "inputs.wide | max | length",
    "inputs.wide | min | length",
    "inputs.wide | sort | length",
    "inputs.wide | select('lt', inputs.wide[0]) | length",
    "inputs.wide == inputs.wide ×30",
    "inputs.people == inputs.people ×30",
    "inputs.big == inputs.big ×300",
    "inputs.big == inputs.other ×300",
    "inputs.ints <= inputs.ints ×99",
    "inputs.texts | sort | length ×9",
    "inputs.texts | sort(attribute='0') | length",
    "inputs.texts | max | length",
    "inputs.texts | unique | length ×9",
    "inputs.people | unique | length",
    "inputs.people | sort(attribute='name') | length",
    "inputs.people | min(attribute='tags.a') | length",
    "inputs.people | rejectattr('tags', 'eq', inputs.people[0].tags) | length",
    "inputs.people | selectattr('tags.a.0', 'ge', 5) | length",
    "inputs.texts | select('ne', inputs.texts[0]) | length ×50",
    "inputs.texts | select('gt', inputs.texts[0]) | length ×50",
    "inputs.texts | select('le', inputs.texts[0]) | length ×50",
];

/// Lists and maps are made of lists and maps.
const LISTS: &[&str] = &[
    "range(4000000)",
    "range(9223372036854775807) | length",
    "range(1000000) | batch(1) | batch(1) | batch(1) | batch(1) | batch(1) | length",
    "range(500000) | batch(1) | batch(1) | batch(1) | batch(1) | batch(1) | length",
    "inputs.lists | map('batch', 1) | map('batch', 1) | map('batch', 1) | length",
    "inputs.lists | map('list') | map('first') | length",
    "inputs.ints | batch(1) ×4",
    "inputs.ints | map('string') | map('split', ',') | length",
    "inputs.people | map('items') | length",
    "inputs.people | map('list') | map('batch', 1) | length",
    "inputs.lists + inputs.lists ×9",
    "inputs.big + inputs.big ×15",
    "inputs.ints ~ inputs.lists ×99",
    "inputs.ints[1:] ×20",
    "inputs.ints[::50000] ×20",
    "inputs.big[::2] ×20",
];

/// Texts are made of texts, and looked through.
const TEXTS: &[&str] = &[
    "inputs.big | replace('x', 'xxxxxxxxxxxxxxxxxx')",
    "inputs.big | split('x')",
    "inputs.big | split('xx') | length",
    "inputs.spaces | replace(' ', '\\n') | lines | length",
    "inputs.controls | tojson ×9",
    "[inputs.controls] | string ×9",
    "[inputs.controls] | unique ×9",
    "inputs.people | tojson ×30",
    "inputs.keys | items | length ×9",
    "inputs.keys | dictsort | length ×9",
    "inputs.keys | list | length ×9",
    "inputs.people | reverse ×9",
    "{'a': inputs.people} ×9",
    "inputs.greek | upper ×9",
    "inputs.greek | lower ×9",
    "inputs.greek | title ×9",
    "inputs.greek | capitalize ×9",
    "inputs.greek | reverse ×30",
    "inputs.big | length ×30",
    "inputs.big | count ×30",
    "inputs.big | trim('abcdefghijklmnopqrstuvw')",
    "inputs.spaces | trim ×99",
    "inputs.big is lower ×30",
    "inputs.greek is upper ×30",
    "inputs.big in inputs.big ×30",
    "'y' in inputs.big ×30",
    "inputs.big is startingwith(inputs.big) ×30",
    "inputs.big is endingwith(inputs.big) ×30",
    "{'a': 1}[inputs.big] | d(1) ×30",
    "inputs.big in {'a': 1} ×30",
    "inputs.digits | reject('eq', 0) | map('float') | length ×9",
];

/// What people write, for 100 000 small elements and a large text.
const ORDINARY: &[&str] = &[
    "inputs.ints | map('string') | select('ne', '7') | join(',') | length",
    "inputs.ints | select('odd') | map('abs') | reject('even') | list | length",
    "inputs.ints | select('divisibleby', 3) | map('bool') | select | length",
    "inputs.ints | sum",
    "inputs.ints | map('float') | map('round') | map('int') | max",
    "inputs.ints | sort(reverse=true) | first",
    "inputs.ints | unique | length",
    "inputs.ints | reverse | batch(100) | last | length",
    "inputs.people | map(attribute='name') | join(', ') | length",
    "inputs.people | selectattr('tags.a.0', 'gt', 49000) | map(attribute='name') | list | length",
    "inputs.people | sum(attribute='tags.a.1')",
    "inputs.people | sort(attribute='name') | map(attribute='name') | first",
    "inputs.keys | items | length",
    "inputs.texts | map('length') | sum",
    "inputs.ints == inputs.ints[:99999]",
    "inputs.ints | length ×99",
    "inputs.ints[99999] + inputs.ints[-1] ×60",
    "inputs.people | list | first | length ×30",
    "inputs.big == inputs.other ×60",
];

#[test]
fn one_argument_for_many_elements_ends() {
    check(
        ARGUMENTS,
        expect![[r#"
            range(100000) | select('eq', inputs.ints) | list | length  =>  0, 9375 KiB
            range(20000) | map('string') | map('replace', inputs.big, 'x') | list | length  =>  20000, 6893 KiB
            range(20000) | map('string') | map('replace', 'x', inputs.big) | list | length  =>  20000, 5386 KiB
            range(20000) | map('default', inputs.ints, true) | list | length  =>  20000, 10000 KiB
            range(20000) | map('string') | map('trim', inputs.big) | length  =>  too expensive
            range(20000) | map('string') | map('split', inputs.big) | length  =>  20000, 13004 KiB
            range(20000) | map('string') | join(inputs.big) | length  =>  too expensive
            range(20000) | select('in', inputs.ints) | length  =>  too expensive
            range(20000) | map('string') | select('in', inputs.big ~ 'y') | length  =>  too expensive
            range(20000) | map('string') | select('in', inputs.keys) | length  =>  0, 4549 KiB
            range(20000) | map('string') | reject('startingwith', inputs.big) | length  =>  20000, 5243 KiB
            range(20000) | map('string') | reject('endingwith', inputs.big) | length  =>  20000, 5243 KiB
            inputs.people | map(attribute='none', default=inputs.big ~ '') | length  =>  too expensive
        "#]],
    );
}

#[test]
fn large_comparisons_end() {
    check(
        COMPARISONS,
        expect![[r#"
            inputs.wide | max | length  =>  200000, 3125 KiB
            inputs.wide | min | length  =>  1, 3125 KiB
            inputs.wide | sort | length  =>  200001, 65033 KiB
            inputs.wide | select('lt', inputs.wide[0]) | length  =>  200000, 39062 KiB
            inputs.wide == inputs.wide ×30  =>  too expensive
            inputs.people == inputs.people ×30  =>  too expensive
            inputs.big == inputs.big ×300  =>  too expensive
            inputs.big == inputs.other ×300  =>  a value, 51 KiB
            inputs.ints <= inputs.ints ×99  =>  too expensive
            inputs.texts | sort | length ×9  =>  too expensive
            inputs.texts | sort(attribute='0') | length  =>  a string has no field `0`
            inputs.texts | max | length  =>  10004, 627 KiB
            inputs.texts | unique | length ×9  =>  too expensive
            inputs.people | unique | length  =>  50000, 55572 KiB
            inputs.people | sort(attribute='name') | length  =>  50000, 46070 KiB
            inputs.people | min(attribute='tags.a') | length  =>  2, 4150 KiB
            inputs.people | rejectattr('tags', 'eq', inputs.people[0].tags) | length  =>  49999, 43543 KiB
            inputs.people | selectattr('tags.a.0', 'ge', 5) | length  =>  49995, 44370 KiB
            inputs.texts | select('ne', inputs.texts[0]) | length ×50  =>  too expensive
            inputs.texts | select('gt', inputs.texts[0]) | length ×50  =>  too expensive
            inputs.texts | select('le', inputs.texts[0]) | length ×50  =>  a value, 32203 KiB
        "#]],
    );
}

#[test]
fn large_lists_and_maps_end() {
    check(
        LISTS,
        expect![[r#"
            range(4000000)  =>  too expensive
            range(9223372036854775807) | length  =>  too expensive
            range(1000000) | batch(1) | batch(1) | batch(1) | batch(1) | batch(1) | length  =>  too expensive
            range(500000) | batch(1) | batch(1) | batch(1) | batch(1) | batch(1) | length  =>  too expensive
            inputs.lists | map('batch', 1) | map('batch', 1) | map('batch', 1) | length  =>  too expensive
            inputs.lists | map('list') | map('first') | length  =>  50000, 27735 KiB
            inputs.ints | batch(1) ×4  =>  a value, 62500 KiB
            inputs.ints | map('string') | map('split', ',') | length  =>  100000, 58355 KiB
            inputs.people | map('items') | length  =>  50000, 61268 KiB
            inputs.people | map('list') | map('batch', 1) | length  =>  50000, 47266 KiB
            inputs.lists + inputs.lists ×9  =>  too expensive
            inputs.big + inputs.big ×15  =>  too expensive
            inputs.ints ~ inputs.lists ×99  =>  too expensive
            inputs.ints[1:] ×20  =>  too expensive
            inputs.ints[::50000] ×20  =>  a value, 11 KiB
            inputs.big[::2] ×20  =>  too expensive
        "#]],
    );
}

#[test]
fn large_texts_end() {
    check(
        TEXTS,
        expect![[r#"
            inputs.big | replace('x', 'xxxxxxxxxxxxxxxxxx')  =>  too expensive
            inputs.big | split('x')  =>  too expensive
            inputs.big | split('xx') | length  =>  too expensive
            inputs.spaces | replace(' ', '\n') | lines | length  =>  too expensive
            inputs.controls | tojson ×9  =>  too expensive
            [inputs.controls] | string ×9  =>  too expensive
            [inputs.controls] | unique ×9  =>  too expensive
            inputs.people | tojson ×30  =>  too expensive
            inputs.keys | items | length ×9  =>  too expensive
            inputs.keys | dictsort | length ×9  =>  too expensive
            inputs.keys | list | length ×9  =>  a value, 42093 KiB
            inputs.people | reverse ×9  =>  too expensive
            {'a': inputs.people} ×9  =>  too expensive
            inputs.greek | upper ×9  =>  too expensive
            inputs.greek | lower ×9  =>  too expensive
            inputs.greek | title ×9  =>  too expensive
            inputs.greek | capitalize ×9  =>  too expensive
            inputs.greek | reverse ×30  =>  too expensive
            inputs.big | length ×30  =>  too expensive
            inputs.big | count ×30  =>  too expensive
            inputs.big | trim('abcdefghijklmnopqrstuvw')  =>  too expensive
            inputs.spaces | trim ×99  =>  too expensive
            inputs.big is lower ×30  =>  too expensive
            inputs.greek is upper ×30  =>  too expensive
            inputs.big in inputs.big ×30  =>  too expensive
            'y' in inputs.big ×30  =>  too expensive
            inputs.big is startingwith(inputs.big) ×30  =>  too expensive
            inputs.big is endingwith(inputs.big) ×30  =>  too expensive
            {'a': 1}[inputs.big] | d(1) ×30  =>  too expensive
            inputs.big in {'a': 1} ×30  =>  too expensive
            inputs.digits | reject('eq', 0) | map('float') | length ×9  =>  `7777777777777777777777777777777777777777` is not a number
        "#]],
    );
}

#[test]
fn ordinary_expressions_are_cheap_enough() {
    check(
        ORDINARY,
        expect![[r#"
            inputs.ints | map('string') | select('ne', '7') | join(',') | length  =>  588887, 21940 KiB
            inputs.ints | select('odd') | map('abs') | reject('even') | list | length  =>  50000, 13282 KiB
            inputs.ints | select('divisibleby', 3) | map('bool') | select | length  =>  33333, 9115 KiB
            inputs.ints | sum  =>  4999950000, 781 KiB
            inputs.ints | map('float') | map('round') | map('int') | max  =>  99999, 24219 KiB
            inputs.ints | sort(reverse=true) | first  =>  99999, 12500 KiB
            inputs.ints | unique | length  =>  100000, 19227 KiB
            inputs.ints | reverse | batch(100) | last | length  =>  100, 14148 KiB
            inputs.people | map(attribute='name') | join(', ') | length  =>  388888, 7877 KiB
            inputs.people | selectattr('tags.a.0', 'gt', 49000) | map(attribute='name') | list | length  =>  999, 7121 KiB
            inputs.people | sum(attribute='tags.a.1')  =>  1249975000, 5371 KiB
            inputs.people | sort(attribute='name') | map(attribute='name') | first  =>  "n0", 56313 KiB
            inputs.keys | items | length  =>  50000, 12489 KiB
            inputs.texts | map('length') | sum  =>  10004000, 9855 KiB
            inputs.ints == inputs.ints[:99999]  =>  false, 7031 KiB
            inputs.ints | length ×99  =>  a value, 9 KiB
            inputs.ints[99999] + inputs.ints[-1] ×60  =>  a value, 9 KiB
            inputs.people | list | first | length ×30  =>  a value, 3 KiB
            inputs.big == inputs.other ×60  =>  a value, 10 KiB
        "#]],
    );
}

#[test]
fn every_filter_and_every_test_that_looks_at_much_is_in_a_table() {
    let written = [ARGUMENTS, COMPARISONS, LISTS, TEXTS, ORDINARY].concat().join("\n");
    let is_written = |before: &[&str], name: &str| {
        before.iter().any(|before| written.contains(&format!("{before}{name}")))
    };
    let filters = Filter::NAMES.iter().chain(EACH).copied();
    let filters = filters.filter(|name| !is_written(&["| ", "| map('"], name));
    expect![[r#"
        []
    "#]]
    .assert_debug_eq(&filters.collect::<Vec<_>>());
    let looks_at_much =
        ["eq", "ne", "lt", "le", "gt", "ge", "in", "startingwith", "endingwith", "lower", "upper"];
    let tests = looks_at_much.into_iter().filter(|name| {
        assert!(Test::find(name).is_some());
        !is_written(&["is ", "select('", "reject('", "', '"], name)
    });
    expect![[r#"
        []
    "#]]
    .assert_debug_eq(&tests.collect::<Vec<_>>());
}
