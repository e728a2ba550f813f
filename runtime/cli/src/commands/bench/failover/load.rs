//! Runs that are always under way: where one ends, the next one begins, in the same partition.
//!
//! So each partition has its share at any time, and stands still only for want of an owner. Spread
//! over all of them by chance, the runs would gather where something stands still, and for a while
//! after it there would be partitions with none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use skep_broker::Commands as _;
use skep_nats::Nats;
use skep_protocol::{
    Command, CommandReply, PartitionCount, PartitionId, Payload, RegisterWorkflow, RunId, StartRun,
};
use tokio::task::JoinSet;

use super::super::worker::capability;
use super::watch::Watch;
use super::{LOOK_EVERY, within};
use crate::error::{Error, Exit};

/// Steps of a run, one after the other.
const STEPS: u32 = 20;

/// The load, until it is dropped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    shares: Vec<Arc<Share>>,
    _starters: JoinSet<()>,
}

/// The runs of one partition.
struct Share {
    partition: PartitionId,
    /// How many are under way at a time.
    runs: u64,
    started: AtomicU64,
    ended: Arc<AtomicU64>,
}

impl Share {
    fn open(&self) -> u64 {
        self.started.load(Ordering::Relaxed) - self.ended.load(Ordering::Relaxed)
    }

    /// Starts as many as ended, and `runs` more.
    async fn keep_up(&self, nats: &Nats, digest: &str, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if self.open() >= self.runs {
                tokio::time::sleep(LOOK_EVERY / 4).await;
                continue;
            }
            let number = self.started.fetch_add(1, Ordering::Relaxed);
            start_run(nats, run_in(self.partition, number), digest).await;
        }
    }
}

impl Load {
    /// Keeps `runs` runs under way, as many in each partition.
    pub(super) async fn start(nats: &Nats, runs: u32, watch: &Watch) -> Result<Self, Error> {
        let digest = within("the workflow is not registered", register(nats)).await??;
        let stop = Arc::new(AtomicBool::new(false));
        let (mut shares, mut starters) = (Vec::new(), JoinSet::new());
        for partition in PartitionCount::DEFAULT.all() {
            let runs = share_of(partition, runs);
            let (started, ended) = (AtomicU64::new(0), watch.ended_runs(partition));
            let share = Arc::new(Share { partition, runs, started, ended });
            for _ in 0..runs {
                let (nats, digest) = (nats.clone(), digest.clone());
                let (share, stop) = (share.clone(), stop.clone());
                starters.spawn(async move { share.keep_up(&nats, &digest, &stop).await });
            }
            shares.push(share);
        }
        Ok(Self { stop, shares, _starters: starters })
    }

    fn open(&self) -> u64 {
        self.shares.iter().map(|share| share.open()).sum()
    }

    /// Starts no more, waits until all have ended, and returns how many steps finished.
    pub(super) async fn finish(self, watch: &Watch, patience: Duration) -> Result<usize, Error> {
        self.stop.store(true, Ordering::Relaxed);
        let all = async {
            while self.open() > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let open = |_| Error::new(Exit::Timeout, format!("{} runs do not end", self.open()));
        tokio::time::timeout(patience, all).await.map_err(open)?;
        Ok(watch.steps())
    }
}

/// Returns how many of so many runs belong to a partition.
fn share_of(partition: PartitionId, runs: u32) -> u64 {
    let (runs, count) = (u64::from(runs), u64::from(PartitionCount::DEFAULT.get()));
    runs / count + u64::from(u64::from(partition.get()) < runs % count)
}

/// Returns the id of one of the runs of a partition.
fn run_in(partition: PartitionId, number: u64) -> RunId {
    let ids = (0_u64..).map(|salt| RunId::from_key("bench", &format!("{number} {salt}")));
    let mut there = ids.filter(|run| PartitionCount::DEFAULT.of(*run) == partition);
    there.next().expect("ids go to all partitions")
}

/// Asks until there is an answer.
async fn ask(nats: &Nats, partition: PartitionId, command: Command) -> CommandReply {
    loop {
        match nats.command(partition, command.clone()).await {
            Ok(reply) => return reply,
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn register(nats: &Nats) -> Result<String, Error> {
    let (mut source, capability) = (String::from("name: failover\nsteps:\n"), capability());
    for step in 0..STEPS {
        let needs =
            step.checked_sub(1).map_or_else(String::new, |one| format!(", needs: [s{one}]"));
        source.push_str(&format!("  s{step}: {{ agent: {capability}{needs} }}\n"));
    }
    let file = "failover.skep.yaml".to_owned();
    let register = Command::Register(RegisterWorkflow { source, file, publish: false });
    let reply = ask(nats, PartitionId::new(0), register).await;
    if let CommandReply::Registered { digest, .. } = reply {
        return Ok(digest.to_string());
    }
    Err(Error::new(Exit::Failed, format!("the workflow was not taken: {reply:?}")))
}

async fn start_run(nats: &Nats, run: RunId, digest: &str) {
    let start = StartRun {
        run,
        workflow: digest.to_owned(),
        inputs: Payload::from(serde_json::json!({})),
        parent: None,
        depth: 0,
        labels: BTreeMap::new(),
    };
    let partition = PartitionCount::DEFAULT.of(run);
    loop {
        let reply = ask(nats, partition, Command::Start(Box::new(start.clone()))).await;
        if matches!(reply, CommandReply::Started { .. }) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_share_of_runs() {
        let shares = |runs| -> Vec<u64> {
            PartitionCount::DEFAULT.all().map(|partition| share_of(partition, runs)).collect()
        };
        assert_eq!(shares(64), [8; 8]);
        assert_eq!(shares(3), [1, 1, 1, 0, 0, 0, 0, 0]);
        for partition in PartitionCount::DEFAULT.all() {
            let ids: Vec<RunId> = (0..50).map(|number| run_in(partition, number)).collect();
            assert!(ids.iter().all(|run| PartitionCount::DEFAULT.of(*run) == partition));
            assert_eq!(std::collections::BTreeSet::from_iter(&ids).len(), 50, "{ids:?}");
        }
    }
}
