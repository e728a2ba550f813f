//! `skep chaos`

mod chance;
mod check;
mod deeds;
mod director;
mod history;
mod journals;
mod kinds;
mod load;
mod others;
mod proxy;
mod report;
mod schedule;
mod stage;
mod watch;
mod worker;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use skep_broker::host;
use skep_nats::{Nats, server};
use skep_protocol::PartitionCount;
use tokio_util::sync::CancellationToken;

use crate::cli::Global;
use crate::cluster;
use crate::error::{Error, Exit, chain};
use crate::human;
use crate::output;
use crate::process::failed;
use crate::runtime;
use crate::signals::Interrupts;
use history::History;
use load::Load;
use others::Other;
use report::Report;
use schedule::Cast;
use stage::Stage;

/// How long coordinators may take until they serve.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Kill, stop and cut off processes under load, and check that nothing is lost or done twice.
///
/// It starts nats-servers, coordinators and agents as processes of its own, keeps runs going (plain
/// ones, for_each, retries, compensation, supervised groups, sub-workflows, timers), and breaks one
/// thing after the other, as the seed says. Then it mends everything, waits until all runs are
/// over, and holds what the agents wrote down against what the journals say. It ends with 1 if
/// something does not hold.
///
/// After Ctrl-C it breaks nothing more, and mends, checks and reports what there is; after another
/// one it ends at once, and says where the processes wrote.
///
/// With --nats it does so on a cluster that is there: it starts runs and agents on it, and breaks
/// those agents alone, unless it is given the ids of other processes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Chaos {
    #[command(subcommand)]
    what: Option<What>,
    /// What all chance follows from; one that is made up is printed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long things are broken: 90s, 30m, 2h.
    #[arg(long, default_value = "60s", value_parser = human::parse_duration)]
    duration: Duration,
    /// The time from one kill to the next; stops and cuts come between them.
    #[arg(long, default_value = "10s..20s", value_parser = range, value_name = "FROM..TO")]
    every: RangeInclusive<Duration>,
    /// How long runs may take to end once all is mended.
    #[arg(long, default_value = "2m", value_parser = human::parse_duration)]
    patience: Duration,
    /// Runs under way at a time.
    #[arg(long, value_name = "N", default_value_t = 24)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// Coordinators of an own cluster.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=9))]
    coordinators: u8,
    /// Agents: each third one pulls its tasks from the queue.
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=50))]
    agents: u8,
    /// The nats-servers of an own cluster: 1, 3 or 5.
    #[arg(long, value_name = "N", default_value = "1", value_parser = ["1", "3", "5"])]
    nats_servers: String,
    /// Where the processes write, and what is kept: logs, deeds, journals, the report. Without it,
    /// a folder that is removed if all holds.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// With --nats: the cluster there is for development, and may be hurt.
    #[arg(long)]
    yes_this_is_a_dev_cluster: bool,
    /// With --nats: a process that may be stopped and killed as well. Whoever started it has to
    /// start it again.
    #[arg(long = "pid", value_name = "PID", requires = "yes_this_is_a_dev_cluster")]
    pids: Vec<u32>,
}

#[derive(Debug, Subcommand)]
enum What {
    #[command(hide = true)]
    Worker(worker::Worker),
}

/// Reads `10s..20s`.
fn range(text: &str) -> Result<RangeInclusive<Duration>, String> {
    let wanted = || "a range such as 10s..20s is wanted".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wanted)?;
    let (from, to) = (human::parse_duration(from)?, human::parse_duration(to)?);
    if from.is_zero() || from > to { Err(wanted()) } else { Ok(from..=to) }
}

/// What is broken: processes, the client that drives runs on them, and what tells one chaos from
/// another.
struct Scene {
    stage: Stage,
    cast: Cast,
    nats: Nats,
    partitions: PartitionCount,
    label: String,
}

impl Chaos {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        if let Some(What::Worker(worker)) = self.what {
            return worker.perform(global);
        }
        self.ask_for_consent(global)?;
        let seed = self.seed.unwrap_or_else(|| host::random() % 1_000_000);
        let label = format!("chaos-{seed}-{}", host::now().as_millis());
        let (folder, made) = self.folder(&label)?;
        runtime::large()?.block_on(async {
            let (mut interrupts, over) = (Interrupts::listen()?, CancellationToken::new());
            output::note(format!("seed {seed}"));
            let mut work = Box::pin(self.run(global, (seed, label), (&folder, made), &over));
            loop {
                tokio::select! { biased;
                    interrupt = interrupts.next() => {
                        if over.is_cancelled() {
                            output::note(format!("logs and deeds are in {}", folder.display()));
                            return Ok(interrupt.exit());
                        }
                        output::note(format!(
                            "{}: breaks nothing more; another one ends it at once",
                            interrupt.as_str()
                        ));
                        over.cancel();
                    }
                    done = &mut work => return done,
                }
            }
        })
    }

    /// A cluster that is there is not hurt because a variable names it.
    fn ask_for_consent(&self, global: &Global) -> Result<(), Error> {
        let named = global.cluster.is_named();
        match (named, self.yes_this_is_a_dev_cluster) {
            (true, true) | (false, false) => Ok(()),
            (true, false) => Err(Error::usage("a cluster is named, and chaos would hurt it")
                .help("if it is one for development: --yes-this-is-a-dev-cluster")
                .help("for a cluster of its own, leave --nats away and unset SKEP_NATS_URL")),
            (false, true) => Err(Error::usage("no cluster is named")
                .help("name it: --nats URL; or leave --yes-this-is-a-dev-cluster away")),
        }
    }

    async fn run(
        &self,
        global: &Global,
        (seed, label): (u64, String),
        (folder, made): (&Path, bool),
        over: &CancellationToken,
    ) -> Result<Exit, Error> {
        let mut scene = Box::pin(self.scene(global, label, folder)).await?;
        let (nats, partitions) = (scene.nats.clone(), scene.partitions);
        let load = Load::start(&nats, partitions, (seed, &scene.label), self.runs);
        let load = within("no coordinator serves", load).await??;
        let begun = host::now();
        let blows = schedule::schedule(seed, self.duration, &self.every, scene.cast);
        let mut done = director::direct(&mut scene.stage, &blows, self.duration, over).await?;
        let broken = (begun, host::now());
        output::note("all is mended, waiting for the runs to end");
        let notes = load.finish(self.patience);
        let notes = director::keep(&mut scene.stage, &mut done, notes).await?;
        scene.stage.leave();
        let journals = journals::read(&nats, partitions).await?;
        let deeds = deeds::read(folder).map_err(|error| failed("read the deeds", &error))?;
        let history = History {
            asked: notes.asked.into_values().collect(),
            deeds,
            entries: journals::entries(&journals),
            journals,
            broken,
            seen_stuck: notes.seen_stuck,
            surprises: notes.surprises,
            label: scene.label,
            slots: worker::SLOTS as usize,
        };
        let report = Report::of(&history, seed, done);
        report.print(global.output);
        self.put_away(&report, &history, (folder, made));
        Ok(if report.holds() { Exit::Ok } else { Exit::Failed })
    }

    /// Returns where processes write, and whether it was made up.
    fn folder(&self, label: &str) -> Result<(PathBuf, bool), Error> {
        let folder = self.keep.clone();
        let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("skep-{label}")));
        let shown = folder.display();
        let made = std::fs::create_dir_all(&folder).and_then(|()| std::fs::read_dir(&folder));
        let mut made = made.map_err(|error| failed(&format!("make the folder {shown}"), &error))?;
        if made.next().is_some() {
            // What another one left would be taken for what this one did.
            return Err(Error::usage(format!("the folder {shown} is not empty"))
                .help("name a new one: --keep DIR"));
        }
        Ok((folder, self.keep.is_none()))
    }

    /// Keeps what explains a violation, and what was asked to be kept.
    fn put_away(&self, report: &Report, history: &History, (folder, made): (&Path, bool)) {
        if made && report.holds() {
            std::fs::remove_dir_all(folder).ok();
            return;
        }
        let text = format!("{:#}\n", report.to_json());
        let written = std::fs::write(folder.join("report.json"), text);
        if let Err(error) = written.and_then(|()| journals::keep(&history.entries, folder)) {
            output::warn(format!("cannot keep everything in {}: {error}", folder.display()));
        }
        let kept = folder.display();
        output::note(format!("logs, deeds, journals and the report are in {kept}"));
    }

    async fn scene(&self, global: &Global, label: String, folder: &Path) -> Result<Scene, Error> {
        let (agents, others) = (usize::from(self.agents), self.others()?);
        if global.cluster.is_named() {
            let nats = cluster::connect(&global.cluster).await?;
            let partitions = cluster::partitions(&nats).await?.unwrap_or(PartitionCount::DEFAULT);
            let cast = Cast { coordinators: 0, agents, servers: 0, others: others.len() };
            let addresses = resolve(&cluster::address(&global.cluster)?).await?;
            let stage = Stage::start((cast, vec![]), &addresses, others, folder).await?;
            return Ok(Scene { stage, cast, nats, partitions, label });
        }
        let count: usize = self.nats_servers.parse().unwrap_or(1);
        let started = Box::pin(server::start_cluster(count)).await;
        let (servers, nats) =
            started.map_err(|error| Error::new(Exit::Unreachable, chain(&error)))?;
        let coordinators = usize::from(self.coordinators);
        let cast = Cast { coordinators, agents, servers: count, others: 0 };
        let addresses = stage::addresses(&servers);
        let stage = Stage::start((cast, servers), &addresses, others, folder).await?;
        Ok(Scene { stage, cast, nats, partitions: PartitionCount::DEFAULT, label })
    }

    fn others(&self) -> Result<Vec<Other>, Error> {
        self.pids.iter().map(|pid| Other::find(*pid)).collect()
    }
}

/// Finds out where the servers of a list of addresses are.
async fn resolve(list: &str) -> Result<Vec<SocketAddr>, Error> {
    let mut addresses = Vec::new();
    for address in list.split(',') {
        let bare = address.split_once("://").map_or(address, |(_, bare)| bare);
        let bare = bare.trim_end_matches('/');
        let host = if bare.contains(':') { bare.to_owned() } else { format!("{bare}:4222") };
        let found = tokio::net::lookup_host(&host).await;
        let found = found.map_err(|error| failed(&format!("find {host}"), &error))?;
        addresses.extend(found.take(1));
    }
    Ok(addresses)
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Error> {
    let waited = tokio::time::timeout(READY_WITHIN, work).await;
    let patience = human::duration(READY_WITHIN);
    waited.map_err(|_| Error::new(Exit::Unreachable, format!("{what} within {patience}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_goes_up() {
        let ms = |text: &str| {
            range(text).map(|range| (range.start().as_millis(), range.end().as_millis()))
        };
        assert_eq!(ms("10s..20s"), Ok((10_000, 20_000)));
        assert_eq!(ms("1500ms..1500ms"), Ok((1_500, 1_500)));
        for wrong in ["", "10s", "20s..10s", "0s..1s", "a..b"] {
            assert!(ms(wrong).is_err(), "{wrong}");
        }
    }
}
