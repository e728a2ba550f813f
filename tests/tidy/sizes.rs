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
        let mut expectation = Expectation::default();
        for (number, line) in file.text.lines().enumerate() {
            let place = || format!("{}:{}", file.path, number + 1);
            let columns = line.chars().count();
            let expected = expectation.holds(line);
            if columns > COLUMNS && !expected {
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

/// Follows a file into the expectations of its tests. expect-test writes what is between
/// `expect![[r#"` and `"#]]`, so that nobody can wrap it.
#[derive(Default)]
struct Expectation {
    end: Option<String>,
}

impl Expectation {
    /// Tells whether the next line is expected output.
    fn holds(&mut self, line: &str) -> bool {
        let Some(end) = self.end.take() else {
            self.end = Self::opened(line);
            return false;
        };
        let output = !line.trim_start().starts_with(&end);
        self.end = Some(end).filter(|end| !line.contains(end));
        output
    }

    /// Returns what ends the expectation that begins with the next line.
    fn opened(line: &str) -> Option<String> {
        let (_, hashes) = line.strip_suffix('"')?.rsplit_once("expect![[r")?;
        hashes.bytes().all(|byte| byte == b'#').then(|| format!("\"{hashes}]]"))
    }
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

#[test]
fn only_expected_output_may_be_wide() {
    let seen = |lines: [&str; 5]| -> Vec<usize> {
        let text = lines.join("\n").replace("WIDE", &"x".repeat(101));
        let problems = problems(&[File { path: "x.rs".to_owned(), text }], &[]);
        problems.iter().filter_map(|problem| problem[5..].split(':').next()?.parse().ok()).collect()
    };
    let check = |lines, wide: &[usize]| assert_eq!(seen(lines), wide);
    check(["check(expect![[r#\"", "WIDE", "\"", "    WIDE", "    \"#]])"], &[]);
    check(["expect![[r##\"", "WIDE\"#]]", "WIDE", "    \"##]];", "WIDE"], &[5]);
    check(["expect![[r#\"", "", "WIDE\"#]]", "WIDE", ""], &[4]);
    check(["WIDE expect![[r#\"", "WIDE", "\"#]] WIDE", "WIDE", ""], &[1, 3, 4]);
    check(["expect![[r#\"WIDE\"#]]", "WIDE", "\"#]]", "", ""], &[1, 2]);
}
