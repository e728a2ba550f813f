//! Agents that pull from the queue, put out and let in again.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use skep_tests::{Cluster, LOOK_EVERY};

use crate::expect::{agents, holds, ok, refused, until};

const MANY: &str = "\
name: many
steps:
  each:
    for_each: ${{ range(24) }}
    agent: work
    with: { milliseconds: 50 }
    retry: { attempts: 50, initial: 100ms, jitter: none }
";

const ONE: &str = "\
name: one
inputs: { milliseconds: { type: integer } }
steps:
  only: { agent: work, with: { milliseconds: \"${{ inputs.milliseconds }}\" } }
";

/// Starts an agent that pulls and waits until it is known; returns its id.
async fn join(cluster: &mut Cluster, name: &str) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep-test-agent"));
    command.arg(cluster.path().join(format!("{name}.ledger"))).arg(name);
    cluster.start_agent(command)?;
    loop {
        let agents = agents(cluster, &[]).await?;
        let known = agents.iter().find_map(|agent| {
            agent["agent"].as_str().filter(|id| id.starts_with(&format!("{name}-")))
        });
        if let Some(id) = known {
            return Ok(id.to_owned());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn agent(cluster: &Cluster, id: &str) -> Result<Value> {
    let agents = agents(cluster, &[]).await?;
    let known = agents.iter().find(|agent| agent["agent"] == id);
    known.cloned().with_context(|| format!("no agent {id}: {agents:?}"))
}

/// Returns how often an agent wrote down that something began, or ended.
fn noted(cluster: &Cluster, name: &str, what: &str) -> usize {
    let ledger = cluster.path().join(format!("{name}.ledger"));
    let text = fs::read_to_string(ledger).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(what)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_what_it_pulls_is_put_out_and_comes_back_when_it_is_well() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let told = put_out_and_back(&mut cluster).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

async fn put_out_and_back(cluster: &mut Cluster) -> Result<()> {
    let broken = cluster.path().join("bad");
    fs::write(&broken, "")?;
    fs::write(cluster.path().join("many.skep.yaml"), MANY)?;
    ok(cluster, &["apply", "many.skep.yaml"]).await?;
    for name in ["one", "two", "three"] {
        join(cluster, name).await?;
    }
    let bad = join(cluster, "bad").await?;
    let out = loop {
        completes(cluster).await?;
        let bad = agent(cluster, &bad).await?;
        if bad["health"]["standing"] == "quarantined" && bad["ration"] == json!({ "at_most": 0 }) {
            break bad;
        }
    };
    holds(&out, json!({ "lane": "queue", "health": { "quarantine": { "times": 1 } } }))?;

    let begun = noted(cluster, "bad", "begin");
    ensure!(begun >= 5, "{begun} attempts are too few to judge by");
    completes(cluster).await?;
    let bad_is = agent(cluster, &bad).await?;
    if bad_is["health"]["standing"] == "quarantined" {
        let after = noted(cluster, "bad", "begin");
        ensure!(after == begun, "it began {} attempts while it was out", after - begun);
    }

    fs::remove_file(&broken)?;
    while agent(cluster, &bad).await?["health"]["standing"] != "well" {
        completes(cluster).await?;
    }
    while agent(cluster, &bad).await?["ration"] != "full" {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let after = noted(cluster, "bad", "begin");
    ensure!(after >= begun + 6, "it was let in after {} attempts", after - begun);
    Ok(())
}

async fn completes(cluster: &Cluster) -> Result<()> {
    let ended = ok(cluster, &["run", "many", "--quiet"]).await?;
    holds(&ended, json!({ "status": "completed" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_puts_one_that_pulls_out_and_lets_it_in() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let told = order(&mut cluster).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

async fn order(cluster: &mut Cluster) -> Result<()> {
    fs::write(cluster.path().join("one.skep.yaml"), ONE)?;
    ok(cluster, &["apply", "one.skep.yaml"]).await?;
    let id = join(cluster, "q").await?;
    let long = start(cluster, 3_000).await?;
    while noted(cluster, "q", "begin") == 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let out = ["agents", "quarantine", &id, "--reason", "ada looks into it"];
    holds(&ok(cluster, &out).await?, json!({ "agent": id, "done": "quarantined" }))?;
    while agent(cluster, &id).await?["ration"] != json!({ "at_most": 0 }) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // What runs goes on.
    ended(cluster, &long).await?;
    let waits = start(cluster, 0).await?;
    let because = format!("agent {id} is quarantined: ada looks into it");
    until(cluster, &waits, "it waits for the agent", |got| {
        got["waiting"].as_array().is_some_and(|all| all.iter().any(|one| one["reason"] == because))
    })
    .await?;
    let why = ok(cluster, &["why", &waits]).await?;
    let help = format!("skep agents release {id}");
    ensure!(why["because"].to_string().contains(&help), "no help: {why}");
    ensure!(noted(cluster, "q", "begin") == 1, "it began what it should not have pulled");

    ok(cluster, &["agents", "release", &id]).await?;
    ended(cluster, &waits).await?;
    ensure!((noted(cluster, "q", "begin"), noted(cluster, "q", "end")) == (2, 2));
    let nobody = json!({ "exit": 4 });
    refused(cluster, &["agents", "release", &id], nobody).await
}

async fn start(cluster: &Cluster, milliseconds: u32) -> Result<String> {
    let input = format!("milliseconds={milliseconds}");
    let started = ok(cluster, &["run", "one", "-i", &input, "--detach"]).await?;
    started["run"].as_str().map(str::to_owned).context("an id is text")
}

async fn ended(cluster: &Cluster, run: &str) -> Result<()> {
    holds(&ok(cluster, &["watch", run]).await?, json!({ "status": "completed" }))
}
