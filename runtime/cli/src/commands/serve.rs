//! `skep serve`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skep_coordinator::{Config, Coordinator};
use skep_nats::Nats;
use skep_protocol::limits::MAX_RUNS_PER_PARTITION;
use skep_protocol::{CoordinatorId, PartitionCount};

use crate::cli::Global;
use crate::cluster;
use crate::error::{Error, Exit};
use crate::human;
use crate::output;
use crate::runtime;
use crate::signals::Interrupts;

/// How long NATS may be away from a coordinator that is to hand over.
const AWAY: Duration = Duration::from_secs(10);
/// The most runs of one partition that may be live.
#[expect(clippy::cast_possible_truncation, reason = "it is far below")]
const MAX_RUNS: u32 = MAX_RUNS_PER_PARTITION as u32;

/// Serve a cluster as a coordinator.
///
/// It serves until SIGTERM or Ctrl-C, then hands over and ends; without NATS, after ten seconds.
///
/// Several coordinators may serve one cluster: they share its partitions, and stand by for each
/// other. One that is killed or hangs is replaced; a newcomer gets its share.
/// All that matters lies in the journals on NATS; --data can be thrown away at any time.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the read model lies, which answers `list`, `get` and `history`; without it, what does
    /// not fit into little memory is in a temporary file and goes with the process.
    #[arg(long, value_name = "DIR", env = "SKEP_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// The number of partitions of a new cluster (8 if not given), fixed for ever.
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    partitions: Option<u16>,
    /// Runs of one partition that may be live; more are refused as busy until others end.
    #[arg(long, value_name = "N", default_value_t = MAX_RUNS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RUNS)))]
    max_runs: u32,
    /// How much memory live runs may take, about, by what they were given and what came out of
    /// their steps; beyond it, more are refused as busy. The process takes more than that: plan
    /// with twice as much, and 200 MiB.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = human::parse_size)]
    run_memory: usize,
    /// The name of this coordinator; made up if not given.
    #[arg(long, value_name = "NAME")]
    name: Option<CoordinatorId>,
}

impl Serve {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        runtime::large()?.block_on(self.serve(global))
    }

    async fn serve(self, global: &Global) -> Result<Exit, Error> {
        let mut interrupts = Interrupts::listen()?;
        let mut config = self.config()?;
        let nats = cluster::connect(&global.cluster).await?;
        config.partitions = self.partitions(cluster::partitions(&nats).await?)?;
        nats.ensure_layout(config.partitions).await?;
        let mut coordinator = Coordinator::start(nats.clone(), config).await?;
        let address = cluster::address(&global.cluster)?;
        let id = coordinator.id().clone();
        output::note(format!("coordinator {id} serves the cluster at {address}"));
        let looking = async {
            warn_of_onlookers(&nats).await;
            std::future::pending::<()>().await;
        };
        tokio::select! { biased;
            _ = interrupts.next() => {}
            () = coordinator.stopped() => {
                let message = "every partition of the cluster has stopped";
                return Err(Error::new(Exit::Unreachable, message)
                    .help("the log above names the cause; see also: skep doctor"));
            }
            () = looking => {}
        }
        output::note("handing over (Ctrl-C again ends it at once)");
        coordinator.drain();
        tokio::select! { biased;
            () = coordinator.stopped() => Ok(Exit::Ok),
            interrupt = interrupts.next() => Ok(interrupt.exit()),
            () = cluster::away(&nats, AWAY) => {
                let message = format!(
                    "NATS is away for {}: nothing can be handed over", human::duration(AWAY)
                );
                Err(Error::new(Exit::Unreachable, message)
                    .help("nothing is lost: whoever serves next reads the journals on NATS"))
            }
        }
    }

    fn config(&self) -> Result<Config, Error> {
        let mut config = match &self.data {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| {
                    Error::usage(format!("cannot make the folder {}: {error}", folder.display()))
                })?;
                Config::daemon(folder.join("read-model.sqlite"))
            }
            None => Config::default(),
        };
        config.coordinator.clone_from(&self.name);
        config.max_runs_per_partition = self.max_runs as usize;
        config.max_run_bytes = self.run_memory;
        Ok(config)
    }

    /// Returns how many partitions there are to be, if there are so many already.
    fn partitions(&self, there: Option<PartitionCount>) -> Result<PartitionCount, Error> {
        let wanted = self
            .partitions
            .map(|wanted| PartitionCount::new(wanted).expect("the command line takes 1 and more"));
        match (wanted, there) {
            (Some(wanted), Some(there)) if wanted != there => {
                let (wanted, there) = (wanted.get(), there.get());
                let message = format!(
                    "the cluster has {there} partitions, --partitions {wanted} comes too late"
                );
                Err(Error::new(Exit::Conflict, message).help("leave --partitions away"))
            }
            (_, Some(there)) => Ok(there),
            (wanted, None) => Ok(wanted.unwrap_or(PartitionCount::DEFAULT)),
        }
    }
}

/// Tells of those who keep the server from saying that nobody is there.
async fn warn_of_onlookers(nats: &Nats) {
    let watched = nats.onlookers().await.unwrap_or_default();
    if !watched.is_empty() {
        let watched = watched.join(", ");
        output::warn(format!(
            "somebody else subscribes to {watched}; what that costs: skep doctor"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_fixed_when_the_cluster_is_made() {
        let partitions = |wanted: Option<u16>, there: Option<u16>| {
            let (max_runs, run_memory) = (1, 1);
            let serve = Serve { data: None, partitions: wanted, name: None, max_runs, run_memory };
            let there = there.and_then(PartitionCount::new);
            serve.partitions(there).map(PartitionCount::get).map_err(|error| error.exit().number())
        };
        let default = PartitionCount::DEFAULT.get();
        assert_eq!(partitions(None, None), Ok(default));
        assert_eq!(partitions(Some(3), None), Ok(3));
        assert_eq!(partitions(None, Some(3)), Ok(3));
        assert_eq!(partitions(Some(3), Some(3)), Ok(3));
        assert_eq!(partitions(Some(8), Some(4)), Err(6));
    }
}
