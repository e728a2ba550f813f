//! `skep bench chain`

use clap::Args;

use super::ceiling::{Beside, Loop};
use super::figures::{Figures, Sample};
use super::ground::{Ground, GroundArgs, over, perform};
use super::load::Chained;
use crate::cli::Global;
use crate::client::Client;
use crate::error::{Error, Exit};
use crate::output;
use skep_broker::Broker;

/// Runs before anything is measured: connections are made, memory is there.
const WARM_UP: u32 = 200;

/// Many runs at a time, each a chain of steps that do nothing: completed steps per second, from the
/// first start to the last end.
///
/// Beside it, and in turn with it, the same loop written by hand: see `skep bench ceiling`. A ratio
/// is skep's share of what a loop does: 1 is as fast, 0.5 half as fast. With --lane queue there are
/// two loops: `ratio` is the share of the leanest one, `plain_ratio` that of plain JetStream.
#[derive(Debug, Args)]
pub(super) struct Chain {
    #[command(flatten)]
    ground: GroundArgs,
    #[command(flatten)]
    shape: Shape,
    /// How often it is measured; the median counts.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
    #[command(flatten)]
    beside: Beside,
}

/// How much of what.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Shape {
    /// Runs at a time.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) runs: u32,
    #[command(flatten)]
    pub(super) each: Chained,
}

impl Chain {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        perform(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        self.ground.check_room(global, self.shape.runs)?;
        let ground = self.ground.prepare(global).await?;
        let loops = self.beside.loops(&ground, self.ground.server(), global);
        let samples = over!(ground, client => self.samples(client, &ground, &loops)).await?;
        let mut settings = self.ground.settings(ground.nats()).await?;
        self.shape.each.tell(&mut settings);
        let runs = Some(self.shape.runs);
        Figures { benchmark: "chain", runs, settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }

    async fn samples<B: Broker>(
        &self,
        client: &Client<B>,
        ground: &Ground,
        loops: &[Loop],
    ) -> Result<Vec<Sample>, Error> {
        let Shape { runs, each } = self.shape;
        let mut load = each.prepare(client).await?;
        let warm_up = Shape { runs: WARM_UP.min(runs), each };
        load.play(warm_up.runs).await?;
        for by_hand in loops {
            by_hand.play(warm_up).await?;
        }
        let mut samples = Vec::new();
        for time in 0..self.times {
            let before = ground.processor();
            let played = load.play(runs).await?;
            let all = f64::from(runs) * f64::from(each.steps);
            let steps_per_s = all / played.took.as_secs_f64();
            let mut sample = Sample::from([
                ("steps_per_s", steps_per_s),
                ("wall_ms", played.took.as_secs_f64() * 1_000.0),
            ]);
            sample.extend(ground.memory());
            let ran = ground.processor().into_iter().zip(before);
            sample.extend(
                ran.map(|((of, after), (_, before))| (of.per_step, (after - before) * 1e6 / all)),
            );
            for by_hand in loops {
                sample.extend(by_hand.hold(steps_per_s, self.shape).await?);
            }
            output::note(format!("{}: {:.0} steps/s", time + 1, steps_per_s));
            samples.push(sample);
        }
        Ok(samples)
    }
}
