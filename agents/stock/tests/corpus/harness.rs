//! A small tree with bad files, and the agents that read it.

use std::fs;
use std::os::unix::fs::symlink;

use expect_test::Expect;
use serde_json::{Value, json};
use skep_agent::{Agent, Failure};
use skep_agents::Stock;
use skep_agents::corpus::CorpusConfig;
use tempfile::TempDir;

const QUESTIONS: [&str; 3] =
    ["How is a hive woven?", "Who may open the journal?", "Where do submarines dive?"];

/// A directory to read, `tree`, beside what the agent writes.
pub(crate) struct Corpus {
    pub(crate) home: TempDir,
    agent: Agent,
}

impl Corpus {
    pub(crate) fn new() -> Self {
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
        let hives = "# Hives\n\nA skep is a hive woven of straw. It has no frames.\n\n\
                     ## Weaving\n\nStraw is twisted into a rope, and the rope is sewn into a \
                     spiral, so that a woven hive keeps\ndry and warm.\n";
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

    pub(crate) async fn perform(&self, capability: &str, input: Value) -> Result<Value, Failure> {
        self.agent.perform(capability, input).await
    }

    pub(crate) async fn check(&self, capability: &str, input: Value, expected: Expect) {
        let shown = match self.perform(capability, input).await {
            Ok(output) => fields(&output),
            Err(failure) => {
                let retry = if failure.is_retryable() { "retryable" } else { "fatal" };
                format!("{retry} {failure}")
            }
        };
        expected.assert_eq(&shown.replace(self.home.path().to_str().unwrap(), "HOME"));
    }

    /// Does what the definition in `examples/corpus` says; files are taken in the order of `order`.
    pub(crate) async fn run(&self, index: &str, order: impl Fn(&mut Vec<usize>)) -> Value {
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

/// Writes each field of an object into a line.
fn fields(object: &Value) -> String {
    let fields = object.as_object().unwrap().iter();
    fields.map(|(name, value)| format!("{name}: {value}\n")).collect()
}
