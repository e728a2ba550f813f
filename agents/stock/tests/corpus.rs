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
    corpus.check("corpus-discover", json!({ "directory": "." }), expect![""]).await;
    corpus
        .check(
            "corpus-discover",
            json!({ "directory": ".", "include": ["*.md"], "exclude": ["target/"], "limit": 1 }),
            expect![""],
        )
        .await;
    corpus.check("corpus-discover", json!({ "directory": "deep/er" }), expect![""]).await;
    corpus.check("corpus-discover", json!({ "directory": "in" }), expect![""]).await;
    corpus.check("corpus-discover", json!({ "directory": ".." }), expect![""]).await;
    corpus.check("corpus-discover", json!({ "directory": "out" }), expect![""]).await;
    corpus.check("corpus-discover", json!({ "directory": "/etc" }), expect![""]).await;
    corpus.check("corpus-discover", json!({ "directory": "missing" }), expect![""]).await;
    corpus.check("corpus-discover", json!({ "directory": "hives.md" }), expect![""]).await;
    corpus
        .check("corpus-discover", json!({ "directory": ".", "include": ["["] }), expect![""])
        .await;
}

#[tokio::test]
async fn a_bad_file_is_a_failure_with_its_reason() {
    let corpus = Corpus::new();
    corpus.perform("corpus-open", json!({ "index": "one" })).await.unwrap();
    let task = |file: &str| json!({ "index": "one", "directory": ".", "file": file });
    for (file, expected) in [
        ("hives.md", expect![""]),
        ("empty.txt", expect![""]),
        ("blank.txt", expect![""]),
        ("zeros.bin", expect![""]),
        ("changelog.gz", expect![""]),
        ("latin.txt", expect![""]),
        ("huge.txt", expect![""]),
        ("missing.txt", expect![""]),
        ("missing/file.txt", expect![""]),
        ("deep", expect![""]),
        ("pipe", expect![""]),
        ("link.txt", expect![""]),
        ("out/secret.txt", expect![""]),
        ("../secret.txt", expect![""]),
        ("/etc/passwd", expect![""]),
        ("", expect![""]),
    ] {
        corpus.check("corpus-ingest", task(file), expected).await;
    }
}

/// Root reads everything.
#[tokio::test]
async fn a_file_that_may_not_be_read_is_unreadable() {
    let corpus = Corpus::new();
    let path = corpus.home.path().join("tree/hives.md");
    fs::set_permissions(&path, fs::Permissions::from_mode(0)).unwrap();
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
    corpus.check("corpus-ingest", task, expect![""]).await;
    corpus.check("corpus-search", json!({ "index": "none", "question": "?" }), expect![""]).await;
    corpus.check("corpus-open", json!({ "index": "../one" }), expect![""]).await;
    fs::write(corpus.home.path().join("state"), "a file in the way").unwrap();
    corpus.check("corpus-open", json!({ "index": "one" }), expect![""]).await;
}

#[tokio::test]
async fn a_broken_index_is_a_failure() {
    let corpus = Corpus::new();
    let state = corpus.home.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("one.sqlite"), "this is no database".repeat(100)).unwrap();
    corpus.check("corpus-search", json!({ "index": "one", "question": "hive" }), expect![""]).await;
}

#[tokio::test]
async fn a_report_stays_where_the_operator_says() {
    let corpus = Corpus::new();
    let summary = json!({
        "files": 0, "indexed": 0, "passages": 0, "bytes": 0, "bad": 0, "bad_by_reason": {},
        "examples": {},
    });
    let task = |file: &str| json!({ "file": file, "title": "t", "directory": ".", "summary": summary, "answers": [] });
    corpus.check("corpus-report", task("../report.md"), expect![""]).await;
    fs::write(corpus.home.path().join("reports"), "a file in the way").unwrap();
    corpus.check("corpus-report", task("report.md"), expect![""]).await;
    assert!(!Path::new(corpus.home.path()).join("report.md").exists());
}
