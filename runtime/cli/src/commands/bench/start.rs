//! `skep bench start`

use clap::Args;
use skep_broker::Broker;

use super::figures::{Figures, Sample};
use super::ground::{Ground, GroundArgs, over, perform};
use super::load::{Kind, Load};
use super::usage::processor_s;
use crate::cli::Global;
use crate::client::Client;
use crate::error::{Error, Exit};
use crate::output;

/// A run that nobody has work with: it waits until the others are started, too.
const WORKFLOW: &str = "inputs:\n  data: { type: string }\nsteps:\n  nap: { wait: 5s }\n";
const WARM_UP: u32 = 2_000;

/// Start as many runs as the cluster takes: starts per second, each acknowledged when it is
/// durable.
#[derive(Debug, Args)]
pub(super) struct Start {
    #[command(flatten)]
    ground: GroundArgs,
    /// How many runs are started.
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// What each of them gets, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=60_000))]
    payload: u32,
    /// How many starts are under way at a time.
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4_096))]
    at_once: u32,
    /// How often it is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
}

impl Start {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        perform(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        let ground = self.ground.prepare(global).await?;
        let samples = over!(ground, client => self.samples(client, &ground)).await?;
        let mut settings = self.ground.settings(ground.nats()).await?;
        settings.set("payload_bytes", self.payload);
        settings.set("starts_at_once", self.at_once);
        let runs = Some(self.runs);
        Figures { benchmark: "start", runs, settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }

    async fn samples<B: Broker>(
        &self,
        client: &Client<B>,
        ground: &Ground,
    ) -> Result<Vec<Sample>, Error> {
        let source = format!("name: {}\n{WORKFLOW}", Kind::Start.workflow());
        let load = Load::prepare(client, source, self.payload).await?;
        let warm = load.start_unwatched(WARM_UP.min(self.runs), self.at_once).await?;
        load.see_the_end(warm).await?;
        let mut samples = Vec::new();
        for time in 0..self.times {
            let (before, own) = (ground.processor(), client_ran(ground));
            let runs = load.start_unwatched(self.runs, self.at_once).await?;
            let all = f64::from(self.runs);
            let took = runs.took.as_secs_f64();
            let mut sample =
                Sample::from([("starts_per_s", all / took), ("wall_ms", took * 1_000.0)]);
            let ran = ground.processor().into_iter().zip(before);
            sample.extend(
                ran.map(|((of, after), (_, before))| (of.per_start, (after - before) * 1e6 / all)),
            );
            let own = client_ran(ground).zip(own);
            let own = own.map(|(after, before)| (after - before) * 1e6 / all);
            sample.extend(own.map(|own| ("client_us_per_start", own)));
            output::note(format!("{}: {:.0} starts/s", time + 1, all / took));
            samples.push(sample);
            load.see_the_end(runs).await?;
        }
        Ok(samples)
    }
}

/// Returns how long this process has run, in seconds, unless everything is in it.
fn client_ran(ground: &Ground) -> Option<f64> {
    ground.nats().and_then(|_| processor_s(std::process::id()))
}
