//! `skep bench recovery`

use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use skep_broker::Journal as _;
use skep_nats::Nats;
use skep_protocol::{Batch, PartitionCount, Seq};

use super::figures::{Figures, Sample};
use super::ground::{Cluster, Ground, GroundArgs, perform, within};
use super::load::Chained;
use crate::cli::Global;
use crate::error::{Error, Exit, chain};

/// How long an agent works on a step: longer than anybody waits for the figures.
const STEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Kill and drain coordinators that have many live runs: how long it takes until all partitions are
/// served again.
///
/// The runs wait for a free slot of an agent. Killed coordinators leave no snapshot, so that those
/// that come after them read the journals; drained ones leave one. Time counts from the start of
/// the new processes; the journals of killed ones are read from the beginning unless it takes more
/// than a minute, for then there are snapshots.
#[derive(Debug, Args)]
pub(super) struct Recovery {
    #[command(flatten)]
    ground: GroundArgs,
    /// Live runs.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=400_000))]
    runs: u32,
    #[command(flatten)]
    each: Chained,
    /// How often coordinators are killed, and how often they are drained; the median counts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
}

impl Recovery {
    pub(super) fn perform(self, global: &Global) -> Result<Exit, Error> {
        if self.ground.is_embedded() {
            return Err(needs_processes());
        }
        self.ground.only_ours(global, "it kills coordinators")?;
        self.ground.check_room(global, self.runs)?;
        perform(global, self.measure(global))
    }

    async fn measure(&self, global: &Global) -> Result<Exit, Error> {
        let ground_args = self.ground.holding(1, STEP);
        let mut ground = ground_args.prepare(global).await?;
        let mut settings = ground_args.settings(ground.nats()).await?;
        self.each.tell(&mut settings);
        let Ground::Nats(cluster) = &mut ground else { return Err(needs_processes()) };
        let load = self.each.prepare(cluster.client()).await?;
        cluster.bears(load.start(self.runs)).await?;
        drop(load);
        let mut samples = Vec::new();
        for _ in 0..self.times {
            cluster.kill_coordinators();
            // It is of no use to ask while they can still write.
            let records = records(cluster.client().broker(), cluster.client().partitions()).await?;
            let took = cluster.start_coordinators_again().await?.as_secs_f64();
            let mut sample = Sample::from([
                ("records", records),
                ("from_journal_ms", took * 1_000.0),
                ("records_per_s", records / took),
            ]);
            sample.extend(cluster.memory().into_iter().filter(|(of, _)| *of == "rss_mib"));
            samples.push(sample);
        }
        for sample in &mut samples {
            drain(cluster).await?;
            let took = cluster.start_coordinators_again().await?;
            sample.insert("from_snapshot_ms", took.as_secs_f64() * 1_000.0);
        }
        let runs = Some(self.runs);
        Figures { benchmark: "recovery", runs, settings, samples }.print(global.output);
        Ok(Exit::Ok)
    }
}

fn needs_processes() -> Error {
    Error::usage("it kills coordinators, and embedded there is none").help("leave --embedded away")
}

async fn drain(cluster: &mut Cluster) -> Result<(), Error> {
    within("the coordinators do not end", cluster.drain_coordinators()).await
}

/// Counts what the journals have.
async fn records(nats: &Nats, partitions: PartitionCount) -> Result<f64, Error> {
    let mut count = 0;
    for partition in partitions.all() {
        let Some(last) = nats.last(partition).await? else { continue };
        let mut messages = nats.follow(partition, Seq::new(1)).await?;
        let mut read = Seq::ZERO;
        while read < last.seq {
            let message = messages.next().await.and_then(Result::ok);
            let message = message.ok_or_else(|| {
                Error::new(Exit::Unreachable, "a journal cannot be read to its end")
            })?;
            read = message.seq;
            let batch = Batch::read(&message.bytes);
            count += batch.map_err(|error| Error::new(Exit::Failed, chain(&error)))?.records.len();
        }
    }
    Ok(f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
}
