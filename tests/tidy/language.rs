//! The page of the definition language tells every key that a definition may have, and every word
//! that stands for itself.

use std::collections::BTreeSet;

use serde_json::Value;
use skep_workflow::schema;

use crate::tree;

/// Where the page tells the keys of a type, or its words.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In the first column of the tables of a section.
    Rows(&'static str),
    /// In the row of a key, in a section.
    Row(&'static str, &'static str),
    /// Anywhere in a section.
    Section(&'static str),
}

/// What the schema calls a type, and where the page tells of it; the file itself has no name.
const TOLD: &[(&str, Place)] = &[
    ("", Place::Rows("The file")),
    ("OnFailure", Place::Row("The file", "on_failure")),
    ("Defaults", Place::Row("The file", "defaults")),
    ("Step", Place::Rows("Keys of a step")),
    ("Agent", Place::Row("Keys of a step", "fallback")),
    ("Agent", Place::Row("Keys of a step", "compensate")),
    ("Labels", Place::Row("Keys of a step", "labels")),
    ("WhenOpen", Place::Row("Keys of a step", "when_open")),
    ("StepOnFailure", Place::Row("Keys of a step", "on_failure")),
    ("Until", Place::Row("Kinds of steps", "wait")),
    ("WaitFor", Place::Section("Kinds of steps")),
    ("OnTimeout", Place::Section("Kinds of steps")),
    ("Retry", Place::Rows("Retry")),
    ("Backoff", Place::Row("Retry", "backoff")),
    ("Jitter", Place::Row("Retry", "jitter")),
    ("Breaker", Place::Rows("When a capability fails")),
    ("Supervise", Place::Row("Keys of a step", "supervise")),
    ("Strategy", Place::Rows("Supervision")),
];

/// The keys that say of which kind a step is: they have a table of their own.
const KINDS: (&[&str], Place) =
    (&["agent", "workflow", "wait", "wait_for", "steps"], Place::Rows("Kinds of steps"));

#[test]
fn the_page_tells_every_key_of_the_language() {
    let page = tree::files(".md").into_iter().find(|file| file.path == "workflows/README.md");
    let page = page.expect("the language has a page").text;
    crate::assert_none(untold(&schema::language(), &page));
}

/// Returns what may stand in a definition and is not told where it should be.
fn untold(language: &Value, page: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, words) in types(language) {
        let places: Vec<_> = TOLD.iter().filter(|(told, _)| *told == name).collect();
        if places.is_empty() {
            problems.push(format!("it is not said where the page tells of `{name}`"));
        }
        for (place, word) in places.iter().flat_map(|(_, at)| words.iter().map(move |w| (at, w))) {
            let is_kind = name == "Step" && KINDS.0.contains(&word.as_str());
            let place = if is_kind { KINDS.1 } else { *place };
            if !tells(page, place, word) {
                problems.push(format!("`{word}` of `{name}` is not told: {place:?}"));
            }
        }
    }
    problems
}

/// Returns the types of a schema that have keys, or words of their own, with these.
fn types(language: &Value) -> Vec<(String, BTreeSet<String>)> {
    let named = language["$defs"].as_object().into_iter().flatten();
    let named = named.map(|(name, one)| (name.clone(), one));
    let all = named.chain([(String::new(), language)]);
    all.map(|(name, one)| (name, words(one))).filter(|(_, words)| !words.is_empty()).collect()
}

fn words(one: &Value) -> BTreeSet<String> {
    let keys = one["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone());
    let words = one["enum"].as_array().into_iter().flatten();
    keys.chain(words.filter_map(|word| word.as_str().map(str::to_owned))).collect()
}

fn tells(page: &str, place: Place, word: &str) -> bool {
    let quoted = |text: &str| {
        let inside = text.split('`').skip(1).step_by(2);
        let mut words = inside.flat_map(|code| code.split(|letter: char| !is_of_word(letter)));
        words.any(|told| told == word)
    };
    match place {
        Place::Section(heading) => quoted(section(page, heading)),
        Place::Rows(heading) => rows(page, heading).any(|row| quoted(first_cell(row))),
        Place::Row(heading, key) => {
            let begins = format!("| `{key}");
            let mut of_key = rows(page, heading).filter(|row| {
                row.strip_prefix(&begins).is_some_and(|rest| !rest.starts_with(is_of_word))
            });
            of_key.any(quoted)
        }
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn rows<'a>(page: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    section(page, heading).lines().filter(|line| line.starts_with("| "))
}

fn first_cell(row: &str) -> &str {
    row.trim_start_matches("| ").split(" | ").next().unwrap_or_default()
}

fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let begins = format!("\n## {heading}\n");
    let Some((_, after)) = page.split_once(&begins) else { return "" };
    after.split("\n## ").next().unwrap_or_default()
}

#[test]
fn what_is_not_told_is_seen() {
    let language = serde_json::json!({
        "properties": { "name": {}, "steps": {} },
        "$defs": {
            "Jitter": { "enum": ["full", "none"] },
            "New": { "properties": { "key": {} } },
            "Text": { "type": "string" },
        },
    });
    let page = "\n## The file\n\n| key |\n| `name` | `steps` |\n\
                \n## Retry\n\n| `jitter` | `full` | or none |\n| `jitters` | `none` |\n";
    let expected = [
        "`none` of `Jitter` is not told: Row(\"Retry\", \"jitter\")",
        "it is not said where the page tells of `New`",
        "`steps` of `` is not told: Rows(\"The file\")",
    ];
    assert_eq!(untold(&language, page), expected);
}
