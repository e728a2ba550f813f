//! What holds for every definition, however it was made.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like a test")]

use std::fmt::Write as _;

use proptest::prelude::*;
use skep_workflow::{Workflow, read};

fn fixtures() -> Vec<Vec<u8>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["fixtures/valid", "fixtures/invalid", "catalog"] {
        let mut paths: Vec<_> = std::fs::read_dir(format!("{root}/{folder}"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension != "expected"))
            .collect();
        paths.sort();
        files.extend(paths.iter().map(|path| std::fs::read(path).unwrap()));
    }
    files.retain(|file| file.len() < 20_000);
    files
}

/// Tells what reading gives, as text.
fn outcome(source: &[u8]) -> String {
    match read(source, "p") {
        Ok(workflow) => format!("{:?}", workflow.steps()),
        Err(rejected) => serde_json::to_string(rejected.diagnostics()).unwrap(),
    }
}

/// Writes a graph in which each step needs or reads some of those before it.
fn graph(edges: &[Vec<usize>]) -> String {
    let mut text = String::from("name: graph\nsteps:\n");
    for (step, needs) in edges.iter().enumerate() {
        let needs: Vec<usize> =
            needs.iter().map(|need| need % edges.len()).filter(|need| *need < step).collect();
        let (written, read) = needs.split_at(needs.len() / 2);
        let written: Vec<String> = written.iter().map(|need| format!("s{need}")).collect();
        let read: Vec<String> =
            read.iter().map(|need| format!("\"${{{{ steps.s{need}.output }}}}\"")).collect();
        let _ = writeln!(
            text,
            "  s{step}: {{ agent: x, needs: [{}], with: [{}] }}",
            written.join(", "),
            read.join(", ")
        );
    }
    text
}

fn check_graph(workflow: &Workflow) -> Result<(), TestCaseError> {
    for step in workflow.steps() {
        prop_assert_eq!(workflow.find(step.id()), Some(step.index()));
        for need in step.needs() {
            let need = workflow.step(*need);
            prop_assert_eq!(need.parent(), step.parent());
            prop_assert!(need.rank() < step.rank());
            prop_assert!(need.dependents().contains(&step.index()));
        }
        for dependent in step.dependents() {
            prop_assert!(workflow.step(*dependent).needs().contains(&step.index()));
        }
        for read in step.reads() {
            prop_assert!(workflow.step(*read).readers().contains(&step.index()));
        }
        for child in step.children() {
            prop_assert_eq!(workflow.step(*child).parent(), Some(step.index()));
        }
        prop_assert!(step.needs().is_sorted() && step.dependents().is_sorted());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(outcome(&bytes), outcome(&bytes));
    }

    #[test]
    fn mutated_fixtures_are_read_without_panic_and_always_the_same(
        which: prop::sample::Index,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let files = fixtures();
        let mut file = which.get(&files).clone();
        for (at, byte, how) in edits {
            if file.is_empty() {
                break;
            }
            let at = at.index(file.len());
            match how {
                0 => file[at] = byte,
                1 => file.insert(at, b" \n:{}[]\"'-&*!|>%@`#,"[usize::from(byte) % 20]),
                _ => {
                    file.remove(at);
                }
            }
        }
        prop_assert_eq!(outcome(&file), outcome(&file));
        if let Ok(workflow) = read(&file, "p") {
            check_graph(&workflow)?;
        }
    }

    #[test]
    fn edges_and_order_fit(
        edges in prop::collection::vec(prop::collection::vec(0usize..50, 0..4), 1..40),
    ) {
        let workflow = read(graph(&edges).as_bytes(), "p").unwrap();
        prop_assert_eq!(workflow.steps().len(), edges.len());
        check_graph(&workflow)?;
    }
}

#[test]
fn the_graph_of_every_fixture_fits() {
    for file in fixtures() {
        if let Ok(workflow) = read(&file, "p") {
            check_graph(&workflow).unwrap();
        }
    }
}
