//! Runs that have nothing to do with it.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use skep_broker::Queries as _;
use skep_protocol::{
    AgentView, Command, CommandReply, Event, PartitionCount, PartitionId, Payload, Query,
    QueryReply, RegisterWorkflow, RunId, RunStatus, Signal, StartRun,
};
use skep_tests::LOOK_EVERY;

use crate::cluster::Cluster;
use crate::journal;

/// Enough runs for every partition to have some.
const AFTER: usize = 40;

/// An agent holds it from before until after.
const HELD: &str = "\
name: held
steps:
  a: { agent: work, timeout: 2h, with: { milliseconds: 3600000 } }
";
/// Begins before, and ends after.
const BEFORE: &str = "\
name: before
steps:
  a: { agent: work, with: { milliseconds: 1 } }
  go: { needs: [a], wait_for: { signal: go } }
  b: { agent: work, needs: [go], with: { milliseconds: 1 } }
";
const LATER: &str = "\
name: later
inputs: { number: { type: integer } }
steps:
  a: { agent: work, with: { milliseconds: 1, number: \"${{ inputs.number }}\" } }
";
pub(crate) fn held() -> RunId {
    RunId::from_key("hostile", "held")
}

pub(crate) fn partition_of(run: RunId) -> PartitionId {
    PartitionCount::DEFAULT.of(run)
}

/// Starts what is under way all the time: an attempt that an agent holds, and a run that will end.
pub(crate) async fn begin(cluster: &Cluster) -> Result<RunId> {
    let before = RunId::from_key("hostile", "before");
    start(cluster, HELD, held(), "{}").await?;
    start(cluster, BEFORE, before, "{}").await?;
    cluster.ledger_has(3).await;
    while !taken(cluster).await? {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(before)
}

/// Wants the run that began before to complete, and others in every partition.
pub(crate) async fn go_on(cluster: &Cluster, before: RunId) -> Result<()> {
    cluster.command(partition_of(before), go(before)?).await?;
    let after = cluster.start_runs(LATER, AFTER).await?;
    let mut partitions: Vec<_> = after.iter().map(|run| partition_of(*run)).collect();
    partitions.sort_unstable();
    partitions.dedup();
    ensure!(partitions.len() == PartitionCount::DEFAULT.all().count(), "{partitions:?}");
    for run in after.into_iter().chain([before]) {
        completes(cluster, run).await?;
    }
    nobody_touched_what_is_held(cluster).await
}

pub(crate) async fn start(
    cluster: &Cluster,
    definition: &str,
    run: RunId,
    inputs: &str,
) -> Result<()> {
    let (source, file) = (definition.to_owned(), "hostile.skep.yaml".to_owned());
    let register = Command::Register(RegisterWorkflow { source, file, publish: false });
    let reply = cluster.command(PartitionId::new(0), register).await?;
    let CommandReply::Registered { digest, .. } = reply else { bail!("no digest: {reply:?}") };
    let start = StartRun {
        run,
        workflow: digest.to_string(),
        inputs: Payload::from_text(inputs)?,
        parent: None,
        depth: 0,
        labels: BTreeMap::new(),
    };
    cluster.command(partition_of(run), Command::Start(Box::new(start))).await.map(drop)
}

fn go(run: RunId) -> Result<Command> {
    let (id, payload) = ("go".parse()?, Payload::null());
    Ok(Command::Signal(Signal { run, name: "go".to_owned(), id, payload }))
}

pub(crate) async fn agents(cluster: &Cluster) -> Result<Vec<AgentView>> {
    let reply = cluster.nats.query(Query::Agents { everywhere: false }).await?;
    let QueryReply::Agents(agents) = reply else { bail!("no agents: {reply:?}") };
    Ok(agents)
}

async fn completes(cluster: &Cluster, run: RunId) -> Result<()> {
    loop {
        if let QueryReply::Run(run) = cluster.nats.query(Query::run(run)).await? {
            let status = run.summary.status;
            if status == RunStatus::Completed {
                return Ok(());
            }
            ensure!(!status.is_final(), "a run should complete: {run:?}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns whether it is recorded who holds the attempt.
async fn taken(cluster: &Cluster) -> Result<bool> {
    let records = journal::read_all(&cluster.nats).await?;
    let of_held = records.iter().filter(|record| record.run == held());
    Ok(of_held.map(|record| &record.event).any(|e| matches!(e, Event::AttemptTaken { .. })))
}

async fn nobody_touched_what_is_held(cluster: &Cluster) -> Result<()> {
    for record in journal::read_all(&cluster.nats).await? {
        if record.run != held() {
            continue;
        }
        let as_before = matches!(
            record.event,
            Event::RunStarted(_)
                | Event::AttemptScheduled(_)
                | Event::AttemptTaken { .. }
                | Event::ReportIgnored(_)
        );
        ensure!(as_before, "this happened to the run that is held: {:?}", record.event);
    }
    let reply = cluster.nats.query(Query::run(held())).await?;
    let QueryReply::Run(run) = reply else { bail!("the run that is held is gone: {reply:?}") };
    ensure!(run.summary.status == RunStatus::Running, "{:?}", run.summary);
    Ok(())
}
