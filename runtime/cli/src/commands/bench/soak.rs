//! `skep bench soak`

use std::time::Duration;

use clap::Args;
use skep_broker::Broker;

use super::chain::Shape;
use super::clock;
use super::figures::{Figures, Sample, percentile};
use super::ground::{Ground, GroundArgs, over, perform};
use crate::cli::Global;
use crate::client::Client;
use crate::error::{Error, Exit};
use crate::human;
use crate::output;

/// Memory that is in use in the first part of a soak says nothing of how it grows.
const WARM_UP_SHARE: f64 = 0.2;
/// A shorter time says nothing of how anything grows in an hour.
const GROWS_IN: Duration = Duration::from_secs(60);
/// Runs of the time before that are under way together.
const WARM_UP_AT_ONCE: u32 = 2_000;

/// A steady load for a given time: memory and latency, and how they change.
///
/// Every interval some runs are started, once all of those before have ended. What is told at the
/// end of how memory and latency grow is the slope over all but the first fifth of the time; from a
/// minute on there is one.
#[derive(Debug, Args)]
pub(super) struct Soak {
    #[command(flatten)]
    ground: GroundArgs,
    #[command(flatten)]
    shape: Shape,
    /// For how long.
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = human::parse_duration)]
    duration: Duration,
    /// Runs that are played before, as fast as that goes: what is kept of the last runs has reached
    /// its bound after 56 000 of each partition.
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    warm_up: u32,
    /// How often the next runs are started; 0s for one after the other.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = human::parse_duration)]
    every: Duration,
}

/// What was seen at one moment.
struct Seen {
    at: f64,
    took_ms: f64,
    memory: Vec<(&'static str, f64)>,
}

impl Soak {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        perform(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        if self.duration.is_zero() {
            return Err(Error::usage("a soak of no time shows nothing").help("try --duration 20m"));
        }
        self.ground.check_room(global, self.shape.runs)?;
        let ground = self.ground.prepare(global).await?;
        let sample = over!(ground, client => self.sample(client, &ground)).await?;
        let mut settings = self.ground.settings(ground.nats()).await?;
        self.shape.each.tell(&mut settings);
        settings.set("seconds", self.duration.as_secs());
        settings.set("warm_up_runs", self.warm_up);
        let (runs, samples) = (Some(self.shape.runs), vec![sample]);
        Figures { benchmark: "soak", runs, settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }

    async fn sample<B: Broker>(
        &self,
        client: &Client<B>,
        ground: &Ground,
    ) -> Result<Sample, Error> {
        let Shape { runs, each } = self.shape;
        let mut load = each.prepare(client).await?;
        let mut left = self.warm_up;
        while left > 0 {
            let some = left.min(WARM_UP_AT_ONCE);
            load.play(some).await?;
            left -= some;
        }
        let from = clock();
        let (mut next, until) = (from, from + self.duration);
        let mut all = Vec::new();
        let mut told = Duration::ZERO;
        while next < until {
            tokio::time::sleep(next.saturating_sub(clock())).await;
            let played = load.play(runs).await?;
            let at = clock().saturating_sub(from);
            let seen = Seen {
                at: at.as_secs_f64(),
                took_ms: played.took.as_secs_f64() * 1_000.0,
                memory: ground.memory(),
            };
            if at.saturating_sub(told) >= Duration::from_secs(10) {
                told = at;
                let memory = seen.memory.iter().map(|(name, mib)| format!("{name} {mib:.1}"));
                let memory = memory.collect::<Vec<_>>().join(", ");
                output::note(format!("{:.0} s: {:.0} ms, {memory}", seen.at, seen.took_ms));
            }
            all.push(seen);
            next = (next + self.every).max(clock());
        }
        let span = (clock() - from).max(self.duration);
        Ok(summary(&all, span, f64::from(runs) * f64::from(each.steps)))
    }
}

/// Puts together what was seen in a time.
fn summary(all: &[Seen], span: Duration, steps: f64) -> Sample {
    let mut times: Vec<f64> = all.iter().map(|seen| seen.took_ms).collect();
    times.sort_unstable_by(f64::total_cmp);
    let grows = span >= GROWS_IN;
    let span = span.as_secs_f64();
    let late: Vec<&Seen> = all.iter().filter(|seen| seen.at >= span * WARM_UP_SHARE).collect();
    let mut sample = Sample::new();
    sample.insert("steps_per_s", all.len() as f64 * steps / span);
    sample.extend(percentile(&times, 50.0).map(|ms| ("p50_ms", ms)));
    sample.extend(percentile(&times, 99.0).map(|ms| ("p99_ms", ms)));
    let took = late.iter().map(|seen| (seen.at, seen.took_ms));
    if grows {
        sample.insert("growth_ms_per_hour", 3_600.0 * slope(took));
    }
    for (name, growth) in [
        ("rss_mib", "growth_mib_per_hour"),
        ("agent_rss_mib", "agent_growth_mib_per_hour"),
        ("nats_server_rss_mib", "nats_server_growth_mib_per_hour"),
    ] {
        let of = |seen: &&Seen| {
            let size = seen.memory.iter().find(|(of, _)| *of == name).map(|(_, mib)| *mib);
            Some((seen.at, size?))
        };
        let sizes: Vec<(f64, f64)> = late.iter().filter_map(of).collect();
        let Some((_, last)) = all.last().as_ref().and_then(of) else { continue };
        sample.insert(name, last);
        if grows {
            sample.insert(growth, 3_600.0 * slope(sizes.iter().copied()));
        }
    }
    sample
}

/// Returns how much the second value grows with the first: the least squares fit.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.clone().count().max(1) as f64;
    let sum = |of: fn((f64, f64)) -> f64| points.clone().map(of).sum::<f64>() / count;
    let (x, y) = (sum(|(x, _)| x), sum(|(_, y)| y));
    let (xx, xy) = (sum(|(x, _)| x * x), sum(|(x, y)| x * y));
    let variance = xx - x * x;
    if variance > 0.0 { (xy - x * y) / variance } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_has_a_slope() {
        let line = |at: f64| (at, 3.0 + 0.5 * at);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        close(slope((0..100).map(f64::from).map(line)), 0.5);
        close(slope(std::iter::empty()), 0.0);
        close(slope(std::iter::once((1.0, 1.0))), 0.0);
        let seen = |at: f64| Seen { at, took_ms: 7.0, memory: vec![("rss_mib", line(at).1)] };
        let all: Vec<Seen> = (0..100).map(f64::from).map(seen).collect();
        assert!(!summary(&all, Duration::from_secs(59), 10.0).contains_key("growth_ms_per_hour"));
        let sample = summary(&all, Duration::from_secs(100), 10.0);
        close(sample["steps_per_s"], 10.0);
        close(sample["growth_mib_per_hour"], 1_800.0);
        close(sample["growth_ms_per_hour"], 0.0);
        close(sample["p99_ms"], 7.0);
    }
}
