//! `skep bench idle`

use std::time::Duration;

use clap::Args;

use super::clock;
use super::figures::{Figures, Sample};
use super::ground::{GroundArgs, perform};
use crate::cli::Global;
use crate::error::{Error, Exit};

/// After so long nothing of the start is left.
const SETTLED: Duration = Duration::from_secs(3);

/// How soon a cluster is ready, and how much memory it takes while it has nothing to do.
#[derive(Debug, Args)]
pub(super) struct Idle {
    #[command(flatten)]
    ground: GroundArgs,
    /// How often it is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
}

impl Idle {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        perform(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        self.ground.only_ours(global, "it looks at the processes of a cluster that is new")?;
        let (mut samples, mut settings) = (Vec::new(), None);
        for _ in 0..self.times {
            let from = clock();
            let ground = self.ground.prepare(global).await?;
            let mut sample = Sample::from([("all_ready_ms", ms_since(from))]);
            if let Some(ready) = ground.coordinator_ready() {
                sample.insert("ready_ms", ready.as_secs_f64() * 1_000.0);
            }
            tokio::time::sleep(SETTLED).await;
            sample.extend(ground.memory());
            samples.push(sample);
            settings = Some(self.ground.settings(ground.nats()).await?);
        }
        if let Some(settings) = settings {
            Figures { benchmark: "idle", runs: None, settings, samples }.print(global.output);
        }
        Ok(Exit::Ok)
    }
}

fn ms_since(from: Duration) -> f64 {
    clock().saturating_sub(from).as_secs_f64() * 1_000.0
}
