//! Three coordinators that share the partitions, and end in every way, under load.

use anyhow::{Context as _, Result};
use skep_broker::{Bucket, Registry as _};
use skep_nats::server::{Options, ThrowawayServer};
use skep_protocol::{Member, PartitionCount, decode};
use skep_tests::{LOOK_EVERY, three_servers};

use crate::cluster::Cluster;
use crate::crash::{DEFINITION, STEPS, nothing_lost_or_repeated};

const NAMES: [&str; 3] = ["one", "two", "three"];
const RUNS: usize = 200;

/// What becomes of a coordinator while work is under way.
#[derive(Clone, Copy)]
enum Fate {
    Killed,
    Stopped,
    Drained,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinators_end_in_every_way_and_nothing_is_lost_or_repeated() -> Result<()> {
    let server = ThrowawayServer::start(Options::default()).await?;
    let url = server.url();
    let processes = skep_tests::Cluster::with(server)?;
    survive(processes, &url, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_three_nats_servers_nothing_is_lost_or_repeated_either() -> Result<()> {
    let (mut servers, url) = three_servers().await?;
    // The others stay until the end of the test.
    let processes = skep_tests::Cluster::with(servers.remove(0))?;
    survive(processes, &url, 3).await
}

async fn survive(processes: skep_tests::Cluster, url: &str, replicas: usize) -> Result<()> {
    let mut processes = processes;
    for name in NAMES {
        processes.start_named(name, url, replicas)?;
        processes.named(name)?.says("serves the cluster", LOOK_EVERY).await?;
    }
    let mut cluster = Cluster::on(processes, url, 2).await?;
    let told = endure(&mut cluster, url, replicas).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

async fn endure(cluster: &mut Cluster, url: &str, replicas: usize) -> Result<()> {
    until_shared(cluster).await?;
    let runs = cluster.start_runs(DEFINITION, RUNS).await?;
    let lines = 2 * STEPS * RUNS;
    let fates = [Fate::Killed, Fate::Stopped, Fate::Drained];
    for (number, (name, fate)) in NAMES.into_iter().zip(fates).enumerate() {
        cluster.ledger_has((number + 1) * lines / 5).await;
        match fate {
            Fate::Killed => {
                cluster.named(name)?.kill()?;
                cluster.start_named(name, url, replicas)?;
            }
            Fate::Stopped => {
                cluster.named(name)?.stop()?;
                until_nobody_is(cluster, name).await?;
                cluster.named(name)?.go_on()?;
            }
            Fate::Drained => {
                cluster.named(name)?.terminate()?;
                cluster.named(name)?.wait()?;
                cluster.start_named(name, url, replicas)?;
            }
        }
    }
    cluster.complete(RUNS).await?;
    nothing_lost_or_repeated(cluster, &runs).await?;
    // Whoever was away has its share again.
    until_shared(cluster).await
}

async fn members(cluster: &Cluster) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for name in NAMES {
        let entry = cluster.nats.get(Bucket::Coordinators, name).await?;
        members.extend(entry.and_then(|entry| decode::<Member>(&entry.value).ok()));
    }
    Ok(members)
}

/// Waits until each coordinator serves something, and each partition is served once.
async fn until_shared(cluster: &Cluster) -> Result<()> {
    loop {
        let members = members(cluster).await?;
        let owners = |partition| members.iter().filter(|m| m.owns.contains(&partition)).count();
        if members.len() == NAMES.len()
            && members.iter().all(|member| !member.owns.is_empty())
            && PartitionCount::DEFAULT.all().all(|partition| owners(partition) == 1)
        {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until the others serve all partitions.
async fn until_nobody_is(cluster: &Cluster, name: &str) -> Result<()> {
    loop {
        let mut owned = std::collections::BTreeSet::new();
        for other in NAMES.into_iter().filter(|other| *other != name) {
            if let Some(entry) = cluster.nats.get(Bucket::Coordinators, other).await? {
                owned.extend(decode::<Member>(&entry.value)?.owns);
            }
        }
        if owned.len() == usize::from(PartitionCount::DEFAULT.get()) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
