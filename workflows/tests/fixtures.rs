//! Every file of `fixtures/` and `catalog/`: the valid ones are accepted, the invalid ones are
//! rejected with exactly the diagnostics beside them. `UPDATE_EXPECT=1` writes those.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail like a test")]

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use skep_workflow::{Style, read};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".skep."))
        .filter(|path| path.extension().is_some_and(|extension| extension != "expected"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn invalid_files_are_rejected_with_the_expected_diagnostics() {
    let files = files("fixtures/invalid");
    assert!(files.len() >= 80, "only {} invalid fixtures", files.len());
    for path in files {
        let source = std::fs::read(&path).unwrap();
        let drawn = match read(&source, &name(&path)) {
            Ok(_) => panic!("{} is accepted", path.display()),
            Err(rejected) => rejected.render(Style::Plain),
        };
        let expected = format!("{}.expected", path.display());
        expect_file![expected].assert_eq(&drawn);
    }
}

#[test]
fn valid_files_are_accepted() {
    for path in files("fixtures/valid").into_iter().chain(files("catalog")) {
        let source = std::fs::read(&path).unwrap();
        if let Err(rejected) = read(&source, &name(&path)) {
            panic!("{}", rejected.render(Style::Plain));
        }
    }
}

#[test]
fn catalog_files_can_be_executed() {
    let files = files("catalog");
    assert!(files.len() >= 5);
    for path in files {
        let workflow = read(&std::fs::read(&path).unwrap(), &name(&path)).unwrap();
        assert!(workflow.warnings().is_empty(), "{}: {:?}", path.display(), workflow.warnings());
    }
}

#[test]
fn every_error_code_has_a_fixture() {
    let mut seen = std::collections::BTreeSet::new();
    for path in files("fixtures/invalid") {
        let Err(rejected) = read(&std::fs::read(&path).unwrap(), "f") else { continue };
        seen.extend(rejected.diagnostics().iter().map(|one| one.code));
    }
    // SK0001 and SK0023 need files that are too big to keep.
    let untested: Vec<String> = skep_workflow::Code::all()
        .filter(|code| !seen.contains(code))
        .map(|code| code.to_string())
        .filter(|code| !["SK0001", "SK0023"].contains(&code.as_str()))
        .collect();
    assert_eq!(untested, Vec::<String>::new());
}
