//! What benchmarks run on: a skep in this process, a cluster of their own, or one that is there.

mod begin;
mod coordinators;
mod leave;
mod there;
mod used;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_agent::Agent;
use skep_broker::Revision;
use skep_nats::server::{Options, SyncInterval, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats, SyncPolicy};
use skep_protocol::PartitionCount;
use skep_protocol::limits::MAX_RUNS_PER_PARTITION;

use super::settings::Settings;
use super::usage::{peak_mib, processor_s, resident_mib};
use super::worker::{self, Begun, Way};
use crate::agents::Running;
use crate::cli::Global;
use crate::client::Client;
use crate::cluster;
use crate::error::{Error, Exit, chain};
use crate::human;
use crate::local::Local;
use crate::process::Process;
use crate::runtime;
use coordinators::serving;
pub(super) use leave::is_guest;
use leave::{has_runs, leaving_nothing};
pub(super) use there::{over, while_there, within};
use used::Ran;

/// How long anything may take that has to come to its end.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at what has no other way to tell.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Where a benchmark runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where it runs")]
pub(super) struct GroundArgs {
    /// In this process, without a server, even if a cluster is named.
    #[arg(long, conflicts_with_all = ["lane", "sync", "coordinators", "partitions", "logs"])]
    embedded: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Agents, each a process.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    agents: u32,
    /// How many tasks each agent performs at a time.
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    slots: u32,
    /// Coordinators, each a process, at most as many as there are partitions: 1 if not given.
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=20))]
    coordinators: Option<u16>,
    /// Partitions of the cluster: 8 if not given.
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_024))]
    partitions: Option<u16>,
    /// How long agents work on a step.
    #[arg(skip)]
    step: Duration,
    /// Where agents, in this process then, tell when they begin a step.
    #[arg(skip)]
    begun: Option<Begun>,
}

/// The server, and how tasks travel over it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where it runs")]
pub(super) struct ServerArgs {
    /// By which way tasks reach the agents.
    #[arg(long, value_enum, default_value_t)]
    lane: Way,
    /// When the server that is started forces to the disk what it acknowledges: every two minutes
    /// if not given.
    #[arg(long, value_enum)]
    sync: Option<Sync>,
    /// An existing folder for the logs of the processes, as SKEP_LOG says.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
}

/// When the server forces to the disk what it acknowledges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Sync {
    /// Every two minutes.
    #[default]
    Default,
    /// Before it acknowledges.
    Always,
}

impl From<Sync> for SyncInterval {
    fn from(sync: Sync) -> Self {
        match sync {
            Sync::Default => Self::Default,
            Sync::Always => Self::Always,
        }
    }
}

/// Where a benchmark runs; what was started for it ends with it.
pub(super) enum Ground {
    /// Everything in this process.
    Embedded(Local),
    /// Over NATS.
    Nats(Cluster),
}

/// A cluster, ours or another's.
pub(super) struct Cluster {
    client: Client<Nats>,
    agents: Vec<Process>,
    _agents_here: Option<Running>,
    coordinators: Vec<Process>,
    server: Option<ThrowawayServer>,
    /// How long it took from the start of the coordinators until all partitions were served.
    ready: Duration,
}

impl ServerArgs {
    fn check(&self, global: &Global) -> Result<(), Error> {
        check_logs(self.logs.as_deref())?;
        match self.sync {
            Some(_) if global.cluster.is_named() => Err(for_ours("--sync is")),
            Some(_) | None => Ok(()),
        }
    }

    /// Connects to a server, ours or another's, for what needs no coordinator.
    pub(super) async fn connect(
        &self,
        global: &Global,
    ) -> Result<(Nats, Option<ThrowawayServer>), Error> {
        self.check(global)?;
        if global.cluster.is_named() {
            return Ok((cluster::connect(&global.cluster).await?, None));
        }
        let server = self.start().await?;
        let nats = Nats::connect(ConnectOptions::url(&server.url())).await?;
        Ok((nats, Some(server)))
    }

    /// Returns what figures are found under that belong to the server alone.
    pub(super) async fn settings(&self, nats: &Nats) -> Result<Settings, Error> {
        let mut settings = Settings::new("nats", Some(self.lane.name()));
        let seen = nats.inspect().await?;
        settings.set("nats_server", seen.version);
        settings.set(
            "sync_interval",
            match (self.sync, seen.sync) {
                (Some(Sync::Always), _) | (_, Some(SyncPolicy::Always)) => "always".to_owned(),
                (_, Some(SyncPolicy::IntervalMs(ms))) => format!("{} s", ms / 1_000),
                (Some(Sync::Default) | None, None) => "default".to_owned(),
            },
        );
        let replicas = seen.streams.iter().map(|stream| stream.replicas).max();
        settings.set("replicas", replicas.unwrap_or(1));
        Ok(settings)
    }

    pub(super) const fn lane(&self) -> Way {
        self.lane
    }

    /// Starts a process that logs under this name, if it is to log.
    pub(super) fn process(&self, args: Vec<String>, name: &str) -> Result<Process, Error> {
        let log = self.logs.as_ref().map(|folder| folder.join(format!("{name}.log")));
        Process::start(args, Vec::new(), log)
    }

    async fn start(&self) -> Result<ThrowawayServer, Error> {
        let sync_interval = self.sync.unwrap_or_default().into();
        let server = ThrowawayServer::start(Options { sync_interval, ..Options::default() }).await;
        server.map_err(|error| Error::new(Exit::Unreachable, chain(&error)))
    }
}

/// Looks whether a folder for logs is there.
pub(super) fn check_logs(folder: Option<&Path>) -> Result<(), Error> {
    match folder.filter(|folder| !folder.is_dir()) {
        None => Ok(()),
        Some(folder) => {
            let message = format!("there is no folder {} for logs", folder.display());
            Err(Error::new(Exit::NotFound, message).help("make it first"))
        }
    }
}

/// What is wrong with options that say how something is started, where nothing is.
fn for_ours(options: &str) -> Error {
    Error::usage(format!("{options} for a cluster that is started here"))
        .help("leave --nats away, and unset SKEP_NATS_URL")
}

impl GroundArgs {
    /// Does `work` that mostly waits: on this thread, unless everything is in this process.
    pub(super) fn perform_idly(
        &self,
        global: &Global,
        work: impl Future<Output = Result<Exit, Error>>,
    ) -> Result<Exit, Error> {
        if self.embedded {
            return perform(global, work);
        }
        runtime::small()?.block_on(leaving_nothing(global, work))
    }

    /// Returns the same with agents that work on so many steps at a time, and for so long on each.
    pub(super) fn holding(&self, steps: u32, step: Duration) -> Self {
        Self { slots: steps.div_ceil(self.agents), step, ..self.clone() }
    }

    /// Returns the same with agents in this process, which tell when they begin a step.
    pub(super) fn telling(&self, begun: Begun) -> Self {
        Self { begun: Some(begun), ..self.clone() }
    }

    fn agents_here(&self) -> Result<Vec<Agent>, Error> {
        let agent = || {
            worker::agent(
                worker::capability(),
                self.step,
                (self.slots, self.lane()),
                self.begun.clone(),
            )
        };
        (0..self.agents).map(|_| agent()).collect()
    }

    /// Starts what is needed, and waits until all of it is there.
    pub(super) async fn prepare(&self, global: &Global) -> Result<Ground, Error> {
        if self.embedded {
            return Ok(Ground::Embedded(Local::start(self.agents_here()?).await?));
        }
        self.server.check(global)?;
        let cluster = if global.cluster.is_named() {
            if self.coordinators.or(self.partitions).is_some() {
                return Err(for_ours("--coordinators and --partitions are"));
            }
            self.join(global).await?
        } else {
            self.start().await?
        };
        Ok(Ground::Nats(cluster))
    }

    /// Refuses to measure anything but a cluster that is started for it.
    pub(super) fn only_ours(&self, global: &Global, why: &str) -> Result<(), Error> {
        if global.cluster.is_named() && !self.embedded {
            return Err(Error::usage(format!("{why}, and starts a cluster of its own"))
                .help("leave --nats away, and unset SKEP_NATS_URL"));
        }
        Ok(())
    }

    /// Refuses more runs that are live together than partitions take.
    pub(super) fn check_room(&self, global: &Global, runs: u32) -> Result<(), Error> {
        // Their ids are random: no partition gets much more than its share.
        let of_each = MAX_RUNS_PER_PARTITION as u64 * 9 / 10;
        let fit = u64::from(runs) <= of_each * u64::from(self.partitions());
        if fit || (global.cluster.is_named() && !self.embedded) {
            return Ok(());
        }
        let wanted = u64::from(runs).div_ceil(of_each);
        let message = format!(
            "{} live at a time are too many for {}",
            human::count(runs as usize, "run"),
            human::count(self.partitions().into(), "partition")
        );
        Err(Error::usage(message).help(match self.embedded {
            true => "take fewer runs".to_owned(),
            false => format!("take --partitions {wanted}, or fewer runs"),
        }))
    }

    fn partitions(&self) -> u16 {
        self.partitions.unwrap_or(PartitionCount::DEFAULT.get())
    }

    /// Returns what figures are found under.
    pub(super) async fn settings(&self, nats: Option<&Nats>) -> Result<Settings, Error> {
        let mut settings = match nats {
            Some(nats) => self.server.settings(nats).await?,
            None => Settings::new("embedded", None),
        };
        if let Some(nats) = nats
            && let Some(partitions) = cluster::partitions(nats).await?
        {
            settings.set("coordinators", serving(nats, Revision::ABSENT).await?.len());
            settings.set("partitions", partitions.get());
        }
        settings.set("agents", self.agents);
        settings.set("slots", self.slots);
        Ok(settings)
    }

    pub(super) const fn lane(&self) -> Way {
        self.server.lane
    }

    pub(super) const fn server(&self) -> &ServerArgs {
        &self.server
    }

    pub(super) fn coordinators(&self) -> u16 {
        self.coordinators.unwrap_or(1)
    }

    pub(super) const fn agents(&self) -> u32 {
        self.agents
    }

    pub(super) const fn is_embedded(&self) -> bool {
        self.embedded
    }
}

impl Cluster {
    pub(super) const fn client(&self) -> &Client<Nats> {
        &self.client
    }
}

impl Ground {
    /// Returns the connection, if there is one.
    pub(super) const fn nats(&self) -> Option<&Nats> {
        match self {
            Self::Embedded(_) => None,
            Self::Nats(cluster) => Some(cluster.client.broker()),
        }
    }

    /// Returns the address of the server, if one was started here.
    pub(super) fn url(&self) -> Option<String> {
        match self {
            Self::Embedded(_) => None,
            Self::Nats(cluster) => cluster.server.as_ref().map(ThrowawayServer::url),
        }
    }

    /// Returns how long the coordinators took that were started here until all was served.
    pub(super) fn coordinator_ready(&self) -> Option<Duration> {
        match self {
            Self::Embedded(_) => None,
            Self::Nats(cluster) => cluster.server.as_ref().map(|_| cluster.ready),
        }
    }

    /// Returns how long the processes have run that were started here, in seconds.
    pub(super) fn processor(&self) -> Vec<(Ran, f64)> {
        match self {
            Self::Embedded(_) => {
                let ran = processor_s(std::process::id());
                ran.map(|ran| (Ran::ALL, ran)).into_iter().collect()
            }
            Self::Nats(cluster) => cluster.processor(),
        }
    }

    /// Returns how much memory there is in use, in MiB.
    pub(super) fn memory(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Embedded(_) => {
                resident_mib(std::process::id()).map(|size| ("rss_mib", size)).into_iter().collect()
            }
            Self::Nats(cluster) => cluster.memory(),
        }
    }

    /// Returns the most memory that whatever coordinates ever had, in MiB.
    pub(super) fn peak_memory(&self) -> Option<(&'static str, f64)> {
        let peak = match self {
            Self::Embedded(_) => peak_mib(std::process::id()),
            Self::Nats(cluster) => cluster.peak_memory(),
        };
        peak.map(|peak| ("peak_rss_mib", peak))
    }
}

/// Does `work` in a runtime, until it is done or interrupted.
pub(super) fn perform(
    global: &Global,
    work: impl Future<Output = Result<Exit, Error>>,
) -> Result<Exit, Error> {
    runtime::large()?.block_on(leaving_nothing(global, work))
}
