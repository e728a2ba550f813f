//! `skep bench fanout`

use clap::Args;
use skep_broker::Broker;

use super::figures::{Figures, Sample};
use super::ground::{Ground, GroundArgs, over, perform};
use super::load::{Load, fan_of};
use crate::cli::Global;
use crate::client::Client;
use crate::error::{Error, Exit};

/// Runs before anything is measured.
const WARM_UP: u32 = 3;

/// One run of many parallel steps that do nothing, and one that waits for all of them: how long it
/// takes from the submission to the end.
#[derive(Debug, Args)]
pub(super) struct Fanout {
    #[command(flatten)]
    ground: GroundArgs,
    /// Parallel steps.
    #[arg(long, value_name = "N", default_values_t = [1_000, 9_998])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=9_998), value_delimiter = ',')]
    steps: Vec<u32>,
    /// How often it is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
}

impl Fanout {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        perform(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        let ground = self.ground.prepare(global).await?;
        for steps in &self.steps {
            let samples = over!(ground, client => self.samples(client, *steps)).await?;
            let mut settings = self.ground.settings(ground.nats()).await?;
            settings.set("parallel_steps", *steps);
            Figures { benchmark: "fanout", runs: Some(1), settings, samples }.print(global.output);
        }
        Ok(Exit::Ok)
    }

    async fn samples<B: Broker>(
        &self,
        client: &Client<B>,
        steps: u32,
    ) -> Result<Vec<Sample>, Error> {
        let mut load = Load::prepare(client, fan_of(steps), 16).await?;
        for _ in 0..WARM_UP {
            load.play(1).await?;
        }
        let mut samples = Vec::new();
        for _ in 0..self.times {
            let took = load.play(1).await?.took.as_secs_f64();
            samples.push(Sample::from([
                ("wall_ms", took * 1_000.0),
                ("steps_per_s", f64::from(steps + 1) / took),
            ]));
        }
        Ok(samples)
    }
}
