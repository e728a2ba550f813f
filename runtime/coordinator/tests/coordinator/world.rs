//! A broker in the process, coordinators on it, and what tests ask of them.

mod agent;

use std::collections::BTreeMap;

use futures::StreamExt as _;
use skep_broker::{Broker, Embedded, Journal as _, RequestError};
use skep_coordinator::{Config, Coordinator, Handle};
use skep_protocol::{
    Batch, Command, CommandReply, CoordinatorId, Event, HistoryEntry, OwnerChanged, PartitionCount,
    PartitionId, Query, QueryReply, Record, RegisterWorkflow, RunDetail, RunId, Seq, StartRun,
    Timestamp,
};

pub(crate) use agent::{Act, FakeAgent, Gate, Ledger, completed, report};

/// Starts a coordinator that serves every partition once this returns.
pub(crate) async fn coordinator<B: Broker>(broker: &B) -> Handle {
    coordinator_with(broker, Config::embedded()).await
}

pub(crate) async fn coordinator_with<B: Broker>(broker: &B, config: Config) -> Handle {
    let handle = Coordinator::start(broker.clone(), config).await.unwrap();
    handle.serving().await;
    handle
}

pub(crate) fn run_id(key: &str) -> RunId {
    RunId::from_key("test", key)
}

/// Between two tries to reach an owner.
pub(crate) const AGAIN: std::time::Duration = std::time::Duration::from_millis(1);

/// Sends a command until somebody answers.
pub(crate) async fn command<B: Broker>(broker: &B, run: RunId, command: Command) -> CommandReply {
    let partition = PartitionCount::DEFAULT.of(run);
    loop {
        match broker.command(partition, command.clone()).await {
            Ok(reply) => return reply,
            // Also time has to go on until there is somebody.
            Err(RequestError::NoResponders { .. }) => tokio::time::sleep(AGAIN).await,
            Err(_) => {}
        }
    }
}

/// Registers a definition and publishes it.
pub(crate) async fn register<B: Broker>(broker: &B, source: &str) -> CommandReply {
    let register = RegisterWorkflow {
        source: source.to_owned(),
        file: "test.skep.yaml".to_owned(),
        publish: true,
    };
    command(broker, run_id("any"), Command::Register(register)).await
}

pub(crate) fn start_of(key: &str, workflow: &str, inputs: serde_json::Value) -> Command {
    Command::Start(Box::new(StartRun {
        run: run_id(key),
        workflow: workflow.to_owned(),
        inputs: inputs.into(),
        parent: None,
        depth: 0,
        labels: BTreeMap::new(),
    }))
}

pub(crate) async fn start<B: Broker>(broker: &B, key: &str, workflow: &str) -> RunId {
    let run = run_id(key);
    let reply = command(broker, run, start_of(key, workflow, serde_json::json!({}))).await;
    assert!(matches!(reply, CommandReply::Started { .. }), "{reply:?}");
    run
}

pub(crate) async fn detail<B: Broker>(broker: &B, run: RunId) -> Option<RunDetail> {
    match standing_still(broker.query(Query::run(run))).await {
        Ok(QueryReply::Run(detail)) => Some(*detail),
        _ => None,
    }
}

/// Waits for an answer that comes from another thread, such as that of the read model. Paused time
/// would run ahead meanwhile, for it takes a runtime that waits for another thread to be idle.
pub(crate) async fn standing_still<T>(answer: impl Future<Output = T>) -> T {
    let (answered, waiting) = std::sync::mpsc::channel::<()>();
    // Time does not run ahead of what blocks a thread of the runtime.
    tokio::task::spawn_blocking(move || waiting.recv());
    let answer = answer.await;
    drop(answered);
    answer
}

/// Returns the history of a run up to its end.
pub(crate) async fn history_to_end<B: Broker>(broker: &B, run: RunId) -> Vec<HistoryEntry> {
    history_until(broker, run, |event| event.ends_run()).await
}

/// Returns the history of a run up to the first event that is wanted.
pub(crate) async fn history_until<B: Broker>(
    broker: &B,
    run: RunId,
    wanted: impl Fn(&Event) -> bool,
) -> Vec<HistoryEntry> {
    let mut entries: Vec<HistoryEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.number);
        let query = Query::History { run, after, limit: 1_000, wait_ms: 5_000 };
        if let Ok(QueryReply::History(more)) = broker.query(query).await {
            entries.extend(more);
        }
        if entries.iter().any(|entry| wanted(&entry.record.event)) {
            return entries;
        }
        tokio::task::yield_now().await;
    }
}

/// Returns what a journal says of a run up to the first event that is wanted. It waits for nothing
/// outside of the runtime: a clock that goes on when all wait does not run ahead of the thread of
/// the read model.
pub(crate) async fn journal_until<B: Broker>(
    broker: &B,
    run: RunId,
    wanted: impl Fn(&Event) -> bool,
) -> Vec<HistoryEntry> {
    let partition = PartitionCount::DEFAULT.of(run);
    let mut messages = broker.follow(partition, Seq::new(1)).await.unwrap();
    let mut entries: Vec<HistoryEntry> = Vec::new();
    while !entries.iter().any(|entry| wanted(&entry.record.event)) {
        let message = messages.next().await.unwrap().unwrap();
        for record in Batch::read(&message.bytes).unwrap().records {
            if let Record::Run(record) = record
                && record.run == run
            {
                entries.push(HistoryEntry { number: entries.len() as u64 + 1, record });
            }
        }
    }
    entries
}

/// Returns the events of a history, one word each, with the step if there is one.
pub(crate) fn words(entries: &[HistoryEntry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let json = serde_json::to_value(&entry.record.event).unwrap();
        let word = json.as_object().unwrap().keys().next().unwrap().clone();
        text.push_str(&word);
        if let Some(step) = entry.record.event.step() {
            text.push(' ');
            text.push_str(step.as_str());
        }
        text.push('\n');
    }
    text
}

/// Checks that no attempt was performed twice and that no step ran again after it completed.
pub(crate) fn assert_nothing_ran_again(journal: &Ledger) {
    let mut steps = BTreeMap::new();
    for attempt in journal.performed() {
        let times = steps.entry((attempt.run, attempt.step)).or_insert(0);
        *times += 1;
    }
    let again: Vec<_> = steps.iter().filter(|(_, times)| **times > 1).collect();
    assert!(again.is_empty(), "ran again: {again:?}");
}

pub(crate) const CHAIN: &str = "
name: chain
steps:
  one: { agent: work }
  two: { agent: work, needs: [one] }
  three: { agent: work, needs: [two] }
outputs:
  last: ${{ steps.three.output }}
";

/// Appends to the journal as another coordinator does that takes the partition over, so much later.
pub(crate) async fn taken_over_by_somebody(
    broker: &Embedded,
    partition: PartitionId,
    later: std::time::Duration,
) {
    let last = broker.last(partition).await.unwrap().unwrap();
    let batch: Batch = skep_protocol::decode(&last.bytes).unwrap();
    let times = batch.records.iter().map(|record| match record {
        Record::Run(record) => record.at,
        Record::OwnerChanged(changed) => changed.at,
        Record::WorkflowAdded(_) => Timestamp::EPOCH,
    });
    let at = times.max().unwrap().after(later);
    let epoch = batch.epoch + 1;
    let coordinator = CoordinatorId::new("somebody").unwrap();
    let records = vec![Record::OwnerChanged(OwnerChanged { epoch, coordinator, at })];
    let previous = skep_protocol::Hash::of(&last.bytes);
    let batch = Batch { v: Batch::VERSION, partition, epoch, previous, records };
    broker.append(partition, last.seq, batch.encode()).await.unwrap();
}

pub(crate) fn embedded() -> Embedded {
    Embedded::new()
}
