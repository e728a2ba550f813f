//! What a benchmark that was interrupted, or failed, leaves in another's cluster: nothing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use skep_nats::{Nats, by_hand};
use skep_protocol::{Command, RunFilter, RunId, RunStatus};

use super::super::load::Kind;
use crate::cli::{self, Global};
use crate::client::Client;
use crate::cluster;
use crate::error::{Error, Exit};
use crate::output;
use crate::signals::Interrupts;

/// States of runs that are not over by themselves.
const LIVE: [RunStatus; 3] = [RunStatus::Running, RunStatus::Waiting, RunStatus::Paused];
/// Runs that are cancelled at a time.
const AT_ONCE: usize = 256;
/// Starts that were under way have come to something by then.
const STARTED_WITHIN: Duration = Duration::from_millis(500);

/// Set once this benchmark may have something on a cluster of somebody else's.
static IS_GUEST: AtomicBool = AtomicBool::new(false);

/// Set once that may be runs, too.
static HAS_RUNS: AtomicBool = AtomicBool::new(false);

/// Tells that there may be something to leave from here on.
pub(in super::super) fn is_guest() {
    IS_GUEST.store(true, Ordering::Relaxed);
}

/// Tells that there may be runs to cancel from here on.
pub(super) fn has_runs() {
    is_guest();
    HAS_RUNS.store(true, Ordering::Relaxed);
}

/// Does `work` until it is interrupted; on a cluster of somebody else's, nothing is left that did
/// not come to its end.
pub(super) async fn leaving_nothing(
    global: &Global,
    work: impl Future<Output = Result<Exit, Error>>,
) -> Result<Exit, Error> {
    let done = until_interrupted(work).await;
    if IS_GUEST.load(Ordering::Relaxed) && !matches!(done, Ok(Exit::Ok)) {
        let left = Box::pin(until_interrupted(clean(&global.cluster))).await;
        if !matches!(left, Ok(Exit::Ok)) {
            output::note("something of the benchmark may be left: see skep list, nats stream ls");
        }
    }
    done
}

async fn until_interrupted(work: impl Future<Output = Result<Exit, Error>>) -> Result<Exit, Error> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! { biased;
        interrupt = interrupts.next() => Ok(interrupt.exit()),
        done = work => done,
    }
}

/// Removes the streams of loops by hand, and cancels the runs of this benchmark that are live.
async fn clean(cluster: &cli::Cluster) -> Result<Exit, Error> {
    output::note("cleaning up; once more to leave it");
    by_hand::clear(&cluster::connect(cluster).await?, &super::super::ceiling::prefix()).await;
    if !HAS_RUNS.load(Ordering::Relaxed) {
        return Ok(Exit::Ok);
    }
    tokio::time::sleep(STARTED_WITHIN).await;
    match cancel_all(cluster).await? {
        0 => {}
        1 => output::note("cancelled the run that was under way"),
        count => output::note(format!("cancelled {count} runs that were under way")),
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
    for kind in Kind::ALL {
        let filter = RunFilter {
            status: LIVE.to_vec(),
            workflow: Some(kind.workflow()),
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
