//! `skep bench ceiling`: what the same loop does, written by hand.

use clap::Args;
use skep_nats::Nats;
use skep_nats::by_hand::{self, Chains};

use super::chain::Shape;
use super::figures::{Figures, Sample};
use super::ground::GroundArgs;
use super::load::Chained;
use super::worker::Way;
use crate::cli::Global;
use crate::cluster;
use crate::error::{Error, Exit, chain};
use crate::process::Process;
use crate::runtime;

/// What its subjects and streams begin with.
const PREFIX: &str = "skep-bench-by-hand";

/// The dispatch loop without skep, written by hand: what the server and this machine can do.
///
/// Publish a task, perform it in another process, report, append in groups, and only then publish
/// the next one. No engine, no leases, no retries.
#[derive(Debug, Args)]
pub(super) struct Ceiling {
    #[command(flatten)]
    ground: GroundArgs,
    #[command(flatten)]
    shape: Shape,
    /// How often it is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
}

impl Ceiling {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        if self.ground.is_embedded() {
            return Err(Error::usage("without a server there is no loop over one"));
        }
        GroundArgs::perform(self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        let (nats, server) = self.ground.server(global).await?;
        let url = server.as_ref().map(|server| server.url());
        let mut by_hand = Loop::start(&nats, self.ground.lane(), global, url)?;
        let mut samples = Vec::new();
        by_hand.play(Shape { runs: 200, ..self.shape }).await?;
        for _ in 0..self.times {
            let steps_per_s = by_hand.play(self.shape).await?;
            samples.push(Sample::from([("ceiling_steps_per_s", steps_per_s)]));
        }
        let settings = self.ground.settings(Some(&nats)).await?;
        let runs = Some(self.shape.runs);
        Figures { benchmark: "ceiling", runs, settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }
}

/// The loop, and its agent.
pub(super) struct Loop {
    nats: Nats,
    way: by_hand::Way,
    args: Vec<String>,
}

impl Loop {
    /// Gets it ready on a server: ours, at this address, or the one that is named.
    pub(super) fn start(
        nats: &Nats,
        lane: Way,
        global: &Global,
        url: Option<String>,
    ) -> Result<Self, Error> {
        let at = url.map_or_else(|| global.cluster.to_args(), |url| vec!["--nats".to_owned(), url]);
        let args = ["bench", "by-hand", "--lane", lane.name()].map(str::to_owned);
        Ok(Self { nats: nats.clone(), way: way(lane), args: args.into_iter().chain(at).collect() })
    }

    /// Plays it once, with an agent that is there for as long, and returns steps per second.
    pub(super) async fn play(&mut self, shape: Shape) -> Result<f64, Error> {
        let Shape { runs, each: Chained { steps, payload } } = shape;
        let _agent = Process::start(self.args.clone(), Vec::new(), None)?;
        let chains = Chains { chains: runs, steps, payload: payload as usize };
        let took = by_hand::drive(&self.nats, PREFIX, self.way, chains).await;
        let took = took.map_err(|error| Error::new(Exit::Unreachable, chain(&error)))?;
        Ok(f64::from(runs * steps) / took.as_secs_f64())
    }
}

const fn way(lane: Way) -> by_hand::Way {
    match lane {
        Way::Direct => by_hand::Way::Direct,
        Way::Queue => by_hand::Way::Queue,
    }
}

/// Perform the tasks of the loop that is written by hand.
#[derive(Debug, Args)]
pub(super) struct ByHand {
    #[arg(long, value_enum, default_value_t)]
    lane: Way,
}

impl ByHand {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        runtime::large()?.block_on(async {
            let nats = cluster::connect(&global.cluster).await?;
            let performed = by_hand::perform(&nats, PREFIX, way(self.lane)).await;
            performed.map_err(|error| Error::new(Exit::Unreachable, chain(&error)))?;
            Ok(Exit::Ok)
        })
    }
}
