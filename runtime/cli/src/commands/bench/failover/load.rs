//! Runs that are always under way: where one ends, the next one begins.

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

use super::watch::Watch;
use super::worker::CAPABILITY;
use super::{LOOK_EVERY, within};
use crate::error::{Error, Exit};

/// Steps of a run, one after the other.
const STEPS: u32 = 20;

/// The load, until it is dropped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
    started: Arc<AtomicU64>,
    _starters: JoinSet<()>,
}

impl Load {
    /// Keeps `runs` runs under way.
    pub(super) async fn start(nats: &Nats, runs: u32, watch: &Watch) -> Result<Self, Error> {
        let digest = within("the workflow is not registered", register(nats)).await??;
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), watch.ended_runs());
        let started = Arc::new(AtomicU64::new(0));
        let mut starters = JoinSet::new();
        for _ in 0..runs {
            let (nats, digest) = (nats.clone(), digest.clone());
            let (stop, ended, started) = (stop.clone(), ended.clone(), started.clone());
            starters.spawn(async move {
                // As many are started as ended, and `runs` more.
                while !stop.load(Ordering::Relaxed) {
                    let open = started.load(Ordering::Relaxed) - ended.load(Ordering::Relaxed);
                    if open >= u64::from(runs) {
                        tokio::time::sleep(LOOK_EVERY / 4).await;
                        continue;
                    }
                    let number = started.fetch_add(1, Ordering::Relaxed);
                    start_run(&nats, RunId::from_key("bench", &number.to_string()), &digest).await;
                }
            });
        }
        Ok(Self { stop, ended, started, _starters: starters })
    }

    /// Starts no more, waits until all have ended, and returns how many steps finished.
    pub(super) async fn finish(self, watch: &Watch, patience: Duration) -> Result<usize, Error> {
        self.stop.store(true, Ordering::Relaxed);
        let all = async {
            while self.ended.load(Ordering::Relaxed) < self.started.load(Ordering::Relaxed) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let open = |_| {
            let open = self.started.load(Ordering::Relaxed) - self.ended.load(Ordering::Relaxed);
            Error::new(Exit::Timeout, format!("{open} runs do not end"))
        };
        tokio::time::timeout(patience, all).await.map_err(open)?;
        Ok(watch.steps())
    }
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
    let mut source = String::from("name: failover\nsteps:\n");
    for step in 0..STEPS {
        let needs =
            step.checked_sub(1).map_or_else(String::new, |one| format!(", needs: [s{one}]"));
        source.push_str(&format!("  s{step}: {{ agent: {CAPABILITY}{needs} }}\n"));
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
