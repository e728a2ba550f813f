//! Golden runs: a definition and inputs as text, and what followed. `UPDATE_EXPECT=1` writes it.
//!
//! Every input is handled three ways: by the partition as it went on, by one replayed from the
//! first record, and by one restored from a snapshot; and the journal is cut inside what followed.

use std::path::{Path, PathBuf};

use expect_test::expect_file;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Returns the files of all golden runs, in order.
pub(crate) fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

#[test]
fn golden_runs() {
    let files = files();
    assert!(files.len() >= 30, "{} golden runs", files.len());
    let failed: Vec<_> = files.into_iter().filter(|file| !holds(file)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Plays one file; the others are played even if it fails.
fn holds(file: &Path) -> bool {
    let play = || {
        let text = std::fs::read_to_string(file).unwrap();
        expect_file![file].assert_eq(&super::script::play(&text));
    };
    std::panic::catch_unwind(play).is_ok()
}
