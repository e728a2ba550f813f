//! The `corpus` agents on a small tree with bad files, through the SDK.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use expect_test::{expect, expect_file};
use serde_json::json;

use crate::harness::Corpus;

#[tokio::test]
async fn a_report_names_what_was_found_and_what_was_left_out() {
    let corpus = Corpus::new();
    let report = corpus.run("one", |_| ()).await;
    let markdown = report["markdown"].as_str().unwrap();
    expect_file!["golden/report.md"].assert_eq(markdown);
    let path = corpus.home.path().join("reports/report.md");
    assert_eq!(report["path"], path.to_str().unwrap());
    assert_eq!(fs::read_to_string(path).unwrap(), markdown);
    let left: Vec<_> = fs::read_dir(corpus.home.path().join("state")).unwrap().collect();
    assert_eq!(left.len(), 0, "the index is forgotten");
}

#[tokio::test]
async fn neither_order_nor_repetition_changes_the_report() {
    let corpus = Corpus::new();
    let plain = corpus.run("plain", |_| ()).await;
    let backwards = corpus.run("backwards", |places| places.reverse()).await;
    assert_eq!(plain, backwards);
    let often = corpus.run("often", |places| *places = places.repeat(3)).await;
    assert_eq!(plain, often);
}

#[tokio::test]
async fn discover_lists_files_and_counts_what_it_passes_by() {
    let corpus = Corpus::new();
    for (task, expected) in [
        (
            json!({ "directory": "." }),
            expect![[r#"
                files: ["blank.txt","changelog.gz","copy of hives.md","deep/er/journal.txt","empty.txt","hives.md","huge.txt","latin.txt","target/left-out.md","zeros.bin"]
                count: 10
                truncated: false
                passed_by: {"links":3,"special":1,"unreadable":0,"unnameable":0}
            "#]],
        ),
        (
            json!({ "directory": ".", "include": ["*.md"], "exclude": ["target/"], "limit": 1 }),
            expect![[r#"
                files: ["copy of hives.md"]
                count: 1
                truncated: true
                passed_by: {"links":0,"special":0,"unreadable":0,"unnameable":0}
            "#]],
        ),
        (
            json!({ "directory": "deep/er" }),
            expect![[r#"
                files: ["journal.txt"]
                count: 1
                truncated: false
                passed_by: {"links":0,"special":0,"unreadable":0,"unnameable":0}
            "#]],
        ),
        (
            json!({ "directory": "in" }),
            expect![[r#"
                files: ["er/journal.txt"]
                count: 1
                truncated: false
                passed_by: {"links":0,"special":0,"unreadable":0,"unnameable":0}
            "#]],
        ),
    ] {
        corpus.check("corpus-discover", task, expected).await;
    }
}

#[tokio::test]
async fn what_cannot_be_discovered_is_a_failure() {
    let corpus = Corpus::new();
    for (task, expected) in [
        (
            json!({ "directory": ".." }),
            expect![
                "fatal outside_root: `..` is not below a directory that the operator of this \
                 agent allows: HOME/tree (`--root DIR` allows another)"
            ],
        ),
        (
            json!({ "directory": "out" }),
            expect![
                "fatal outside_root: `out` is not below a directory that the operator of this \
                 agent allows: HOME/tree (`--root DIR` allows another)"
            ],
        ),
        (
            json!({ "directory": "/etc" }),
            expect![
                "fatal outside_root: `/etc` is not below a directory that the operator of this \
                 agent allows: HOME/tree (`--root DIR` allows another)"
            ],
        ),
        (
            json!({ "directory": "missing" }),
            expect![
                "fatal no_directory: cannot read the directory `missing`: \
                 No such file or directory (os error 2)"
            ],
        ),
        (
            json!({ "directory": "hives.md" }),
            expect!["fatal no_directory: cannot read the directory `hives.md`: not a directory"],
        ),
        (
            json!({ "directory": ".", "include": ["["] }),
            expect![
                "fatal invalid_input: error parsing glob '[': unclosed character class; missing ']'"
            ],
        ),
    ] {
        corpus.check("corpus-discover", task, expected).await;
    }
}

#[tokio::test]
async fn a_bad_file_is_a_failure_with_its_reason() {
    let corpus = Corpus::new();
    corpus.perform("corpus-open", json!({ "index": "one" })).await.unwrap();
    let task = |file: &str| json!({ "index": "one", "directory": ".", "file": file });
    for (file, expected) in [
        (
            "hives.md",
            expect![[r#"
                file: "hives.md"
                bytes: 180
                passages: 2
            "#]],
        ),
        ("empty.txt", expect!["fatal empty_file: `empty.txt`: it is empty"]),
        ("blank.txt", expect!["fatal empty_file: `blank.txt`: it is empty"]),
        ("zeros.bin", expect!["fatal binary_file: `zeros.bin`: it is binary"]),
        ("changelog.gz", expect!["fatal binary_file: `changelog.gz`: it is binary"]),
        ("latin.txt", expect!["fatal invalid_utf8: `latin.txt`: it is not UTF-8"]),
        ("huge.txt", expect!["fatal file_too_large: `huge.txt`: it is larger than 4000 bytes"]),
        (
            "missing.txt",
            expect![
                "fatal unreadable_file: `missing.txt`: it cannot be read: \
                 No such file or directory (os error 2)"
            ],
        ),
        (
            "missing/file.txt",
            expect![
                "fatal unreadable_file: `missing/file.txt`: it cannot be read: \
                 No such file or directory (os error 2)"
            ],
        ),
        ("deep", expect!["fatal unreadable_file: `deep`: it cannot be read: not a regular file"]),
        ("pipe", expect!["fatal unreadable_file: `pipe`: it cannot be read: not a regular file"]),
        (
            "link.txt",
            expect![
                "fatal unreadable_file: `link.txt`: it cannot be read: \
                 Too many levels of symbolic links (os error 40)"
            ],
        ),
        (
            "out/secret.txt",
            expect!["fatal outside_root: `out/secret.txt` is not a path below the directory"],
        ),
        (
            "../secret.txt",
            expect!["fatal outside_root: `../secret.txt` is not a path below the directory"],
        ),
        (
            "/etc/passwd",
            expect!["fatal outside_root: `/etc/passwd` is not a path below the directory"],
        ),
        ("", expect!["fatal outside_root: `` is not a path below the directory"]),
    ] {
        corpus.check("corpus-ingest", task(file), expected).await;
    }
}

/// An attempt put a file in, its report was lost, and no later one succeeded.
#[tokio::test]
async fn what_is_left_out_is_not_quoted() {
    let corpus = Corpus::new();
    corpus.perform("corpus-open", json!({ "index": "one" })).await.unwrap();
    let ingest = json!({ "index": "one", "directory": ".", "file": "deep/er/journal.txt" });
    corpus.perform("corpus-ingest", ingest).await.unwrap();
    let search = json!({ "index": "one", "question": "journal" });
    let found = corpus.perform("corpus-search", search.clone()).await.unwrap();
    assert_eq!(found["passages"].as_array().unwrap().len(), 1);
    for _ in 0..2 {
        corpus
            .check(
                "corpus-summary",
                json!({ "index": "one", "files": ["deep/er/journal.txt"], "ingested": [null] }),
                expect![[r#"
                    files: 1
                    indexed: 0
                    passages: 0
                    bytes: 0
                    bad: 1
                    bad_by_reason: {"not_processed":1}
                    examples: {"not_processed":["deep/er/journal.txt"]}
                "#]],
            )
            .await;
    }
    let found = corpus.perform("corpus-search", search).await.unwrap();
    assert_eq!(found["passages"], json!([]));
}

/// Root reads everything.
#[tokio::test]
async fn a_file_that_may_not_be_read_is_unreadable() {
    let corpus = Corpus::new();
    let path = corpus.home.path().join("tree/hives.md");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        return;
    }
    corpus.perform("corpus-open", json!({ "index": "one" })).await.unwrap();
    let task = json!({ "index": "one", "directory": ".", "file": "hives.md" });
    let failure = corpus.perform("corpus-ingest", task).await.unwrap_err();
    assert_eq!((failure.code(), failure.is_retryable()), ("unreadable_file", false));
}

#[tokio::test]
async fn an_index_has_to_be_there() {
    let corpus = Corpus::new();
    let task = json!({ "index": "none", "directory": ".", "file": "hives.md" });
    corpus
        .check(
            "corpus-ingest",
            task,
            expect!["fatal unknown_index: there is no index `none`: `corpus-open` makes one"],
        )
        .await;
    corpus
        .check(
            "corpus-search",
            json!({ "index": "none", "question": "?" }),
            expect!["fatal unknown_index: there is no index `none`: `corpus-open` makes one"],
        )
        .await;
    corpus
        .check(
            "corpus-open",
            json!({ "index": "../one" }),
            expect![
                "fatal invalid_input: `../one` is no name of an index: \
                 1 to 64 of A-Z a-z 0-9 _ - are"
            ],
        )
        .await;
    fs::write(corpus.home.path().join("state"), "a file in the way").unwrap();
    corpus
        .check(
            "corpus-open",
            json!({ "index": "one" }),
            expect![
                "retryable index_broken: cannot keep indexes in the state directory: \
                 File exists (os error 17)"
            ],
        )
        .await;
}

#[tokio::test]
async fn a_broken_index_is_a_failure() {
    let corpus = Corpus::new();
    let state = corpus.home.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("one.sqlite"), "this is no database".repeat(100)).unwrap();
    corpus
        .check(
            "corpus-search",
            json!({ "index": "one", "question": "hive" }),
            expect![
                "fatal index_damaged: the index is damaged: file is not a database: \
                 Error code 26: file is not a database"
            ],
        )
        .await;
}

#[tokio::test]
async fn a_report_stays_where_the_operator_says() {
    let corpus = Corpus::new();
    let summary = json!({
        "files": 0, "indexed": 0, "passages": 0, "bytes": 0, "bad": 0, "bad_by_reason": {},
        "examples": {},
    });
    let task = |file: &str| {
        json!({
            "file": file, "title": "t", "directory": ".", "summary": summary, "answers": [],
        })
    };
    corpus
        .check(
            "corpus-report",
            task("../report.md"),
            expect![
                "fatal invalid_input: `../report.md` is no relative path of a file that ends in .md"
            ],
        )
        .await;
    fs::write(corpus.home.path().join("reports"), "a file in the way").unwrap();
    corpus
        .check(
            "corpus-report",
            task("report.md"),
            expect![
                "retryable report_not_written: cannot write the report: File exists (os error 17)"
            ],
        )
        .await;
    assert!(!Path::new(corpus.home.path()).join("report.md").exists());
}
