//! The `corpus` agents on a small tree with bad files, through the SDK.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use expect_test::{Expect, expect, expect_file};
use serde_json::{Value, json};
use skep_agent::{Agent, Failure};
use skep_agents::Stock;
use skep_agents::corpus::CorpusConfig;
use tempfile::TempDir;

const QUESTIONS: [&str; 3] =
    ["How is a hive woven?", "Who may open the journal?", "Where do submarines dive?"];

/// A directory to read, `tree`, beside what the agent writes.
struct Corpus {
    home: TempDir,
    agent: Agent,
}

impl Corpus {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let mut config = CorpusConfig::new(at("tree"), at("state"), at("reports"));
        config.max_file_bytes = 4_000;
        let stock = Stock { corpus: Some(config), ..Stock::default() };
        let agent = stock.agents().unwrap().remove(0);
        let corpus = Self { home, agent };
        corpus.plant();
        corpus
    }

    fn plant(&self) {
        let file = |name: &str, bytes: &[u8]| {
            let path = self.home.path().join("tree").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let hives = "# Hives\n\nA skep is a hive woven of straw. It has no frames.\n\n## Weaving\n\n\
                     Straw is twisted into a rope, and the rope is sewn into a spiral, so that a \
                     woven hive keeps\ndry and warm.\n";
        file("hives.md", hives.as_bytes());
        file("copy of hives.md", hives.as_bytes());
        file("deep/er/journal.txt", b"Only the owner may open the journal.\nOthers wait.\n");
        file("empty.txt", b"");
        file("blank.txt", b"\n \n");
        file("zeros.bin", b"a\0b");
        file("changelog.gz", &[0x1f, 0x8b, 8, 0]);
        file("latin.txt", b"caf\xe9");
        file("huge.txt", "word ".repeat(1000).as_bytes());
        file("target/left-out.md", b"submarines dive");
        file(".hidden.md", b"submarines dive");
        file("../secret.txt", b"submarines dive in secret");
        let at = |name: &str| self.home.path().join("tree").join(name);
        symlink(at("../secret.txt"), at("link.txt")).unwrap();
        symlink(self.home.path(), at("out")).unwrap();
        symlink(at("deep"), at("in")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    }

    async fn perform(&self, capability: &str, input: Value) -> Result<Value, Failure> {
        self.agent.perform(capability, input).await
    }

    async fn check(&self, capability: &str, input: Value, expected: Expect) {
        let shown = match self.perform(capability, input).await {
            Ok(output) => output.to_string(),
            Err(failure) => {
                let retry = if failure.is_retryable() { "retryable" } else { "fatal" };
                format!("{retry} {failure}")
            }
        };
        expected.assert_eq(&shown.replace(self.home.path().to_str().unwrap(), "HOME"));
    }

    /// Does what the definition in `examples/corpus` says; files are taken in the order of `order`.
    async fn run(&self, index: &str, order: impl Fn(&mut Vec<usize>)) -> Value {
        let name = json!({ "index": index });
        self.perform("corpus-open", name.clone()).await.unwrap();
        let task = json!({ "directory": ".", "exclude": ["target"] });
        let files = self.perform("corpus-discover", task).await.unwrap()["files"].clone();
        let mut places: Vec<usize> = (0..files.as_array().unwrap().len()).collect();
        let mut ingested = vec![Value::Null; places.len()];
        order(&mut places);
        for place in places {
            let task = json!({ "index": index, "directory": ".", "file": files[place] });
            let output = self.perform("corpus-ingest", task).await;
            ingested[place] = output.unwrap_or(Value::Null);
        }
        let task = json!({ "index": index, "files": files, "ingested": ingested });
        let summary = self.perform("corpus-summary", task).await.unwrap();
        let mut answers = Vec::new();
        for question in QUESTIONS {
            answers.push(self.ask(index, question).await);
        }
        self.perform("corpus-forget", name).await.unwrap();
        let task = json!({
            "file": "report.md", "title": "Corpus report", "directory": ".",
            "summary": summary, "answers": answers,
        });
        self.perform("corpus-report", task).await.unwrap()
    }

    async fn ask(&self, index: &str, question: &str) -> Value {
        let task = json!({ "index": index, "question": question });
        let mut found = self.perform("corpus-search", task).await.unwrap();
        found["top_k"] = 3.into();
        let kept = self.perform("corpus-rerank", found).await.unwrap();
        let task =
            json!({ "question": question, "terms": kept["terms"], "passages": kept["passages"] });
        self.perform("corpus-answer", task).await.unwrap()
    }
}

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
    corpus.check("corpus-discover", json!({ "directory": "." }), expect![[r#"{"files":["blank.txt","changelog.gz","copy of hives.md","deep/er/journal.txt","empty.txt","hives.md","huge.txt","latin.txt","target/left-out.md","zeros.bin"],"count":10,"truncated":false,"passed_by":{"links":3,"special":1,"unreadable":0,"unnameable":0}}"#]]).await;
    corpus
        .check(
            "corpus-discover",
            json!({ "directory": ".", "include": ["*.md"], "exclude": ["target/"], "limit": 1 }),
            expect![[r#"{"files":["copy of hives.md"],"count":1,"truncated":true,"passed_by":{"links":0,"special":0,"unreadable":0,"unnameable":0}}"#]],
        )
        .await;
    corpus.check("corpus-discover", json!({ "directory": "deep/er" }), expect![[r#"{"files":["journal.txt"],"count":1,"truncated":false,"passed_by":{"links":0,"special":0,"unreadable":0,"unnameable":0}}"#]]).await;
    corpus.check("corpus-discover", json!({ "directory": "in" }), expect![[r#"{"files":["er/journal.txt"],"count":1,"truncated":false,"passed_by":{"links":0,"special":0,"unreadable":0,"unnameable":0}}"#]]).await;
    corpus.check("corpus-discover", json!({ "directory": ".." }), expect!["fatal outside_root: `..` is not below a directory that the operator of this agent allows: HOME/tree (`--root DIR` allows another)"]).await;
    corpus.check("corpus-discover", json!({ "directory": "out" }), expect!["fatal outside_root: `out` is not below a directory that the operator of this agent allows: HOME/tree (`--root DIR` allows another)"]).await;
    corpus.check("corpus-discover", json!({ "directory": "/etc" }), expect!["fatal outside_root: `/etc` is not below a directory that the operator of this agent allows: HOME/tree (`--root DIR` allows another)"]).await;
    corpus.check("corpus-discover", json!({ "directory": "missing" }), expect!["fatal no_directory: cannot read the directory `missing`: No such file or directory (os error 2)"]).await;
    corpus
        .check(
            "corpus-discover",
            json!({ "directory": "hives.md" }),
            expect!["fatal no_directory: cannot read the directory `hives.md`: not a directory"],
        )
        .await;
    corpus
        .check(
            "corpus-discover",
            json!({ "directory": ".", "include": ["["] }),
            expect![
                "fatal invalid_input: error parsing glob '[': unclosed character class; missing ']'"
            ],
        )
        .await;
}

#[tokio::test]
async fn a_bad_file_is_a_failure_with_its_reason() {
    let corpus = Corpus::new();
    corpus.perform("corpus-open", json!({ "index": "one" })).await.unwrap();
    let task = |file: &str| json!({ "index": "one", "directory": ".", "file": file });
    for (file, expected) in [
        ("hives.md", expect![[r#"{"file":"hives.md","bytes":180,"passages":2}"#]]),
        ("empty.txt", expect!["fatal empty_file: `empty.txt`: it is empty"]),
        ("blank.txt", expect!["fatal empty_file: `blank.txt`: it is empty"]),
        ("zeros.bin", expect!["fatal binary_file: `zeros.bin`: it is binary"]),
        ("changelog.gz", expect!["fatal binary_file: `changelog.gz`: it is binary"]),
        ("latin.txt", expect!["fatal invalid_utf8: `latin.txt`: it is not UTF-8"]),
        ("huge.txt", expect!["fatal file_too_large: `huge.txt`: it is larger than 4000 bytes"]),
        (
            "missing.txt",
            expect![
                "fatal unreadable_file: `missing.txt`: it cannot be read: No such file or directory (os error 2)"
            ],
        ),
        (
            "missing/file.txt",
            expect![
                "fatal unreadable_file: `missing/file.txt`: it cannot be read: No such file or directory (os error 2)"
            ],
        ),
        ("deep", expect!["fatal unreadable_file: `deep`: it cannot be read: not a regular file"]),
        ("pipe", expect!["fatal unreadable_file: `pipe`: it cannot be read: not a regular file"]),
        (
            "link.txt",
            expect![
                "fatal unreadable_file: `link.txt`: it cannot be read: Too many levels of symbolic links (os error 40)"
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
    corpus.check("corpus-open", json!({ "index": "../one" }), expect!["fatal invalid_input: `../one` is no name of an index: 1 to 64 of A-Z a-z 0-9 _ - are"]).await;
    fs::write(corpus.home.path().join("state"), "a file in the way").unwrap();
    corpus.check("corpus-open", json!({ "index": "one" }), expect!["retryable index_broken: cannot keep indexes in the state directory: File exists (os error 17)"]).await;
}

#[tokio::test]
async fn a_broken_index_is_a_failure() {
    let corpus = Corpus::new();
    let state = corpus.home.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("one.sqlite"), "this is no database".repeat(100)).unwrap();
    corpus.check("corpus-search", json!({ "index": "one", "question": "hive" }), expect!["fatal index_damaged: the index is damaged: file is not a database: Error code 26: file is not a database"]).await;
}

#[tokio::test]
async fn a_report_stays_where_the_operator_says() {
    let corpus = Corpus::new();
    let summary = json!({
        "files": 0, "indexed": 0, "passages": 0, "bytes": 0, "bad": 0, "bad_by_reason": {},
        "examples": {},
    });
    let task = |file: &str| json!({ "file": file, "title": "t", "directory": ".", "summary": summary, "answers": [] });
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
