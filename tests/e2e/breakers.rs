//! `skep breakers` of a cluster with three coordinators: one table for all of them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use skep_nats::server::{Options, ThrowawayServer};
use skep_tests::LOOK_EVERY;

use crate::cluster::Cluster;
use crate::crash::DEFINITION;
use crate::expect::{exits, ok};
use crate::failover::{start_three, until_shared};

const RUNS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_coordinators_tell_of_their_breakers_as_one() -> Result<()> {
    let server = ThrowawayServer::start(Options::default()).await?;
    let url = server.url();
    let mut processes = skep_tests::Cluster::with(server)?;
    start_three(&mut processes, &url, 1).await?;
    let mut cluster = Cluster::on(processes, &url, 0).await?;
    let told = add_up(&mut cluster).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

async fn add_up(cluster: &mut Cluster) -> Result<()> {
    until_shared(cluster).await?;
    ok(cluster, &["breakers", "trip", "work"]).await?;
    cluster.start_runs(DEFINITION, RUNS).await?;
    // Whoever of them is asked.
    for _ in 0..4 {
        let view = all_parked(cluster).await?;
        let shares = view["shares"].as_array().context("a list of shares")?;
        let parked: Vec<u64> = shares.iter().filter_map(|one| one["parked"].as_u64()).collect();
        let names: Vec<_> = shares.iter().map(|share| share["coordinator"].clone()).collect();
        ensure!(names == ["one", "three", "two"], "other coordinators: {view:#}");
        ensure!(parked.iter().all(|share| *share > 0), "one has nothing: {view:#}");
        ensure!(parked.iter().sum::<u64>() == RUNS as u64, "they do not add up: {view:#}");
    }
    // One that is stopped does not answer, until the others have what it had.
    loop {
        cluster.named("three")?.stop()?;
        let called = exits(cluster.skep(&["breakers"]).await?, 0)?;
        cluster.named("three")?.go_on()?;
        let view = called.json()?;
        if view[0]["missing"] == json!(["three"]) {
            let told = "coordinator three did not answer, its share is missing";
            ensure!(called.stderr.contains(told), "nobody is told: {}", called.text());
            let shares = view[0]["shares"].as_array().context("a list of shares")?;
            ensure!(shares.len() == 2, "it has a share: {view:#}");
            break;
        }
        until_shared(cluster).await?;
    }
    all_parked(cluster).await.map(drop)
}

/// Asks until all the work is seen to be held back.
async fn all_parked(cluster: &Cluster) -> Result<Value> {
    loop {
        let list = ok(cluster, &["breakers"]).await?;
        let view = &list[0];
        ensure!(view["breaker"] == "work" && view["state"] == "open", "another one: {list:#}");
        if view["parked"] == json!(RUNS) && view["missing"] == json!([]) {
            return Ok(view.clone());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
