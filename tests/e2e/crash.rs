//! 200 runs in flight, and the coordinator killed five times, nats-server once.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use skep_protocol::RunId;
use skep_tests::LOOK_EVERY;

use crate::cluster::Cluster;
use crate::expect::ok;
use crate::journal;

const RUNS: usize = 200;
/// Agent steps of each run: `first`, four items of `middle`, `last`.
pub(crate) const STEPS: usize = 6;

pub(crate) const DEFINITION: &str = "\
name: crash
inputs:
  number: { type: integer }
steps:
  first: { agent: work, with: { milliseconds: 40, number: \"${{ inputs.number }}\" } }
  middle:
    agent: work
    needs: [first]
    for_each: [10, 30, 50, 70]
    max_parallel: 2
    with: { milliseconds: \"${{ item }}\", number: \"${{ inputs.number }}\" }
  last:
    agent: work
    with:
      milliseconds: 20
      number: \"${{ steps.first.output.echo.number }}\"
      items: \"${{ steps.middle.outputs | length }}\"
outputs:
  number: \"${{ steps.last.output.echo.number }}\"
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_coordinator_and_the_broker_loses_nothing_and_repeats_nothing() -> Result<()> {
    let mut cluster = Cluster::start(2).await?;
    let told = survive(&mut cluster).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_to_end_while_nats_is_away_ends() -> Result<()> {
    let mut cluster = skep_tests::Cluster::start().await?;
    let url = cluster.server.url();
    cluster.start_named("one", &url, 1)?;
    cluster.named("one")?.says("serves the cluster", LOOK_EVERY).await?;
    // It appends all the time, and wants to go on with that until it can hand over.
    std::fs::write(cluster.path().join("naps.skep.yaml"), naps(500))?;
    for _ in 0..4 {
        ok(&cluster, &["run", "naps.skep.yaml", "--detach"]).await?;
    }
    cluster.server.kill()?;
    let coordinator = cluster.named("one")?;
    coordinator.terminate()?;
    let (status, printed) = (coordinator.wait()?, coordinator.printed());
    // It may have had nothing under way at that moment.
    let (has_waited, exit) = (printed.contains("nothing can be handed over"), status.code());
    ensure!(exit == Some(if has_waited { 5 } else { 0 }), "{status}: {printed}");
    Ok(())
}

/// Writes a workflow of short waits, one after the other.
fn naps(steps: u32) -> String {
    let mut source = String::from("name: naps\nsteps:\n  s0: { wait: 5ms }\n");
    for step in 1..steps {
        source += &format!("  s{step}: {{ wait: 5ms, needs: [s{}] }}\n", step - 1);
    }
    source
}

async fn survive(cluster: &mut Cluster) -> Result<()> {
    let runs = cluster.start_runs(DEFINITION, RUNS).await?;
    let lines = 2 * STEPS * RUNS;
    for kill in 1..=6 {
        cluster.ledger_has(kill * lines / 8).await;
        if kill == 4 {
            cluster.server.kill()?;
            cluster.server.restart().await?;
        } else {
            cluster.kill_coordinator()?;
            cluster.start_coordinator()?;
        }
    }
    cluster.complete(RUNS).await?;
    nothing_lost_or_repeated(cluster, &runs).await
}

/// Checks that each step of each run completed once, and that what completed was performed once.
pub(crate) async fn nothing_lost_or_repeated(cluster: &Cluster, runs: &[RunId]) -> Result<()> {
    let records = journal::read_all(&cluster.nats).await?;
    let steps = journal::by_step(&records)?;
    let performed = performed(&cluster.ledger())?;
    for run in runs {
        let completed =
            steps.iter().filter(|((of, _), facts)| of == run && facts.completed.len() == 1);
        ensure!(completed.count() == STEPS, "run {run} does not have {STEPS} completed attempts");
    }
    for ((run, step), facts) in &steps {
        ensure!(facts.completed.len() <= 1, "{run} {step} completed twice: {facts:?}");
        for attempt in &facts.completed {
            let key = format!("{run} {step} {attempt}");
            let times = performed.get(&key).copied().unwrap_or_default();
            ensure!(times == 1, "{key} was performed {times} times: {facts:?}");
        }
    }
    let attempts: usize = steps.values().map(|facts| facts.scheduled.len()).sum();
    ensure!(performed.len() <= attempts, "the agents performed what nobody scheduled");
    Ok(())
}

/// Counts how often each attempt was brought to its end.
fn performed(ledger: &[String]) -> Result<BTreeMap<String, usize>> {
    let mut performed = BTreeMap::new();
    for line in ledger {
        let (what, rest) = line.split_once(' ').context("a line has a word")?;
        let (attempt, _pid) = rest.rsplit_once(' ').context("a line ends in a pid")?;
        if what == "end" {
            *performed.entry(attempt.to_owned()).or_default() += 1;
        }
    }
    Ok(performed)
}
