//! Arrows between crates point down, and each crate uses only what it may.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{self, File};

/// Our crates and their layers. An arrow goes from a higher layer to a lower one, never sideways.
const LAYERS: &[(&str, u8)] = &[
    ("skep-workflow", 0),
    ("skep-protocol", 1),
    ("skep-engine", 2),
    ("skep-broker", 2),
    ("skep-nats", 3),
    ("skep-coordinator", 3),
    ("skep-agent", 4),
    ("skep-agents", 5),
    ("skep-testkit", 5),
    ("skep", 6),
    ("skep-tests", 7),
    ("skep-sim", 7),
    ("skep-benches", 7),
    ("xtask", 7),
];

/// What only some crates may use, as normal dependencies.
const RESERVED: &[(&str, &[&str])] = &[
    ("petgraph", &["skep-workflow"]),
    ("serde-saphyr", &["skep-workflow"]),
    ("minijinja", &["skep-workflow"]),
    ("jsonschema", &["skep-workflow"]),
    ("schemars", &["skep-workflow"]),
    ("miette", &["skep-workflow"]),
    ("dashmap", &["skep-coordinator"]),
    ("async-nats", &["skep-nats"]),
    ("rusqlite", &["skep-coordinator", "skep-agents"]),
    ("reqwest", &["skep-agents"]),
    ("clap", &["skep", "xtask"]),
    ("anyhow", &["skep", "xtask", "skep-tests"]),
];

/// What pure crates never use: no clock, no I/O, no threads, no logging.
const IMPURE: &[&str] = &["tokio", "tokio-util", "tracing", "async-nats", "rusqlite", "reqwest"];
const PURE: &[&str] = &["skep-workflow", "skep-protocol", "skep-engine"];

/// An arrow that agents must not have.
const NEVER: &[(&str, &str)] = &[("skep-agent", "skep-engine"), ("skep-agents", "skep-engine")];

struct Manifest {
    name: String,
    dependencies: BTreeSet<String>,
    dev_dependencies: BTreeSet<String>,
}

fn parse(file: &File) -> Option<Manifest> {
    let table: toml::Table = file.text.parse().expect("manifests are TOML");
    let name = table.get("package")?.get("name")?.as_str()?.to_owned();
    let keys = |section: &str| match table.get(section).and_then(toml::Value::as_table) {
        Some(table) => table.keys().cloned().collect(),
        None => BTreeSet::new(),
    };
    let (dependencies, dev_dependencies) = (keys("dependencies"), keys("dev-dependencies"));
    Some(Manifest { name, dependencies, dev_dependencies })
}

fn problems(manifests: &[Manifest]) -> Vec<String> {
    let layers: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let mut problems = Vec::new();
    for Manifest { name, dependencies, dev_dependencies } in manifests {
        let Some(layer) = layers.get(name.as_str()) else {
            problems.push(format!("{name} has no layer: give it one in tests/tidy/layers.rs"));
            continue;
        };
        for other in dependencies {
            let other = other.as_str();
            if layers.get(other).is_some_and(|below| below >= layer) {
                problems.push(format!("{name} (layer {layer}) must not depend on {other}"));
            }
            if PURE.contains(&name.as_str()) && IMPURE.contains(&other) {
                problems.push(format!("{name} is pure and must not use {other}"));
            }
            if NEVER.contains(&(name.as_str(), other)) {
                problems.push(format!("{name} must never link {other}"));
            }
            let reserved = RESERVED.iter().find(|(dependency, _)| *dependency == other);
            if reserved.is_some_and(|(_, users)| !users.contains(&name.as_str())) {
                problems.push(format!("{name} must not use {other}"));
            }
        }
        if dev_dependencies.contains("skep-tests") {
            problems.push(format!("{name} must not depend on skep-tests"));
        }
    }
    problems
}

#[test]
fn arrows_point_down_and_reserved_dependencies_stay_where_they_belong() {
    let manifests: Vec<_> = tree::files("Cargo.toml").iter().filter_map(parse).collect();
    assert!(manifests.len() >= LAYERS.len(), "a crate of the table is gone");
    crate::assert_none(problems(&manifests));
}

#[test]
fn wrong_arrows_are_seen() {
    let manifest = |text: &str| {
        parse(&File { path: "x/Cargo.toml".to_owned(), text: text.to_owned() }).unwrap()
    };
    let red = |text: &str, expected: &str| {
        let found = problems(&[manifest(text)]);
        assert_eq!(found, [expected.to_owned()], "{text}");
    };
    red(
        "[package]\nname = 'skep-protocol'\n[dependencies]\nskep-engine = {}",
        "skep-protocol (layer 1) must not depend on skep-engine",
    );
    red(
        "[package]\nname = 'skep-nats'\n[dependencies]\nskep-coordinator = {}",
        "skep-nats (layer 3) must not depend on skep-coordinator",
    );
    red(
        "[package]\nname = 'skep-engine'\n[dependencies]\ntokio = {}",
        "skep-engine is pure and must not use tokio",
    );
    red(
        "[package]\nname = 'skep-agent'\n[dependencies]\nskep-engine = {}",
        "skep-agent must never link skep-engine",
    );
    red(
        "[package]\nname = 'skep-broker'\n[dependencies]\npetgraph = {}",
        "skep-broker must not use petgraph",
    );
    red(
        "[package]\nname = 'skep-new'\n",
        "skep-new has no layer: give it one in tests/tidy/layers.rs",
    );
}

#[test]
fn every_shared_dependency_says_what_it_is_for() {
    let root = std::fs::read_to_string(tree::root().join("Cargo.toml")).unwrap();
    let section = root.split("[workspace.dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    crate::assert_none(without_reason(section));
    let red = "\n# Because.\na = \"1\"\nb = \"2\"\n\nc = \"3\"\n";
    assert_eq!(without_reason(red), ["c: no comment says what it is for"]);
}

/// A comment covers the block of lines up to the next empty line or comment.
fn without_reason(section: &str) -> Vec<String> {
    let mut covered = false;
    let mut problems = Vec::new();
    for line in section.lines() {
        if line.starts_with('#') {
            covered = true;
        } else if line.is_empty() {
            covered = false;
        } else if !covered {
            let name = line.split_once(" =").map_or(line, |(name, _)| name);
            problems.push(format!("{name}: no comment says what it is for"));
        }
    }
    problems
}
