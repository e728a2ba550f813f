//! Files and lines stay short enough to read. Functions are clippy's business.

use crate::tree::{self, File};

/// What a file should not exceed, tests not counted.
const LINES: usize = 400;
/// What no file may exceed, tests not counted.
const HARD_LINES: usize = 600;
const COLUMNS: usize = 100;

/// Files that may lie between the two bounds. This list only shrinks.
const LONG: &[&str] = &[];

fn problems(files: &[File], long: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let lines = file.text.lines().take_while(|line| *line != "mod tests {").count();
        let allowed = long.contains(&file.path.as_str());
        if lines > HARD_LINES || (lines > LINES && !allowed) {
            problems.push(format!("{}: {lines} lines, at most {LINES}", file.path));
        }
        if lines <= LINES && allowed {
            problems.push(format!("{}: short enough, take it off the list", file.path));
        }
        for (number, line) in file.text.lines().enumerate() {
            let place = || format!("{}:{}", file.path, number + 1);
            let columns = line.chars().count();
            if columns > COLUMNS {
                problems.push(format!("{}: {columns} columns, at most {COLUMNS}", place()));
            }
            for leftover in ["dbg!(", "todo!(", "unimplemented!(", "#[ignore", "#[should_panic"] {
                if line.trim_start().starts_with(leftover) {
                    problems.push(format!("{}: a leftover {leftover}", place()));
                }
            }
        }
    }
    problems
}

#[test]
fn files_and_lines_are_short_and_nothing_is_left_over() {
    let mut found = problems(&tree::files(".rs"), LONG);
    for gone in LONG.iter().filter(|path| !tree::root().join(path).exists()) {
        found.push(format!("{gone}: does not exist, take it off the list"));
    }
    crate::assert_none(found);
}

#[test]
fn long_files_and_leftovers_are_seen() {
    let file = |text: String| [File { path: "x.rs".to_owned(), text }];
    let lines = |n| "//\n".repeat(n);
    assert!(problems(&file(lines(LINES)), &[]).is_empty());
    assert_eq!(problems(&file(lines(401)), &[]), ["x.rs: 401 lines, at most 400"]);
    assert!(problems(&file(lines(401)), &["x.rs"]).is_empty());
    assert_eq!(problems(&file(lines(601)), &["x.rs"]), ["x.rs: 601 lines, at most 400"]);
    assert_eq!(problems(&file(lines(3)), &["x.rs"]), ["x.rs: short enough, take it off the list"]);
    assert!(problems(&file(lines(300) + "mod tests {\n" + &lines(500)), &[]).is_empty());
    assert_eq!(problems(&file("x".repeat(101)), &[]), ["x.rs:1: 101 columns, at most 100"]);
    let leftover = ["    dbg", "!(x)\n"].concat();
    assert_eq!(problems(&file(leftover), &[]), ["x.rs:1: a leftover dbg!("]);
}
