//! `skep serve`

use std::path::PathBuf;

use clap::Args;
use skep_coordinator::{Config, Coordinator};
use skep_protocol::limits::DEFAULT_PARTITIONS;
use skep_protocol::{CoordinatorId, PartitionCount};

use crate::cli::Global;
use crate::cluster;
use crate::error::{Error, Exit};
use crate::output;
use crate::runtime;
use crate::signals::Interrupts;

/// Serve a cluster as a coordinator.
///
/// It serves until SIGTERM or Ctrl-C, then hands over and ends.
///
/// Several coordinators may serve one cluster: each partition has one owner, the others stand by.
/// All that matters lies in the journals on NATS; --data can be thrown away at any time.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the read model lies, which answers `list`, `get` and `history`; in memory without it.
    #[arg(long, value_name = "DIR", env = "SKEP_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// The number of partitions of a new cluster; fixed for ever.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PARTITIONS)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    partitions: u16,
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
        let config = self.config()?;
        let nats = cluster::connect(&global.cluster).await?;
        nats.ensure_layout(config.partitions).await?;
        let mut coordinator = Coordinator::start(nats, config).await?;
        let address = cluster::address(&global.cluster)?;
        let id = coordinator.id().clone();
        output::note(format!("coordinator {id} serves the cluster at {address}"));
        tokio::select! { biased;
            _ = interrupts.next() => {}
            () = coordinator.stopped() => {
                let message = "every partition of the cluster has stopped";
                return Err(Error::new(Exit::Unreachable, message)
                    .help("the log above names the cause; see also: skep doctor"));
            }
        }
        output::note("handing over (Ctrl-C again ends it at once)");
        coordinator.drain();
        tokio::select! { biased;
            () = coordinator.stopped() => Ok(Exit::Ok),
            interrupt = interrupts.next() => Ok(interrupt.exit()),
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
        config.partitions =
            PartitionCount::new(self.partitions).expect("the command line takes 1 and more");
        Ok(config)
    }
}
