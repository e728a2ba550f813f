//! `skep bench failover`

mod load;
mod processes;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use skep_nats::server::{Options, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::limits::AGENT_SILENCE;
use skep_protocol::{PartitionCount, PartitionId};

use super::clock;
use super::figures::rounded;
use super::ground::check_logs;
use super::settings::Settings;
use crate::cli::Global;
use crate::error::{Error, Exit, chain};
use crate::human;
use crate::output::{self, Format};
use crate::runtime;
use crate::signals::Interrupts;
use load::Load;
use processes::{Processes, Sign};
use watch::Watch;

/// Coordinators that share the partitions.
const NAMES: [&str; 3] = ["bench-a", "bench-b", "bench-c"];
/// How long anything may take that has to come to its end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at what has no other way to tell.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After so long, agents that came have work, and those that vanished are missed.
const AGENTS_SETTLE: Duration = Duration::from_secs(2);
/// A take-over is not looked for longer than this before the fault: the load has begun again.
const LOADED_FOR: Duration = Duration::from_millis(500);

/// Kill, stop and drain coordinators under load: how long each partition stands still.
///
/// It starts a nats-server, three coordinators and agents as processes of their own, keeps runs
/// going, and then ends one coordinator after the other: by SIGKILL, by SIGSTOP, by SIGTERM. What
/// is told is the time from the last step that finished under the old owner of a partition to the
/// first one under the new owner; of each fault, that of the partition that stood still longest.
/// Then it kills and stops agents, and tells how long it took until the last step that was lost
/// with one of them was begun by another.
#[derive(Debug, Args)]
pub(super) struct Failover {
    /// Coordinators to end by SIGKILL, one after the other.
    #[arg(long, value_name = "N", default_value_t = 50)]
    kills: u32,
    /// Coordinators to stop by SIGSTOP, one after the other, until they are replaced.
    #[arg(long, value_name = "N", default_value_t = 50)]
    stops: u32,
    /// Coordinators to drain by SIGTERM, one after the other.
    #[arg(long, value_name = "N", default_value_t = 50)]
    drains: u32,
    /// Agents to end by SIGKILL, one after the other.
    #[arg(long, value_name = "N", default_value_t = 50)]
    agent_kills: u32,
    /// Agents to stop by SIGSTOP, one after the other, until their work is done elsewhere.
    #[arg(long, value_name = "N", default_value_t = 20)]
    agent_stops: u32,
    /// Runs under way at a time, as many in each of the eight partitions.
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(8..=10_000))]
    runs: u32,
    /// How long each step takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10)]
    step_ms: u64,
    /// Agents, each a process with 64 slots.
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    agents: u32,
    /// An existing folder for the logs of the processes, as SKEP_LOG says.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
}

/// How long it took to get over one kind of fault.
struct Series {
    who: &'static str,
    sign: Sign,
    goal: Duration,
    /// Of each fault, the longest.
    gaps: Vec<Duration>,
}

impl Failover {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        if [self.kills, self.stops, self.drains, self.agent_kills, self.agent_stops] == [0; 5] {
            return Err(Error::usage("without a fault there is nothing to get over"));
        }
        check_logs(self.logs.as_deref())?;
        if global.cluster.is_named() {
            return Err(Error::usage("a cluster is named, and this starts one of its own")
                .help("leave --nats away and unset SKEP_NATS_URL"));
        }
        runtime::large()?.block_on(async {
            let mut interrupts = Interrupts::listen()?;
            tokio::select! { biased;
                interrupt = interrupts.next() => Ok(interrupt.exit()),
                measured = self.measure(global) => measured,
            }
        })
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        let server = ThrowawayServer::start(Options::default()).await;
        let server = server.map_err(|error| Error::new(Exit::Unreachable, chain(&error)))?;
        let nats = Nats::connect(ConnectOptions::url(&server.url())).await?;
        nats.ensure_layout(PartitionCount::DEFAULT).await?;
        let mut processes = Processes::new(&server.url(), server.store_dir(), self.logs.clone());
        for name in NAMES {
            processes.start_coordinator(name)?;
        }
        (0..self.agents).try_for_each(|_| processes.start_agent(self.step_ms))?;
        let watch = Watch::start(&nats).await?;
        let load = Load::start(&nats, self.runs, &watch).await?;
        let faults = [
            (Sign::Kill, self.kills, Duration::from_millis(500)),
            (Sign::Stop, self.stops, Duration::from_secs(3)),
            (Sign::Drain, self.drains, Duration::from_millis(200)),
        ];
        let mut all = Vec::new();
        for (sign, count, goal) in faults {
            let mut series = Series { who: "coordinator", sign, goal, gaps: Vec::new() };
            for number in 0..count {
                let name = NAMES[number as usize % NAMES.len()];
                let seen = fault(&nats, &mut processes, &watch, (name, sign)).await?;
                let longest = seen.iter().map(|(_, gap)| *gap).max().unwrap_or_default();
                output::note(format!("{} {name}: {}", sign.word(), told(&seen)));
                series.gaps.push(longest);
            }
            all.push(series);
        }
        let faults = [
            (Sign::Kill, self.agent_kills, Duration::from_secs(1)),
            (Sign::Stop, self.agent_stops, Duration::from_secs(8)),
        ];
        tokio::time::sleep(AGENTS_SETTLE).await;
        for (sign, count, goal) in faults {
            let mut series = Series { who: "agent", sign, goal, gaps: Vec::new() };
            for _ in 0..count {
                let gap = self.agent_fault(&mut processes, &watch, sign).await?;
                let told = gap.map_or_else(
                    || "held nothing".to_owned(),
                    |gap| format!("{} ms", gap.as_millis()),
                );
                output::note(format!("{} agent: {told}", sign.word()));
                series.gaps.extend(gap);
            }
            all.push(series);
        }
        let steps = load.finish(&watch, PATIENCE).await?;
        report(&all, (steps, watch.lost()), &self.settings(), global.output);
        Ok(Exit::Ok)
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new("nats", Some("direct"));
        settings.set("coordinators", NAMES.len());
        settings.set("partitions", PartitionCount::DEFAULT.get());
        settings.set("agents", self.agents);
        settings.set("runs", self.runs);
        settings.set("step_ms", self.step_ms);
        settings
    }

    /// Kills or stops one agent, waits until others have begun all that it had, and brings it back.
    /// Returns how long that took, if it had anything.
    async fn agent_fault(
        &self,
        processes: &mut Processes,
        watch: &Watch,
        sign: Sign,
    ) -> Result<Option<Duration>, Error> {
        let rescued = || within("lost steps are not done elsewhere", watch.rescued());
        let from = now();
        let is_stopped = sign == Sign::Stop;
        if is_stopped {
            processes.stop_agent();
            tokio::time::sleep(AGENT_SILENCE).await;
        } else {
            processes.kill_agent();
        }
        // Each coordinator notices for itself.
        tokio::time::sleep(AGENTS_SETTLE).await;
        let begun = rescued().await?;
        if is_stopped {
            processes.agent_goes_on();
        } else {
            processes.start_agent(self.step_ms)?;
        }
        // What is missed only now counts, too; later still, it counts for the next fault.
        tokio::time::sleep(AGENTS_SETTLE).await;
        let begun = begun.max(rescued().await?);
        Ok(begun.map(|begun| begun.saturating_sub(from)))
    }
}

/// Ends one coordinator, waits until each of its partitions goes on elsewhere, and brings it back.
async fn fault(
    nats: &Nats,
    processes: &mut Processes,
    watch: &Watch,
    (name, sign): (&str, Sign),
) -> Result<Vec<(PartitionId, Duration)>, Error> {
    within("the partitions are not shared", watch::until_shared(nats, &NAMES)).await??;
    tokio::time::sleep(LOADED_FOR).await;
    let partitions = watch.owned_by(name);
    watch.begin(&partitions);
    processes.end(name, sign);
    let gaps = within("a partition stands still", watch.gaps(&partitions)).await?;
    match sign {
        Sign::Kill => processes.start_coordinator(name)?,
        Sign::Stop => processes.goes_on(name),
        Sign::Drain => {
            within("a coordinator does not end", processes.ended(name)).await?;
            processes.start_coordinator(name)?;
        }
    }
    Ok(gaps)
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Error> {
    let waited = tokio::time::timeout(PATIENCE, work).await;
    let patience = human::duration(PATIENCE);
    waited.map_err(|_| Error::new(Exit::Timeout, format!("{what} after {patience}")))
}

fn told(gaps: &[(PartitionId, Duration)]) -> String {
    let each = gaps.iter().map(|(partition, gap)| format!("{partition}: {} ms", gap.as_millis()));
    each.collect::<Vec<_>>().join(", ")
}

impl Series {
    /// Returns the gap below which so many percent of all are: of 50, the 99th is the longest.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        let at = (gaps.len() * percent).div_ceil(100).max(1) - 1;
        gaps.get(at).copied()
    }
}

fn report(all: &[Series], (steps, lost): (usize, usize), settings: &Settings, format: Format) {
    let ms = |gap: Option<Duration>| gap.map(|gap| rounded(gap.as_secs_f64() * 1_000.0));
    if format == Format::Json {
        let faults = all.iter().map(|series| {
            let value = json!({
                "faults": series.gaps.len(),
                "median_ms": ms(series.percentile(50)),
                "p99_ms": ms(series.percentile(99)),
                "goal_ms": ms(Some(series.goal)),
            });
            (format!("{}_{}", series.who, series.sign.word()), value)
        });
        let faults: serde_json::Map<String, Value> = faults.collect();
        output::json_line(&json!({
            "benchmark": "failover",
            "broker": settings.broker(),
            "gaps": faults,
            "steps": steps,
            "attempts_lost": lost,
            "settings": settings.to_json(),
        }));
        return;
    }
    for series in all {
        let (Some(median), Some(p99)) = (series.percentile(50), series.percentile(99)) else {
            continue;
        };
        output::data(format!(
            "{} {}: {} faults, median {} ms, p99 {} ms (goal {} ms)",
            series.sign.word(),
            series.who,
            series.gaps.len(),
            median.as_millis(),
            p99.as_millis(),
            series.goal.as_millis(),
        ));
    }
    let (steps, lost) = (human::count(steps, "step"), human::count(lost, "attempt"));
    output::data(format!("{steps} finished, {lost} lost"));
}

/// Returns the time, from the start of this process on.
fn now() -> Duration {
    clock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_few_faults_the_longest_gap_is_the_99th() {
        let series = |gaps: &[u64]| Series {
            who: "coordinator",
            sign: Sign::Kill,
            goal: Duration::ZERO,
            gaps: gaps.iter().copied().map(Duration::from_millis).collect(),
        };
        let of = |gaps: &[u64], percent| series(gaps).percentile(percent).map(|g| g.as_millis());
        assert_eq!(of(&[], 99), None);
        assert_eq!((of(&[3], 50), of(&[3], 99)), (Some(3), Some(3)));
        assert_eq!((of(&[3, 1, 2], 50), of(&[3, 1, 2], 99)), (Some(2), Some(3)));
        let many: Vec<u64> = (1..=200).collect();
        assert_eq!((of(&many, 50), of(&many, 99)), (Some(100), Some(198)));
    }
}
