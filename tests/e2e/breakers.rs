//! `skep breakers` of a cluster with three coordinators: one table for all of them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use skep_nats::server::{Options, ThrowawayServer};
use skep_tests::LOOK_EVERY;

use crate::cluster::Cluster;
use crate::crash::DEFINITION;
use crate::expect::ok;
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
        all_parked(cluster, &["one", "three", "two"]).await?;
    }
    // The others have the work of one that is gone, and nobody misses it any more.
    cluster.named("three")?.kill()?;
    all_parked(cluster, &["one", "two"]).await
}

/// Asks until these coordinators are seen to hold back all the work, each of them a part of it.
async fn all_parked(cluster: &Cluster, names: &[&str]) -> Result<()> {
    loop {
        let list = ok(cluster, &["breakers"]).await?;
        let view = &list["breakers"][0];
        ensure!(view["breaker"] == "work" && view["state"] == "open", "another one: {list:#}");
        let shares = view["shares"].as_array().context("a list of shares")?;
        let parked: Vec<u64> = shares.iter().filter_map(|one| one["parked"].as_u64()).collect();
        ensure!(view["parked"] == parked.iter().sum::<u64>(), "they do not add up: {list:#}");
        let who: Vec<&Value> = shares.iter().map(|share| &share["coordinator"]).collect();
        let all = view["parked"] == RUNS && parked.iter().all(|share| *share > 0);
        if who == names && all && list["missing"] == json!([]) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
