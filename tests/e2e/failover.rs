//! Coordinators that share the partitions, end in every way, come and come back, under load.

use anyhow::{Context as _, Result, ensure};
use skep_broker::{Bucket, Registry as _};
use skep_engine::placement::{Placement, RENEWED_EVERY, Round};
use skep_nats::server::{Options, ThrowawayServer};
use skep_protocol::{CoordinatorId, Member, PartitionCount, PartitionId, RunId, decode};
use skep_tests::{LOOK_EVERY, three_servers};

use crate::cluster::Cluster;
use crate::crash::{DEFINITION, STEPS, nothing_lost_or_repeated};

const NAMES: [&str; 3] = ["one", "two", "three"];
const WITH_FOUR: [&str; 4] = ["one", "two", "three", "four"];
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
    start_three(&mut processes, url, replicas).await?;
    let mut cluster = Cluster::on(processes, url, 2).await?;
    let told = endure(&mut cluster, url, replicas).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

pub(crate) async fn start_three(
    processes: &mut skep_tests::Cluster,
    url: &str,
    replicas: usize,
) -> Result<()> {
    for name in NAMES {
        processes.start_named(name, url, replicas)?;
        processes.named(name)?.says("serves the cluster", LOOK_EVERY).await?;
    }
    Ok(())
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
                until_nobody_is(cluster, &NAMES, name).await?;
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

/// One more joins while work is under way; one is killed, and back once others have what it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_gets_a_share_and_who_comes_back_its_own_under_load() -> Result<()> {
    let server = ThrowawayServer::start(Options::default()).await?;
    let url = server.url();
    let mut processes = skep_tests::Cluster::with(server)?;
    start_three(&mut processes, &url, 1).await?;
    let mut cluster = Cluster::on(processes, &url, 2).await?;
    let told = share(&mut cluster, &url).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

async fn share(cluster: &mut Cluster, url: &str) -> Result<()> {
    let mut runs = Vec::new();
    until_each_has_its_share(cluster, &NAMES).await?;
    load(cluster, &mut runs).await?;
    cluster.start_named("four", url, 1)?;
    until_each_has_its_share(cluster, &WITH_FOUR).await?;
    load(cluster, &mut runs).await?;
    cluster.named("two")?.kill()?;
    until_nobody_is(cluster, &WITH_FOUR, "two").await?;
    load(cluster, &mut runs).await?;
    cluster.start_named("two", url, 1)?;
    until_each_has_its_share(cluster, &WITH_FOUR).await?;
    load(cluster, &mut runs).await?;
    cluster.complete(runs.len()).await?;
    nothing_lost_or_repeated(cluster, &runs).await
}

/// Starts more runs, and waits until some of their work is done and the rest is under way.
async fn load(cluster: &Cluster, runs: &mut Vec<RunId>) -> Result<()> {
    let before = cluster.ledger().len();
    runs.extend(cluster.start_runs_from(DEFINITION, runs.len()..runs.len() + RUNS / 2).await?);
    cluster.ledger_has(before + STEPS * RUNS / 4).await;
    Ok(())
}

/// Waits until every coordinator serves what is its own among these, and nothing else.
async fn until_each_has_its_share(cluster: &Cluster, names: &[&str]) -> Result<()> {
    let shares: Vec<_> = names.iter().map(|name| share_of(name, names)).collect();
    ensure!(shares.iter().all(|share| !share.is_empty()), "one has nothing to do: {shares:?}");
    loop {
        let members = members(cluster, names).await?;
        if members.iter().map(|member| &member.owns).eq(&shares) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns what is a coordinator's own as long as all of these are there.
fn share_of(name: &str, names: &[&str]) -> Vec<PartitionId> {
    let count = PartitionCount::DEFAULT;
    let placement = |name| Placement::new(CoordinatorId::new(name).expect("a name"), count);
    let others = names.iter().filter(|other| **other != name);
    let members = others.map(|other| {
        let member = placement(other).member("test");
        (CoordinatorId::new(other).expect("a name"), (1, member))
    });
    let mut own = placement(name);
    // Whoever is seen to come is there.
    own.looked(&Round { wrote: true, ..Round::default() }, RENEWED_EVERY);
    own.looked(&Round { members: members.collect(), wrote: true }, 2 * RENEWED_EVERY);
    count.all().filter(|partition| own.rank(*partition) == 0).collect()
}

async fn members(cluster: &Cluster, names: &[&str]) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for name in names {
        let entry = cluster.nats.get(Bucket::Coordinators, name).await?;
        members.extend(entry.and_then(|entry| decode::<Member>(&entry.value).ok()));
    }
    Ok(members)
}

/// Waits until each coordinator serves something, and each partition is served once.
pub(crate) async fn until_shared(cluster: &Cluster) -> Result<()> {
    loop {
        let members = members(cluster, &NAMES).await?;
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
async fn until_nobody_is(cluster: &Cluster, names: &[&str], name: &str) -> Result<()> {
    loop {
        let mut owned = std::collections::BTreeSet::new();
        for other in names.iter().filter(|other| **other != name) {
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
