//! What the documents promise is there, and what is there is in the documents.

use std::collections::BTreeSet;
use std::fs;

use crate::tree;

fn read(path: &str) -> String {
    fs::read_to_string(tree::root().join(path)).unwrap_or_else(|_| panic!("{path} is missing"))
}

fn folders(path: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(tree::root().join(path)).expect("the folder is there");
    let entries = entries.map(|entry| entry.expect("entries can be read"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Returns the members of `all` that `text` does not name in backquotes or as a link.
fn unnamed(all: impl IntoIterator<Item = String>, text: &str) -> Vec<String> {
    all.into_iter().filter(|name| !text.contains(name.as_str())).collect()
}

#[test]
fn the_visible_root_is_what_it_was_fixed_to_be() {
    let fixed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "agents",
        "examples",
        "runtime",
        "target",
        "tests",
        "workflows",
    ];
    let entries = fs::read_dir(tree::root()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let extra: Vec<_> = names
        .filter(|name| !name.starts_with('.') && !fixed.contains(&name.as_str()))
        .map(|name| format!("{name} does not belong at the root"))
        .collect();
    crate::assert_none(extra);
}

#[test]
fn the_code_map_names_every_crate_and_every_module() {
    let map = read("runtime/ARCHITECTURE.md");
    assert!(map.lines().count() <= 300, "ARCHITECTURE.md has more than 300 lines");
    let crates = tree::files("Cargo.toml").into_iter().filter_map(|manifest| {
        let folder = manifest.path.strip_suffix("/Cargo.toml")?.to_owned();
        (!folder.starts_with("examples/")).then_some(folder)
    });
    let missing = unnamed(crates, &map);
    crate::assert_none(missing.iter().map(|name| format!("the map lacks `{name}`")).collect());
}

#[test]
fn every_folder_that_the_code_map_names_exists() {
    let map = read("runtime/ARCHITECTURE.md");
    let named = map.split('`').skip(1).step_by(2).filter(|word| {
        let roots = ["runtime/", "workflows/", "agents/", "tests/", "examples/"];
        roots.iter().any(|root| word.starts_with(root)) && !word.contains(['*', '<', ' '])
    });
    let gone = named.filter(|path| !tree::root().join(path).exists());
    crate::assert_none(gone.map(|path| format!("the map names `{path}`, which is gone")).collect());
}

#[test]
fn every_example_is_listed() {
    let list = read("examples/README.md");
    let missing = unnamed(folders("examples"), &list);
    crate::assert_none(missing.iter().map(|name| format!("no word of `{name}`")).collect());
}

#[test]
fn every_diagnostic_code_has_a_page_and_every_page_a_code() {
    let source: String = tree::files(".rs")
        .into_iter()
        .filter(|file| file.path.starts_with("workflows/src"))
        .map(|file| file.text)
        .collect();
    let codes: BTreeSet<String> = source
        .match_indices("SK0")
        .filter_map(|(at, _)| source.get(at..at + 6))
        .filter(|code| code[2..].bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect();
    assert!(codes.len() > 10, "the search for codes is broken: {codes:?}");
    let pages: BTreeSet<String> = tree::files(".md")
        .into_iter()
        .filter_map(|file| {
            let name = file.path.strip_prefix("workflows/codes/")?.strip_suffix(".md")?.to_owned();
            name.starts_with("SK").then_some(name)
        })
        .collect();
    let lacking = codes.difference(&pages).map(|code| format!("{code} has no page"));
    let orphans = pages.difference(&codes).map(|code| format!("no code for the page {code}"));
    crate::assert_none(lacking.chain(orphans).collect());
}

#[test]
fn every_decision_has_its_four_parts() {
    let decisions: Vec<_> = tree::files(".md")
        .into_iter()
        .filter(|file| file.path.starts_with("runtime/decisions/"))
        .collect();
    assert!(decisions.len() >= 6, "the first six decisions are written down");
    let mut problems = Vec::new();
    for file in decisions {
        for part in ["## Context", "## Decision", "## Consequences", "## Revisit when"] {
            if !file.text.contains(part) {
                problems.push(format!("{} lacks `{part}`", file.path));
            }
        }
    }
    crate::assert_none(problems);
}

#[test]
fn names_that_are_missing_are_seen() {
    let all = ["runtime/engine".to_owned(), "runtime/new".to_owned()];
    assert_eq!(unnamed(all, "`runtime/engine` decides"), ["runtime/new".to_owned()]);
}
