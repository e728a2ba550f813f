//! What a benchmark that was interrupted, or failed, leaves in another's cluster: nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use skep_nats::Nats;
use skep_protocol::{Command, RunFilter, RunId, RunStatus};

use super::super::load::WORKFLOWS;
use crate::cli;
use crate::client::Client;
use crate::cluster;
use crate::error::{Error, Exit};
use crate::output;

/// States of runs that are not over by themselves.
const LIVE: [RunStatus; 3] = [RunStatus::Running, RunStatus::Waiting, RunStatus::Paused];
/// Runs that are cancelled at a time.
const AT_ONCE: usize = 256;
/// Starts that were under way have come to something by then.
const STARTED_WITHIN: Duration = Duration::from_millis(500);

/// Cancels the runs of benchmarks that are live; says how many there were, or why they stay.
pub(super) async fn cancel_what_is_left(cluster: &cli::Cluster) -> Result<Exit, Error> {
    tokio::time::sleep(STARTED_WITHIN).await;
    match cancel_all(cluster).await {
        Ok(0) => {}
        Ok(1) => output::note("cancelled the run that was under way"),
        Ok(count) => output::note(format!("cancelled {count} runs that were under way")),
        Err(error) => output::note(format!(
            "runs of the benchmark may be live, and were not cancelled: {error}; see skep list"
        )),
    }
    Ok(Exit::Ok)
}

async fn cancel_all(cluster: &cli::Cluster) -> Result<usize, Error> {
    let client = cluster::client(cluster).await?;
    let mut cancelled = BTreeSet::new();
    loop {
        let mut found = live(&client).await?;
        found.retain(|run| !cancelled.contains(run));
        if found.is_empty() {
            return Ok(cancelled.len());
        }
        let cancelling = found.iter().map(|run| cancel(&client, *run));
        let cancelling = futures::stream::iter(cancelling).buffer_unordered(AT_ONCE);
        cancelling.try_collect::<()>().await?;
        cancelled.extend(found);
    }
}

async fn live(client: &Client<Nats>) -> Result<Vec<RunId>, Error> {
    let mut live = Vec::new();
    for workflow in WORKFLOWS {
        let filter = RunFilter {
            status: LIVE.to_vec(),
            workflow: Some(workflow.to_owned()),
            ..RunFilter::default()
        };
        live.extend(client.runs(filter).await?.iter().map(|run| run.run));
    }
    Ok(live)
}

async fn cancel(client: &Client<Nats>, run: RunId) -> Result<(), Error> {
    let reason = "its benchmark ended before it".to_owned();
    match client.change(run, Command::Cancel { run, reason }).await {
        // It ended meanwhile.
        Err(error) if error.exit() == Exit::Conflict => Ok(()),
        other => other.map(drop),
    }
}
