//! The corpus example on a tree of many files: in one process and on a cluster, the same report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use skep_tests::{Cluster, call, command};

use crate::example;

const FILES: usize = 2_000;
/// What the report answers: something that one file says, that many say, and that none says.
const QUESTIONS: &str = "questions=[\"Where does the skep of keeper 1234 stand?\", \
                         \"What is a skep woven of?\", \"Which submarine dives deepest?\"]";
/// Agents that share the work on the cluster.
const AGENTS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_2000_files_gives_the_same_report_embedded_and_on_a_cluster() -> Result<()> {
    let home = tempfile::tempdir()?;
    let bad = plant(&home.path().join("tree"))?;
    let embedded = embedded(home.path()).await?;
    check(&embedded, &bad)?;
    let clustered = clustered(home.path()).await?;
    ensure!(embedded.markdown == clustered.markdown, "the reports differ");
    check(&clustered, &bad)
}

/// What a run left.
struct Outcome {
    outputs: Value,
    markdown: String,
}

async fn embedded(home: &Path) -> Result<Outcome> {
    let mut command = run(home)?;
    command.args(["--root", "tree", "--reports", "embedded"]);
    outcome(command, home, "embedded").await
}

async fn clustered(home: &Path) -> Result<Outcome> {
    let mut cluster = Cluster::start().await?;
    for _ in 0..AGENTS {
        let mut agent = command()?;
        agent.args(["agent", "corpus", "--root", "tree", "--reports", "clustered"]);
        agent.current_dir(home);
        cluster.start_agent(agent)?;
    }
    let mut command = run(home)?;
    command.env("SKEP_NATS_URL", cluster.server.url());
    let outcome = outcome(command, home, "clustered").await;
    outcome.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

fn run(home: &Path) -> Result<Command> {
    let mut command = command()?;
    command.arg("run").arg(example::folder("corpus").join("corpus.skep.yaml"));
    command.args(["-i", QUESTIONS, "--quiet", "--output", "json"]).current_dir(home);
    Ok(command)
}

async fn outcome(command: Command, home: &Path, reports: &str) -> Result<Outcome> {
    let called = call(command).await?;
    ensure!(called.exit == 0, "the run did not complete: {}", called.text());
    let outputs = called.json()?["outputs"].take();
    let markdown = fs::read_to_string(home.join(reports).join("corpus-report.md"))?;
    let left = fs::read_dir(home.join(".skep/corpus"))?.count();
    ensure!(left == 0, "the index was not forgotten");
    Ok(Outcome { outputs, markdown })
}

fn check(outcome: &Outcome, bad: &BTreeMap<&str, usize>) -> Result<()> {
    let Outcome { outputs, markdown } = outcome;
    let many: usize = bad.values().sum();
    for (name, expected) in [
        ("files", json!(FILES)),
        ("indexed", json!(FILES - many)),
        ("bad", json!(many)),
        ("bad_by_reason", json!(bad)),
        ("answered", json!(2)),
    ] {
        ensure!(outputs[name] == expected, "{name} should be {expected}: {outputs:#}");
    }
    let left_out = bad.iter().map(|(reason, count)| format!("\n{count} `{reason}`:\n"));
    let told = [
        "> The skep of keeper 1234 stands under a lime tree.".to_owned(),
        "`34/1234.md:1-3`".to_owned(),
        "\nNo passage answers this.\n".to_owned(),
    ];
    for part in left_out.chain(told) {
        ensure!(markdown.contains(&part), "`{part}` is missing in the report:\n{markdown}");
    }
    Ok(())
}

/// Writes the files, the same ones each time, and returns how many are bad, by reason.
fn plant(tree: &Path) -> Result<BTreeMap<&'static str, usize>> {
    let mut bad = BTreeMap::new();
    for folder in 0..100 {
        fs::create_dir_all(tree.join(format!("{folder:02}")))?;
    }
    for number in 0..FILES {
        let spoilt = match number {
            1999 => Some(("file_too_large", b"too large ".repeat(900_000))),
            _ if number % 97 == 3 => Some(("empty_file", Vec::new())),
            _ if number % 101 == 5 => Some(("binary_file", b"a\0b".to_vec())),
            _ if number % 103 == 7 => Some(("invalid_utf8", b"caf\xe9".to_vec())),
            _ => None,
        };
        if let Some((reason, _)) = &spoilt {
            *bad.entry(*reason).or_default() += 1;
        }
        let bytes = spoilt.map_or_else(|| text(number).into_bytes(), |(_, bytes)| bytes);
        fs::write(tree.join(format!("{:02}/{number}.md", number % 100)), bytes)?;
    }
    Ok(bad)
}

/// Some paragraphs that a keeper of bees might write.
fn text(number: usize) -> String {
    let pick = |from: &[&'static str], salt: usize| from[(number * 31 + salt * 17) % from.len()];
    let place = ["in a meadow", "beside a brook", "on the heath", "at the edge of the wood"];
    let stands = if number == 1234 { "under a lime tree" } else { pick(&place, 1) };
    let mut text = format!("# Keeper {number}\n\nThe skep of keeper {number} stands {stands}.\n");
    if number.is_multiple_of(400) {
        text.push_str("\n## Craft\n\nA skep is woven of straw and bramble.\n");
    }
    for month in ["March", "May", "July", "September"] {
        let weather = pick(&["rain", "frost", "sun", "wind", "fog"], month.len());
        let crop = pick(&["heather", "clover", "willow", "lime", "rape", "ivy"], 2 * month.len());
        let _ = write!(text, "\n## {month}\n\nThere was {weather}. The bees flew to the {crop}. ");
        let _ = writeln!(text, "It gave {} pounds of honey.", (number * month.len()) % 23);
    }
    text
}
