//! A cluster that somebody watches as a whole, with `nats sub 'skep.>'` or the like.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use skep_nats::server::{Options, ThrowawayServer};
use skep_tests::LOOK_EVERY;

use crate::cluster::Cluster;
use crate::crash::DEFINITION;
use crate::expect::{holds, ok};

const RUNS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_on_and_says_that_it_is_watched() -> Result<()> {
    let server = ThrowawayServer::start(Options::default()).await?;
    let url = server.url();
    let stranger = async_nats::connect(&url).await?;
    let watching = stranger.subscribe("skep.>").await?;
    // The server has read what came before it when it says that nobody is there.
    ensure!(stranger.request("nobody", "".into()).await.is_err(), "somebody answers");
    let mut processes = skep_tests::Cluster::with(server)?;
    processes.start_coordinator()?;
    let mut cluster = Cluster::on(processes, &url, 2).await?;
    let told = live_on(&mut cluster).await;
    drop(watching);
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

async fn live_on(cluster: &mut Cluster) -> Result<()> {
    cluster.start_runs(DEFINITION, RUNS).await?;
    cluster.complete(RUNS).await?;
    let warning = "warning: somebody else subscribes to skep.command.*, skep.report.*.*";
    while !cluster.printed().contains(warning) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let checks = ok(cluster, &["doctor"]).await?;
    let checks = checks.as_array().context("a list of checks")?;
    let check = checks.iter().find(|check| check["check"] == "onlookers");
    let found = "somebody else subscribes to skep.command.*, skep.report.*.*, skep.query.to.*, \
                 skep.direct.*";
    let expected = json!({ "verdict": "warn", "found": found });
    holds(check.context("they were not looked for")?, expected)?;
    // Nobody is told that the coordinator is gone: those who ask it wait until it is there again.
    cluster.kill_coordinator()?;
    cluster.start_coordinator()?;
    cluster.start_runs_from(DEFINITION, RUNS..2 * RUNS).await?;
    cluster.complete(2 * RUNS).await
}
