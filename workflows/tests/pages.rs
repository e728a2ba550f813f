//! The definitions that the pages for users show. Those of the guides are valid: each `yaml` block
//! is a whole definition or a map of steps. Those of the pages of codes are wrong and right.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like a test")]

use std::fmt::Write as _;
use std::path::Path;

use skep_workflow::{Style, read};

/// The pages, and how many definitions each of them has at least.
const PAGES: &[(&str, usize)] =
    &[("README.md", 1), ("workflows/README.md", 5), ("agents/stock/README.md", 2)];

/// Returns the `yaml` blocks of a page, each with the line that it begins at.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match &mut open {
            None if line.trim_end() == "```yaml" => open = Some((number, String::new())),
            None => {}
            Some(_) if line.trim_end() == "```" => blocks.extend(open.take()),
            Some((_, text)) => writeln!(text, "{line}").unwrap(),
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// Returns a block as a definition: steps that stand alone get a workflow around them.
fn definition(block: &str) -> String {
    let whole = block.lines().any(|line| line.starts_with("name:"));
    if whole {
        return block.to_owned();
    }
    let mut text = "name: page\nsteps:\n".to_owned();
    block.lines().for_each(|line| writeln!(text, "  {line}").unwrap());
    text
}

#[test]
fn definitions_on_pages_are_valid() {
    let mut problems = String::new();
    for (page, least) in PAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
        let blocks = blocks(&std::fs::read_to_string(path).unwrap());
        assert!(blocks.len() >= *least, "only {} blocks in {page}", blocks.len());
        for (line, block) in blocks {
            let name = format!("{page}, block at line {line}");
            match read(definition(&block).as_bytes(), &name) {
                Err(rejected) => problems.push_str(&rejected.render(Style::Plain)),
                Ok(workflow) => {
                    let notes = workflow.warnings().iter();
                    notes.for_each(|note| writeln!(problems, "{name}: {}", note.message).unwrap());
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems}");
}

/// Codes whose wrong example is told in a comment: it would be too long, or no text, or there is
/// none in this version.
const TOLD: &[&str] = &["SK0001", "SK0002", "SK0023", "SK0028"];

/// Returns an example as a definition in each way in which it may be meant.
fn meanings(example: &str) -> Vec<String> {
    let indented = |by: &str| -> String {
        let mut text = String::new();
        example.lines().for_each(|line| writeln!(text, "{by}{line}").unwrap());
        text
    };
    vec![
        example.to_owned(),
        format!("name: demo\n{example}"),
        format!("name: demo\nsteps: {{ a: {{ agent: x }} }}\n{example}"),
        format!("name: demo\nsteps:\n{}", indented("  ")),
        format!("name: demo\nsteps:\n  z:\n    agent: x\n{}", indented("    ")),
        format!("name: demo\nsteps:\n  z:\n{}", indented("    ")),
    ]
}

fn has_code(definition: &str, code: &str) -> bool {
    let found = match read(definition.as_bytes(), "page") {
        Err(rejected) => rejected.diagnostics().to_vec(),
        Ok(workflow) => workflow.warnings().to_vec(),
    };
    found.iter().any(|one| one.code.to_string() == code)
}

#[test]
fn pages_of_codes_show_what_is_wrong_and_what_is_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("codes");
    let mut problems = Vec::new();
    for code in skep_workflow::Code::all().map(|code| code.to_string()) {
        let page = std::fs::read_to_string(folder.join(format!("{code}.md"))).unwrap();
        let blocks = blocks(&page);
        let [(_, wrong), (_, right)] = &blocks[..] else {
            problems.push(format!("{code} has {} examples", blocks.len()));
            continue;
        };
        let meant = meanings(wrong).iter().position(|text| has_code(text, &code));
        match meant {
            None if TOLD.contains(&code.as_str()) => {}
            None => problems.push(format!("the wrong example of {code} does not give it")),
            Some(meant) if has_code(&meanings(right)[meant], &code) => {
                problems.push(format!("the right example of {code} gives it too"));
            }
            Some(_) => {}
        }
    }
    assert_eq!(problems, Vec::<String>::new());
}
