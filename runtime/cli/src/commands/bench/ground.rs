//! What benchmarks run on: a skep in this process, a cluster of their own, or one that is there.

mod coordinators;
mod used;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_agent::Agent;
use skep_broker::Revision;
use skep_nats::server::{Options, SyncInterval, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats, SyncPolicy};
use skep_protocol::PartitionCount;

use super::clock;
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
use crate::signals::Interrupts;
use coordinators::{served, serving, settled};
use used::Ran;

/// How long anything may take that has to come to its end.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks at what has no other way to tell.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Where a benchmark runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where it runs")]
pub(super) struct GroundArgs {
    /// In this process, without a server.
    #[arg(long)]
    embedded: bool,
    /// By which way tasks reach the agents.
    #[arg(long, value_enum, default_value_t, conflicts_with = "embedded")]
    lane: Way,
    /// Agents, each a process.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    agents: u32,
    /// How many tasks each agent performs at a time.
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    slots: u32,
    /// Coordinators, each a process.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=20), conflicts_with = "embedded")]
    coordinators: u32,
    /// Partitions of the cluster.
    #[arg(long, value_name = "N", default_value_t = PartitionCount::DEFAULT.get())]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1_024), conflicts_with = "embedded")]
    partitions: u16,
    /// When the server forces to the disk what it acknowledges.
    #[arg(long, value_enum, default_value_t, conflicts_with = "embedded")]
    sync: Sync,
    /// An existing folder for the logs of the processes, as SKEP_LOG says.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// How long agents work on a step.
    #[arg(skip)]
    step: Duration,
    /// Where agents, in this process then, tell when they begin a step.
    #[arg(skip)]
    begun: Option<Begun>,
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

impl GroundArgs {
    /// Does `work` in a runtime, until it is done or interrupted.
    pub(super) fn perform(work: impl Future<Output = Result<Exit, Error>>) -> Result<Exit, Error> {
        runtime::large()?.block_on(until_interrupted(work))
    }

    /// Does `work` that mostly waits: on this thread, unless everything is in this process.
    pub(super) fn perform_idly(
        &self,
        work: impl Future<Output = Result<Exit, Error>>,
    ) -> Result<Exit, Error> {
        if self.embedded {
            return Self::perform(work);
        }
        runtime::small()?.block_on(until_interrupted(work))
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
        let agent = || worker::agent(self.step, self.slots, self.lane, self.begun.clone());
        (0..self.agents).map(|_| agent()).collect()
    }

    /// Starts what is needed, and waits until all of it is there.
    pub(super) async fn prepare(&self, global: &Global) -> Result<Ground, Error> {
        if self.embedded {
            return Ok(Ground::Embedded(Local::start(self.agents_here()?).await?));
        }
        let cluster = if global.cluster.is_named() {
            let partitions = PartitionCount::DEFAULT.get();
            if self.sync != Sync::Default || self.coordinators > 1 || self.partitions != partitions
            {
                let message = "--sync, --coordinators and --partitions are for a cluster that is \
                               started here";
                return Err(
                    Error::usage(message).help("leave --nats away, and unset SKEP_NATS_URL")
                );
            }
            self.join(global).await?
        } else {
            self.start().await?
        };
        Ok(Ground::Nats(cluster))
    }

    /// Connects to a server, ours or another's, for what needs no coordinator.
    pub(super) async fn server(
        &self,
        global: &Global,
    ) -> Result<(Nats, Option<ThrowawayServer>), Error> {
        if global.cluster.is_named() {
            return Ok((cluster::connect(&global.cluster).await?, None));
        }
        let server = self.start_server().await?;
        let nats = Nats::connect(ConnectOptions::url(&server.url())).await?;
        Ok((nats, Some(server)))
    }

    /// Returns what figures are found under.
    pub(super) async fn settings(&self, nats: Option<&Nats>) -> Result<Settings, Error> {
        let (broker, lane) =
            if self.embedded { ("embedded", None) } else { ("nats", Some(self.lane.name())) };
        let mut settings = Settings::new(broker, lane);
        if let Some(nats) = nats {
            let seen = nats.inspect().await?;
            settings.set("nats_server", seen.version);
            settings.set(
                "sync_interval",
                match (self.sync, seen.sync) {
                    (Sync::Always, _) | (_, Some(SyncPolicy::Always)) => "always".to_owned(),
                    (_, Some(SyncPolicy::IntervalMs(ms))) => format!("{} s", ms / 1_000),
                    (Sync::Default, None) => "default".to_owned(),
                },
            );
            let replicas = seen.streams.iter().map(|stream| stream.replicas).max();
            settings.set("replicas", replicas.unwrap_or(1));
            if let Some(partitions) = cluster::partitions(nats).await? {
                settings.set("coordinators", serving(nats, Revision::ABSENT).await?.len());
                settings.set("partitions", partitions.get());
            }
        }
        settings.set("agents", self.agents);
        settings.set("slots", self.slots);
        Ok(settings)
    }

    pub(super) const fn lane(&self) -> Way {
        self.lane
    }

    pub(super) const fn is_embedded(&self) -> bool {
        self.embedded
    }

    async fn start_server(&self) -> Result<ThrowawayServer, Error> {
        let options = Options { sync_interval: self.sync.into(), ..Options::default() };
        let server = ThrowawayServer::start(options).await;
        server.map_err(|error| Error::new(Exit::Unreachable, chain(&error)))
    }

    async fn start(&self) -> Result<Cluster, Error> {
        let server = self.start_server().await?;
        let url = server.url();
        let at = vec!["--nats".to_owned(), url.clone()];
        let mut coordinators = Vec::new();
        let connect = async || Ok(Nats::connect(ConnectOptions::url(&url)).await?);
        let from = clock();
        for number in 0..self.coordinators {
            let name = format!("bench-{number}");
            let data = server.store_dir().join(&name).display().to_string();
            let partitions = self.partitions.to_string();
            let args = ["serve", "--name", &name, "--data", &data, "--partitions", &partitions];
            coordinators.push(self.process(&args, &at, &name)?);
        }
        self.join_as(connect, at, (coordinators, Some(server)), from).await
    }

    async fn join(&self, global: &Global) -> Result<Cluster, Error> {
        // Without a coordinator it is of no use to wait for one.
        cluster::client(&global.cluster).await?.agents().await?;
        let connect = async || cluster::connect(&global.cluster).await;
        self.join_as(connect, global.cluster.to_args(), (Vec::new(), None), clock()).await
    }

    async fn join_as(
        &self,
        connect: impl AsyncFn() -> Result<Nats, Error>,
        at: Vec<String>,
        (coordinators, server): (Vec<Process>, Option<ThrowawayServer>),
        from: Duration,
    ) -> Result<Cluster, Error> {
        let nats = connect().await?;
        let serving = served(&nats, coordinators.len(), Revision::ABSENT);
        let partitions = within("the partitions are not served", serving).await??;
        let ready = clock().saturating_sub(from);
        if coordinators.len() > 1 {
            within("the partitions are handed over again and again", settled(&nats)).await??;
        }
        // A load may be more than there is room for: then it is borne.
        let client = Client::new(nats, partitions).patient(PATIENCE);
        let (slots, step) = (self.slots.to_string(), self.step.as_millis().to_string());
        let lane = self.lane.name();
        let args = ["bench", "worker", "--slots", &slots, "--lane", lane, "--step-ms", &step];
        let before = client.agents().await?.len();
        let (mut agents, mut here) = (Vec::new(), None);
        if self.begun.is_some() {
            here = Some(Running::start(self.agents_here()?, &connect().await?));
        } else {
            for _ in 0..self.agents {
                agents.push(self.process(&args, &at, "agents")?);
            }
        }
        let there = async {
            while client.agents().await?.len() < before + self.agents as usize {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok::<_, Error>(())
        };
        within("the agents are not there", there).await??;
        Ok(Cluster { client, agents, _agents_here: here, coordinators, server, ready })
    }

    fn process(&self, args: &[&str], at: &[String], name: &str) -> Result<Process, Error> {
        let args = args.iter().map(|arg| (*arg).to_owned()).chain(at.iter().cloned());
        let log = self.logs.as_ref().map(|folder| folder.join(format!("{name}.log")));
        Process::start(args.collect(), Vec::new(), log)
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

async fn until_interrupted(work: impl Future<Output = Result<Exit, Error>>) -> Result<Exit, Error> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! { biased;
        interrupt = interrupts.next() => Ok(interrupt.exit()),
        done = work => done,
    }
}

/// Waits for something, but not for ever.
pub(super) async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Error> {
    let waited = tokio::time::timeout(PATIENCE, work).await;
    let patience = human::duration(PATIENCE);
    waited.map_err(|_| Error::new(Exit::Timeout, format!("{what} after {patience}")))
}
