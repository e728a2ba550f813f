//! `skep bench latency`

use clap::Args;
use skep_broker::Broker;

use super::figures::{Figures, Sample, percentile};
use super::ground::{Ground, GroundArgs};
use super::load::Chained;
use crate::cli::Global;
use crate::client::Client;
use crate::error::{Error, Exit};

/// Runs before anything is measured.
const WARM_UP: u32 = 20;

/// One run at a time, a chain of steps that do nothing: how long each step takes, from the end of
/// the one before to its own, and a run, from its submission to its end.
#[derive(Debug, Args)]
pub(super) struct Latency {
    #[command(flatten)]
    ground: GroundArgs,
    /// Runs, one after the other.
    #[arg(long, value_name = "N", default_value_t = 200)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    runs: u32,
    #[command(flatten)]
    each: Chained,
    /// How often it is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
}

impl Latency {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        GroundArgs::perform(self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        let ground = self.ground.prepare(global).await?;
        let samples = match &ground {
            Ground::Embedded(local) => self.samples(local.client()).await?,
            Ground::Nats(cluster) => self.samples(cluster.client()).await?,
        };
        let mut settings = self.ground.settings(ground.nats()).await?;
        self.each.tell(&mut settings);
        Figures { benchmark: "latency", runs: Some(1), settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }

    async fn samples<B: Broker>(&self, client: &Client<B>) -> Result<Vec<Sample>, Error> {
        let mut load = self.each.prepare(client).await?;
        for _ in 0..WARM_UP {
            load.play_alone().await?;
        }
        let mut samples = Vec::new();
        for _ in 0..self.times {
            let (mut steps, mut whole) = (Vec::new(), Vec::new());
            for _ in 0..self.runs {
                let played = load.play_alone().await?;
                let ms =
                    |from, to: std::time::Duration| to.saturating_sub(from).as_secs_f64() * 1e3;
                whole.push(ms(played.started, played.ended));
                // The first one counts from the submission of its run.
                let before = std::iter::once(&played.started).chain(&played.steps);
                steps.extend(before.zip(&played.steps).map(|(from, to)| ms(*from, *to)));
            }
            samples.push(of(&mut steps, &mut whole));
        }
        Ok(samples)
    }
}

fn of(steps: &mut [f64], whole: &mut [f64]) -> Sample {
    steps.sort_unstable_by(f64::total_cmp);
    whole.sort_unstable_by(f64::total_cmp);
    let figures = [
        ("p50_ms", percentile(steps, 50.0)),
        ("p99_ms", percentile(steps, 99.0)),
        ("submit_to_complete_p50_ms", percentile(whole, 50.0)),
        ("submit_to_complete_p99_ms", percentile(whole, 99.0)),
    ];
    figures.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
