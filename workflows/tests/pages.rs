//! The definitions that the pages for users show: each `yaml` block is a whole definition or a map
//! of steps, and all of them are valid.

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
                    let notes = workflow.warnings().iter().chain(workflow.unsupported());
                    notes.for_each(|note| writeln!(problems, "{name}: {}", note.message).unwrap());
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems}");
}
