//! A short chaos with real processes, as users make it, by `skep chaos`: the seed is fixed, so the
//! faults are. The long one is `cargo xtask chaos`.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use skep_tests::{Called, Cluster, call, command};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

/// Makes chaos, and returns its report.
async fn chaos(arguments: &[&str]) -> Result<Value> {
    let mut command = command()?;
    command.arg("chaos").args(arguments).args(["--output", "json"]);
    let called = call(command).await?;
    ensure!(called.exit == 0, "something does not hold: {}", called.text());
    let report = called.json()?;
    for check in report["checks"].as_array().context("no checks")? {
        ensure!(check["violated"] == 0, "{check:#}");
    }
    Ok(report)
}

fn count(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_default()
}

fn hit(report: &Value, fault: &str, group: &str) -> u64 {
    report["faults"][fault][group].as_u64().unwrap_or_default()
}

/// The seed was chosen so that each group is killed, agents are stopped for longer than they may be
/// silent, and coordinators drain and have bad links.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_done_twice_whatever_is_killed_stopped_or_cut_off() -> Result<()> {
    let report =
        chaos(&["--seed", "449", "--duration", "30s", "--every", "3s..5s", "--runs", "12"]).await?;
    for group in ["coordinators", "agents", "nats_servers"] {
        ensure!(hit(&report, "kill", group) > 0, "no {group} were killed: {report:#}");
    }
    ensure!(hit(&report, "stop", "agents") > 0, "no agent was stopped: {report:#}");
    ensure!(hit(&report, "drain", "coordinators") > 0, "no coordinator drained: {report:#}");
    ensure!(hit(&report, "slow", "coordinators") > 0, "no link was bad: {report:#}");
    let runs: u64 =
        report["runs"].as_object().context("no runs")?.values().flat_map(Value::as_u64).sum();
    ensure!(runs >= count(&report, "runs_asked_for"), "runs are missing: {report:#}");
    ensure!(count(&report, "runs_asked_for") >= 12, "{report:#}");
    Ok(())
}

/// On a cluster that is there, only the own agents are hurt, and what is given by its id.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_there_is_hurt_only_if_that_is_said() -> Result<()> {
    let cluster = Cluster::start().await?;
    let url = cluster.server.url();
    let mut named = command()?;
    named.args(["chaos", "--duration", "1s", "--output", "json"]).env("SKEP_NATS_URL", &url);
    let Called { exit, stderr, .. } = call(named).await?;
    ensure!(exit == 2 && stderr.contains("--yes-this-is-a-dev-cluster"), "{exit}: {stderr}");

    // It need not belong to the cluster to be stopped and killed.
    let mut other = tokio::process::Command::new("sleep");
    let mut other = other.arg("600").kill_on_drop(true).spawn()?;
    let pid = other.id().context("it runs")?.to_string();
    let duration = ["--seed", "54", "--duration", "6s", "--every", "1s..2s", "--runs", "4"];
    let there = ["--nats", &url, "--yes-this-is-a-dev-cluster", "--pid", &pid];
    let report = chaos(&[&duration[..], &there].concat()).await;
    let report =
        report.with_context(|| format!("the processes printed:\n{}", cluster.printed()))?;
    ensure!(hit(&report, "kill", "agents") > 0, "{report:#}");
    ensure!(hit(&report, "stop", "processes") > 0, "{report:#}");
    ensure!(other.wait().await?.signal() == Some(9), "the process was not killed: {report:#}");
    let hurt = |group: &str| {
        report["faults"]
            .as_object()
            .is_some_and(|faults| faults.values().any(|groups| groups.get(group).is_some()))
    };
    ensure!(!hurt("coordinators") && !hurt("nats_servers"), "{report:#}");
    ensure!(count(&report, "takeovers") == 0, "{report:#}");
    Ok(())
}

/// Nobody waits for the runs to end, so they have not: that is told, with what the journal says.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_hold_is_told_and_kept() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let there = || -> Result<_> {
        let mut command = command()?;
        command.args(["chaos", "--duration", "1s", "--patience", "1ms", "--runs", "8"]);
        command.args(["--coordinators", "1", "--agents", "1", "--output", "json"]);
        command.arg("--keep").arg(folder.path());
        Ok(command)
    };
    let called = call(there()?).await?;
    ensure!(called.exit == 1, "that should not hold: {}", called.text());
    let report = called.json()?;
    ensure!(report["holds"] == false, "{report:#}");
    let first = &report["checks"][0];
    ensure!(first["numbers"] == "I-1" && first["violated"].as_u64() > Some(0), "{first:#}");
    let journal = first["violations"][0]["journal"].as_array().context("no evidence")?;
    ensure!(!journal.is_empty(), "{first:#}");
    for kept in ["report.json", "partition-0.jsonl", "agent-1.deeds", "coordinator-1.log"] {
        ensure!(folder.path().join(kept).exists(), "{kept} is not kept");
    }
    let again = call(there()?).await?;
    ensure!(again.exit == 2 && again.stderr.contains("is not empty"), "{}", again.text());
    Ok(())
}

/// An interrupt ends it early, and everything is mended and checked all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_interrupts_chaos_gets_its_report() -> Result<()> {
    let (mut chaos, mut told) = start(&["--duration", "10m", "--every", "1s..2s", "--runs", "4"])?;
    until_told(&mut told, "kill agent").await?;
    interrupt(&chaos).await?;
    until_told(&mut told, "waiting for the runs to end").await?;
    // What it says meanwhile has to be read, or it waits.
    let reading =
        tokio::spawn(async move { while told.next_line().await.is_ok_and(|l| l.is_some()) {} });
    let mut report = String::new();
    chaos.stdout.take().context("it is read")?.read_to_string(&mut report).await?;
    ensure!(chaos.wait().await?.code() == Some(0), "it does not hold: {report}");
    reading.await?;
    let report: Value = serde_json::from_str(&report)?;
    ensure!(report["holds"] == true && hit(&report, "kill", "agents") > 0, "{report:#}");
    Ok(())
}

/// Who cannot wait for that learns where everything is.
#[tokio::test(flavor = "multi_thread")]
async fn who_interrupts_chaos_twice_ends_it_at_once() -> Result<()> {
    let (mut chaos, mut told) = start(&["--duration", "10m"])?;
    until_told(&mut told, "seed").await?;
    interrupt(&chaos).await?;
    until_told(&mut told, "another one ends it at once").await?;
    interrupt(&chaos).await?;
    let line = until_told(&mut told, "logs and deeds are in ").await?;
    ensure!(chaos.wait().await?.code() == Some(130), "{line}");
    let (_, folder) = line.split_once(" are in ").context("no folder")?;
    ensure!(std::path::Path::new(folder.trim()).is_dir(), "{line}");
    std::fs::remove_dir_all(folder.trim())?;
    Ok(())
}

type Told = tokio::io::Lines<BufReader<tokio::process::ChildStderr>>;

fn start(arguments: &[&str]) -> Result<(tokio::process::Child, Told)> {
    let mut command = command()?;
    command.arg("chaos").args(arguments).args(["--output", "json"]);
    let mut command = tokio::process::Command::from(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut chaos = command.spawn()?;
    let told = BufReader::new(chaos.stderr.take().context("it is read")?).lines();
    Ok((chaos, told))
}

async fn until_told(told: &mut Told, what: &str) -> Result<String> {
    let mut all = String::new();
    while let Some(line) = told.next_line().await? {
        if line.contains(what) {
            return Ok(line);
        }
        all += &(line + "\n");
    }
    bail!("it ends without `{what}`:\n{all}")
}

async fn interrupt(chaos: &tokio::process::Child) -> Result<()> {
    let pid = chaos.id().context("it runs")?.to_string();
    let sent = tokio::process::Command::new("kill").args(["-INT", &pid]).status().await?;
    ensure!(sent.success(), "no signal was sent");
    Ok(())
}

/// Chaos that is killed leaves no process behind: all of them name the folder they write to.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn who_kills_chaos_kills_its_processes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let place = folder.path().to_str().context("a path is text")?;
    let mut chaos = command()?;
    chaos.args(["chaos", "--duration", "10m", "--nats-servers", "1", "--keep", place]);
    let mut chaos = tokio::process::Command::from(chaos);
    let mut chaos = chaos.stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    // Itself, three coordinators, four agents; who is not yet connected might end by itself.
    let works = |name: &str| {
        let deeds = folder.path().join(name).metadata();
        deeds.is_ok_and(|deeds| deeds.len() > 0)
    };
    until(|| works("agent-1.deeds") && works("agent-2.deeds") && named(place).len() == 8).await;
    chaos.kill().await?;
    until(|| named(place).is_empty()).await;
    Ok(())
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(skep_tests::LOOK_EVERY).await;
    }
}

/// Returns the processes whose command lines contain a text.
fn named(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| line.contains(text)).collect()
}
