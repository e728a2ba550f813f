//! `skep bench ceiling`: what the same loop does, written by hand.

use std::time::Duration;

use clap::{Args, ValueEnum};
use futures::TryFutureExt as _;
use skep_nats::Nats;
use skep_nats::by_hand::{self, Chains, Played};

use super::chain::Shape;
use super::figures::{Figures, Sample};
use super::ground::{Ground, ServerArgs, is_guest, perform, while_there};
use super::load::Chained;
use super::tag;
use super::worker::Way;
use crate::cli::Global;
use crate::cluster;
use crate::error::{Error, Exit, chain};
use crate::runtime;

/// Chains before anything is measured.
const WARM_UP: u32 = 200;

/// The dispatch loop without skep, written by hand: what the server and this machine can do.
///
/// Publish a task, perform it in another process, report, append, and only then publish the next
/// one. No engine, no leases, no retries.
///
/// The leanest loop (ceiling) appends results in groups: one that is not appended yet is lost with
/// whoever appends, and its task is gone by then. With --lane queue there is a second one (plain),
/// as one would write it over JetStream: each result is a message in a file, and its task is gone
/// only once it is stored.
#[derive(Debug, Args)]
pub(super) struct Ceiling {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    shape: Shape,
    /// How often it is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
}

/// Returns what the subjects and streams of this benchmark's loops begin with.
pub(super) fn prefix() -> String {
    format!("skep-bench-by-hand-{}", tag())
}

impl Ceiling {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        perform(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        let (nats, server) = self.server.connect(global).await?;
        if server.is_none() {
            is_guest();
        }
        let url = server.as_ref().map(|server| server.url());
        let loops = Loop::all(&nats, &self.server, &addressed(global, url));
        for by_hand in &loops {
            by_hand.play(Shape { runs: WARM_UP, ..self.shape }).await?;
        }
        let mut samples = Vec::new();
        for _ in 0..self.times {
            let mut sample = Sample::new();
            for by_hand in &loops {
                sample.insert(by_hand.which.rate(), by_hand.play(self.shape).await?);
            }
            samples.push(sample);
        }
        let mut settings = self.server.settings(&nats).await?;
        self.shape.each.tell(&mut settings);
        let runs = Some(self.shape.runs);
        Figures { benchmark: "ceiling", runs, settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }
}

/// Whether a benchmark measures the same written by hand, too.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Beside {
    /// Leave what is written by hand away.
    #[arg(long)]
    no_ceiling: bool,
}

impl Beside {
    /// Gets the loops of a lane ready, the leanest first; without a server there is none.
    pub(super) fn loops(self, ground: &Ground, server: &ServerArgs, global: &Global) -> Vec<Loop> {
        let nats = ground.nats().filter(|_| !self.no_ceiling);
        let at = addressed(global, ground.url());
        nats.map(|nats| Loop::all(nats, server, &at)).unwrap_or_default()
    }
}

/// Returns the arguments that name a server: ours, at this address, or the one that is named.
fn addressed(global: &Global, url: Option<String>) -> Vec<String> {
    url.map_or_else(|| global.cluster.to_args(), |url| vec!["--nats".to_owned(), url])
}

/// A loop, and how its agent is started.
pub(super) struct Loop {
    nats: Nats,
    server: ServerArgs,
    which: Which,
    args: Vec<String>,
}

impl Loop {
    fn all(nats: &Nats, server: &ServerArgs, at: &[String]) -> Vec<Self> {
        let of = |which: &Which| {
            let prefix = prefix();
            let args = ["bench", "by-hand", "--way", which.name(), "--prefix", &prefix];
            let args = args.map(str::to_owned);
            let args = args.into_iter().chain(at.iter().cloned()).collect();
            Self { nats: nats.clone(), server: server.clone(), which: *which, args }
        };
        Which::all(server.lane()).iter().map(of).collect()
    }

    /// Plays it once; returns its steps per second, and skep's share of them, by their names.
    pub(super) async fn hold(&self, steps_per_s: f64, shape: Shape) -> Result<Sample, Error> {
        let of_loop = self.play(shape).await?;
        Ok([(self.which.rate(), of_loop), (self.which.ratio(), steps_per_s / of_loop)].into())
    }

    /// Plays it once; returns its steps per second.
    pub(super) async fn play(&self, shape: Shape) -> Result<f64, Error> {
        let played = self.drive(shape).await?;
        let all = f64::from(shape.runs) * f64::from(shape.each.steps);
        Ok(all / played.took.as_secs_f64())
    }

    /// Plays it once with a single chain; returns how long each of its steps took.
    pub(super) async fn step_by_step(&self, each: Chained) -> Result<Vec<Duration>, Error> {
        Ok(self.drive(Shape { runs: 1, each }).await?.steps)
    }

    /// Plays it once, with an agent that is there for as long.
    async fn drive(&self, shape: Shape) -> Result<Played, Error> {
        let Shape { runs, each: Chained { steps, payload } } = shape;
        let agent = [self.server.process(self.args.clone(), "by-hand")?];
        let chains = Chains { chains: runs, steps, payload: payload as usize };
        let prefix = prefix();
        let played = by_hand::drive(&self.nats, &prefix, self.which.way(), chains);
        let played = played.map_err(|error| Error::new(Exit::Unreachable, chain(&error)));
        while_there(&self.nats, [&agent, &[]], played).await
    }
}

/// Which loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Direct,
    Queue,
    Plain,
}

impl Which {
    /// Returns those of a lane, the leanest first.
    const fn all(lane: Way) -> &'static [Self] {
        match lane {
            Way::Direct => &[Self::Direct],
            Way::Queue => &[Self::Queue, Self::Plain],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Queue => "queue",
            Self::Plain => "plain",
        }
    }

    /// Returns what its steps per second are called.
    const fn rate(self) -> &'static str {
        match self {
            Self::Direct | Self::Queue => "ceiling_steps_per_s",
            Self::Plain => "plain_steps_per_s",
        }
    }

    /// Returns what skep's share of them is called.
    const fn ratio(self) -> &'static str {
        match self {
            Self::Direct | Self::Queue => "ratio",
            Self::Plain => "plain_ratio",
        }
    }

    const fn way(self) -> by_hand::Way {
        match self {
            Self::Direct => by_hand::Way::Direct,
            Self::Queue => by_hand::Way::Queue,
            Self::Plain => by_hand::Way::Plain,
        }
    }
}

/// Perform the tasks of a loop that is written by hand.
#[derive(Debug, Args)]
pub(super) struct ByHand {
    #[arg(long, value_enum)]
    way: Which,
    #[arg(long)]
    prefix: String,
}

impl ByHand {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        runtime::large()?.block_on(async {
            let nats = cluster::connect(&global.cluster).await?;
            let performed = by_hand::perform(&nats, &self.prefix, self.way.way()).await;
            performed.map_err(|error| Error::new(Exit::Unreachable, chain(&error)))?;
            Ok(Exit::Ok)
        })
    }
}
