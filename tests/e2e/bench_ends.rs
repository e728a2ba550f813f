//! `skep bench` that cannot begin, or does not come to its end: what it says, and what it leaves.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use skep_nats::server::{Options, ThrowawayServer};
use skep_tests::{Cluster, LOOK_EVERY, Process, call, command};

use crate::expect::{exits, ok};

/// More than is done while a test looks.
const MUCH: [&str; 7] = ["bench", "chain", "--runs", "60", "--steps", "5000", "--no-ceiling"];

const MINE: &str = "name: bench-chain\nsteps:\n  nap: { wait: 1h }\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_is_refused_at_once() -> Result<()> {
    let url = "nats://127.0.0.1:9";
    for (args, exit, part) in [
        (&["chain", "--coordinators", "9"][..], 2, "9 coordinators cannot share 8 partitions"),
        (&["chain", "--logs", "nowhere"], 4, "there is no folder nowhere"),
        (&["soak", "--duration", "0s"], 2, "a soak of no time"),
        (&["memory", "--queued", "1000000"], 2, "take --partitions 23"),
        (&["recovery", "--runs", "400000", "--partitions", "1"], 2, "too many for 1 partition"),
        (&["chain", "--runs", "400000"], 2, "take --partitions 9"),
        (&["failover", "--logs", "nowhere"], 4, "there is no folder nowhere"),
        (&["recovery", "--embedded"], 2, "leave --embedded away"),
        (&["memory", "--nats", url], 2, "starts a cluster of its own"),
        (&["idle", "--nats", url], 2, "starts a cluster of its own"),
        (&["recovery", "--nats", url], 2, "starts a cluster of its own"),
        (&["ceiling", "--sync", "always", "--nats", url], 2, "leave --nats away"),
    ] {
        let mut command = command()?;
        command.arg("bench").args(args).args(["--output", "json"]);
        let error = exits(call(command).await?, exit)?.error()?;
        ensure!(error.to_string().contains(part), "{args:?}: `{part}` is missing: {error}");
    }
    let cluster = Cluster::with(ThrowawayServer::start(Options::default()).await?)?;
    for option in ["--partitions", "--coordinators"] {
        let error = exits(cluster.skep(&["bench", "chain", option, "1"]).await?, 2)?.error()?;
        ensure!(error.to_string().contains("--coordinators and --partitions are for"), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_ends_in_time_however_seldom_or_often_it_starts_runs() -> Result<()> {
    for every in ["0s", "1h"] {
        let mut command = command()?;
        command.args(["bench", "soak", "--embedded", "--runs", "2", "--steps", "2"]);
        command.args(["--duration", "1s", "--every", every, "--output", "json"]);
        let found = exits(call(command).await?, 0)?.json()?;
        ensure!(found["p50_ms"].as_f64() > Some(0.0), "{found}");
        ensure!(found["growth_ms_per_hour"].is_null(), "a second tells of an hour: {found}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_benchmark_leaves_no_run_in_the_cluster_it_measured() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    cluster.start_coordinator()?;
    // It has the name of what benchmarks start, and is none of theirs.
    fs::write(cluster.path().join("mine.skep.yaml"), MINE)?;
    ok(&cluster, &["run", "mine.skep.yaml", "--detach"]).await?;
    let mut first = Process::start("bench", &mut on(&cluster, &MUCH)?, cluster.path())?;
    while live(&cluster).await? == 1 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let error = exits(cluster.skep(&["bench", "fanout"]).await?, 6)?.error()?;
    ensure!(error.to_string().contains("another benchmark is under way"), "{error}");
    first.terminate()?;
    let status = first.wait()?;
    ensure!(status.code() == Some(143), "{status}: {}", first.printed());
    ensure!(first.printed().contains("cancelled 60 runs"), "{}", first.printed());
    while live(&cluster).await? > 1 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_in_the_middle_ends_the_benchmark() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = command()?;
    command.args(MUCH).arg("--logs").arg(folder.path());
    let mut bench = Process::start("bench", &mut command, folder.path())?;
    for log in ["bench-0.log", "agents.log"] {
        while !folder.path().join(log).exists() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let coordinator = child(bench.pid(), "serve").context("no coordinator")?;
    ensure!(Command::new("kill").args(["-KILL", &coordinator]).status()?.success(), "no kill");
    let status = bench.wait()?;
    ensure!(status.code() == Some(1), "{status}: {}", bench.printed());
    for part in ["`skep serve` ended: signal 9", "bench-0.log"] {
        ensure!(bench.printed().contains(part), "`{part}` is missing: {}", bench.printed());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_benchmark_leaves_no_folder() -> Result<()> {
    let (folder, temporary) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut command = command()?;
    command.args(MUCH).env("TMPDIR", temporary.path());
    let mut bench = Process::start("bench", &mut command, folder.path())?;
    while child(bench.pid(), "serve").is_none() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    ensure!(files(temporary.path())? > 0, "the server's folder is elsewhere");
    bench.kill()?;
    while files(temporary.path())? > 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn on(cluster: &Cluster, args: &[&str]) -> Result<Command> {
    let mut command = command()?;
    command.args(args).args(["--nats", &cluster.server.url()]);
    Ok(command)
}

async fn live(cluster: &Cluster) -> Result<usize> {
    let runs = ok(cluster, &["list", "--limit", "1000"]).await?;
    let is_live = |run: &&Value| run["ended"].is_null();
    Ok(runs.as_array().context("a list of runs")?.iter().filter(is_live).count())
}

fn files(folder: &Path) -> Result<usize> {
    Ok(fs::read_dir(folder)?.count())
}

/// Returns the id of a child of this process that has a word among its arguments.
fn child(parent: u32, word: &str) -> Option<String> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let arguments = fs::read(process.path().join("cmdline")).ok()?;
        let is_child = status.lines().any(|line| line == format!("PPid:\t{parent}"));
        let mut words = arguments.split(|byte| *byte == 0);
        (is_child && words.any(|one| one == word.as_bytes()))
            .then(|| process.file_name().to_string_lossy().into_owned())
    })
}
