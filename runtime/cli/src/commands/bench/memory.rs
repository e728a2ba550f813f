//! `skep bench memory`

use std::time::Duration;

use clap::Args;
use skep_broker::Broker;

use super::clock;
use super::figures::{Figures, Sample};
use super::ground::{Ground, GroundArgs, over, perform, within};
use super::load::Chained;
use crate::cli::Global;
use crate::client::Client;
use crate::error::{Error, Exit};
use crate::human;
use crate::output;

/// How long an agent works on a step: longer than anybody waits for the figures.
const STEP: Duration = Duration::from_secs(24 * 60 * 60);
/// How often it is looked whether the agents hold what they can.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Memory that a cluster takes without any load is there by then.
const SETTLED: Duration = Duration::from_secs(3);

/// How much memory runs take: some with a step in the hands of an agent, and some that wait until
/// an agent has a free slot.
///
/// All of them are started, as fast as that goes; then memory is watched for some time, in which
/// coordinators keep snapshots. It is told what they had at most, and what they have at the end.
/// Agents get as many slots as there are to be active runs: --slots does not matter. Of several
/// coordinators, figures are those of the largest.
#[derive(Debug, Args)]
pub(super) struct Memory {
    #[command(flatten)]
    ground: GroundArgs,
    /// Runs with a step in the hands of an agent.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    active: u32,
    /// Runs of which no step has found an agent.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    queued: u32,
    #[command(flatten)]
    each: Chained,
    /// How long memory is watched once all is started.
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = human::parse_duration)]
    watch: Duration,
}

impl Memory {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        perform(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        self.ground.only_ours(global, "it looks into the coordinators' memory")?;
        self.ground.check_room(global, self.active + self.queued)?;
        let ground_args = self.ground.holding(self.active, STEP);
        let ground = ground_args.prepare(global).await?;
        let sample = over!(ground, client => self.sample(client, &ground)).await?;
        let mut settings = ground_args.settings(ground.nats()).await?;
        settings.set("active_runs", self.active());
        settings.set("queued_runs", self.queued);
        self.each.tell(&mut settings);
        let (runs, samples) = (Some(self.active() + self.queued), vec![sample]);
        Figures { benchmark: "memory", runs, settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }

    async fn sample<B: Broker>(
        &self,
        client: &Client<B>,
        ground: &Ground,
    ) -> Result<Sample, Error> {
        let load = self.each.prepare(client).await?;
        tokio::time::sleep(SETTLED).await;
        let idle = of_coordinators(ground);
        let mut started = Duration::ZERO;
        // Those that are to be active come first, lest others take their slots.
        for runs in [self.active(), self.queued] {
            started += load.start(runs).await?;
            within("the agents do not hold what they can", held(client, self.active())).await??;
        }
        let all = self.active() + self.queued;
        output::note(format!("{all} runs: {}", told(ground)));
        let (from, mut peak) = (clock(), ground.peak_memory());
        while clock().saturating_sub(from) < self.watch {
            tokio::time::sleep(LOOK_EVERY).await;
            peak = ground.peak_memory();
        }
        let mut sample = Sample::from([
            ("starts_per_s", f64::from(all) / started.as_secs_f64()),
            ("idle_rss_mib", idle),
        ]);
        sample.extend(ground.memory());
        sample.extend(peak);
        if self.ground.coordinators() == 1 {
            let more = of_coordinators(ground) - idle;
            sample.insert("bytes_per_run", more.max(0.0) * 1024.0 * 1024.0 / f64::from(all));
        }
        Ok(sample)
    }

    /// Returns how many runs agents hold a step of: each agent holds as many as the others.
    const fn active(&self) -> u32 {
        self.active.next_multiple_of(self.ground.agents())
    }
}

fn of_coordinators(ground: &Ground) -> f64 {
    let memory = ground.memory();
    memory.into_iter().find(|(of, _)| *of == "rss_mib").map_or(0.0, |(_, mib)| mib)
}

fn told(ground: &Ground) -> String {
    let memory = ground.memory().into_iter().map(|(name, mib)| format!("{name} {mib:.1}"));
    memory.collect::<Vec<_>>().join(", ")
}

/// Waits until agents hold so many attempts.
async fn held<B: Broker>(client: &Client<B>, wanted: u32) -> Result<(), Error> {
    loop {
        let held: u32 = client.agents().await?.iter().map(|agent| agent.held).sum();
        if held >= wanted {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
