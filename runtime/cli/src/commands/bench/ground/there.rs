//! Whether what a benchmark runs on is still there.

use std::time::Duration;

use skep_nats::Nats;

use super::{Cluster, Ground, PATIENCE};
use crate::cluster;
use crate::error::{Error, Exit};
use crate::human;
use crate::process::Process;

/// How often it is looked whether it is.
const GONE_EVERY: Duration = Duration::from_millis(100);
/// How long there may be no connection: a server that is started again is back by then.
const AWAY: Duration = Duration::from_secs(10);

impl Ground {
    /// Does `work` as long as all is there that it needs: what was started, and the server.
    pub(in super::super) async fn bears<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self {
            Self::Embedded(_) => work.await,
            Self::Nats(cluster) => cluster.bears(work).await,
        }
    }
}

impl Cluster {
    /// Does `work` as long as all is there that it needs.
    pub(in super::super) async fn bears<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let processes = [self.coordinators.as_slice(), &self.agents];
        while_there(self.client.broker(), processes, work).await
    }
}

/// Does `work` as long as these run, and there is a connection, or was one a moment ago.
pub(in super::super) async fn while_there<T>(
    nats: &Nats,
    processes: [&[Process]; 2],
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! { biased;
        done = work => done,
        error = gone(processes) => Err(error),
        () = cluster::away(nats, AWAY) => {
            let message = format!("the server was away for {}", human::duration(AWAY));
            Err(Error::new(Exit::Unreachable, message))
        }
    }
}

/// Waits until one of these has ended, and says how.
async fn gone(processes: [&[Process]; 2]) -> Error {
    loop {
        let mut all = processes.iter().copied().flatten();
        if let Some(error) = all.find_map(Process::ended_by_itself) {
            return error;
        }
        tokio::time::sleep(GONE_EVERY).await;
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

/// Does something with the client of a [`Ground`], as long as all is there that it needs.
macro_rules! over {
    ($ground:expr, $client:ident => $work:expr) => {
        $ground.bears(Box::pin(async {
            match &$ground {
                Ground::Embedded(local) => {
                    let $client = local.client();
                    $work.await
                }
                Ground::Nats(cluster) => {
                    let $client = cluster.client();
                    $work.await
                }
            }
        }))
    };
}
pub(in super::super) use over;
