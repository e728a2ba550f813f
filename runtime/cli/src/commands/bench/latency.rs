//! `skep bench latency`

use std::time::Duration;

use clap::Args;
use skep_broker::Broker;
use tokio::sync::mpsc;

use super::ceiling::{Beside, Loop};
use super::figures::{Figures, Sample, percentile};
use super::ground::{Ground, GroundArgs, over};
use super::load::Chained;
use crate::cli::Global;
use crate::client::Client;
use crate::error::{Error, Exit};
use crate::output;

/// Runs before anything is measured.
const WARM_UP: u32 = 20;
/// Steps of the loop written by hand: enough for one in a hundred.
const MOST_BY_HAND: u32 = 1_000;

/// One run at a time, a chain of steps that do nothing: how long each step takes, and a run, from
/// its submission to its end.
///
/// A step takes from when its agent began it until it begins the next one; the first one counts
/// from the submission. For that the agent is in this process, and nobody else watches. What a run
/// takes is seen in the journal, with as many runs again.
///
/// Beside it, and in turn with it, the loop written by hand, the leanest of its lane, with a single
/// chain of as many steps, at most 1000: how long each takes (ceiling), from one durable result to
/// the next. See `skep bench ceiling`. The ratio is `ceiling_p50_ms` by `p50_ms`: 1 is as fast, 0.5
/// half as fast.
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
    #[command(flatten)]
    beside: Beside,
}

impl Latency {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        self.ground.perform_idly(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        let (sender, begun) = mpsc::unbounded_channel();
        let ground = self.ground.telling(sender).prepare(global).await?;
        let loops = self.beside.loops(&ground, self.ground.server(), global);
        let by_hand = loops.first();
        let samples = over!(ground, client => self.samples(client, begun, by_hand)).await?;
        let mut settings = self.ground.settings(ground.nats()).await?;
        self.each.tell(&mut settings);
        Figures { benchmark: "latency", runs: Some(1), settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }

    async fn samples<B: Broker>(
        &self,
        client: &Client<B>,
        mut begun: mpsc::UnboundedReceiver<Duration>,
        by_hand: Option<&Loop>,
    ) -> Result<Vec<Sample>, Error> {
        let mut samples = Vec::new();
        for time in 0..=self.times {
            // The first time nothing is measured.
            let runs = if time == 0 { WARM_UP } else { self.runs };
            let (mut steps, mut whole) = (Vec::new(), Vec::new());
            let mut load = self.each.prepare(client).await?;
            for _ in 0..runs {
                let times = load.play_slowly(self.each.steps, &mut begun).await?;
                steps.extend(times.windows(2).map(|two| ms(two[1].saturating_sub(two[0]))));
            }
            for _ in 0..runs {
                whole.push(ms(load.play(1).await?.took));
            }
            while begun.try_recv().is_ok() {}
            let mut sample = of(steps, ["p50_ms", "p99_ms"]);
            sample.extend(of(whole, ["submit_to_complete_p50_ms", "submit_to_complete_p99_ms"]));
            if let Some(by_hand) = by_hand {
                let steps = MOST_BY_HAND.min(runs * self.each.steps);
                let times = by_hand.step_by_step(Chained { steps, ..self.each }).await?;
                let times = times.into_iter().map(ms).collect();
                sample.extend(of(times, ["ceiling_p50_ms", "ceiling_p99_ms"]));
                sample.insert("ratio", sample["ceiling_p50_ms"] / sample["p50_ms"]);
            }
            if time > 0 {
                output::note(format!("{time}: {:.3} ms a step", sample["p50_ms"]));
                samples.push(sample);
            }
        }
        Ok(samples)
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns under these names what half of them, and all but one in a hundred, do not exceed.
fn of(mut times: Vec<f64>, names: [&'static str; 2]) -> Sample {
    times.sort_unstable_by(f64::total_cmp);
    let figures = names.into_iter().zip([50.0, 99.0]);
    figures.filter_map(|(name, percent)| Some((name, percentile(&times, percent)?))).collect()
}
