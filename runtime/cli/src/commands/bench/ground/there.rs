//! Whether what a benchmark runs on is still there.

use std::future::pending;
use std::time::Duration;

use super::super::clock;
use super::{Cluster, Ground, PATIENCE};
use crate::error::{Error, Exit};
use crate::human;
use crate::process::Process;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long there may be no connection: a server that is started again is back by then.
const ALONE: Duration = Duration::from_secs(10);

impl Ground {
    /// Does `work` as long as all is there that it needs: what was started, and the server.
    pub(in super::super) async fn bears<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! { biased;
            done = work => done,
            lost = self.lost() => Err(lost),
        }
    }

    async fn lost(&self) -> Error {
        match self {
            Self::Embedded(_) => pending().await,
            Self::Nats(cluster) => cluster.lost().await,
        }
    }
}

impl Cluster {
    async fn lost(&self) -> Error {
        tokio::select! {
            error = gone([&self.coordinators, &self.agents]) => error,
            () = self.alone() => Error::new(
                Exit::Unreachable,
                format!("there is no connection to the server since {}", human::duration(ALONE)),
            ),
        }
    }

    /// Waits until there was no connection for long.
    async fn alone(&self) {
        let mut connected = clock();
        while clock().saturating_sub(connected) < ALONE {
            if self.client.broker().has_connection() {
                connected = clock();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Does `work` as long as all of these run.
pub(super) async fn while_they_run<T>(
    processes: [&[Process]; 2],
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! { biased;
        done = work => done,
        error = gone(processes) => Err(error),
    }
}

/// Waits until one of these has ended, and says how.
async fn gone(processes: [&[Process]; 2]) -> Error {
    loop {
        if let Some(error) = processes.iter().copied().flatten().find_map(Process::ended_by_itself)
        {
            return error;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits for something, but not for ever.
pub(in super::super) async fn within<T>(
    what: &str,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let waited = tokio::time::timeout(PATIENCE, work).await;
    let patience = human::duration(PATIENCE);
    waited.map_err(|_| Error::new(Exit::Timeout, format!("{what} after {patience}")))
}
