//! Journals that end anywhere, values that are large, agents that pull.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::{Embedded, Journal as _, Settle, Tasks as _};
use skep_protocol::{
    AgentId, Command, CommandReply, PartitionCount, PartitionId, Payload, Rejection, RunId,
    RunStatus, Seq,
};

use crate::world::*;

async fn messages(broker: &Embedded, partition: PartitionId) -> Vec<bytes::Bytes> {
    let last = broker.last(partition).await.unwrap().unwrap().seq;
    let reader = broker.follow(partition, Seq::new(1)).await.unwrap();
    let messages: Vec<_> = reader.take(usize::try_from(last.get()).unwrap()).collect().await;
    messages.into_iter().map(|message| message.unwrap().bytes).collect()
}

async fn cut(messages: &[bytes::Bytes], partition: PartitionId) -> Embedded {
    let broker = embedded();
    let mut end = Seq::ZERO;
    for message in messages {
        end = broker.append(partition, end, message.clone()).await.unwrap();
    }
    broker
}

/// Resumes from each prefix of the journal of a run and drives it to its end.
///
/// Only prefixes whose last message has at least `size` records are looked at.
async fn resume_from_everywhere(workflow: &str, name: &str, run: RunId, size: usize) -> Vec<usize> {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let first = coordinator(&broker).await;
    register(&broker, workflow).await;
    let complete = |_: &_| Act::Complete(json!({ "text": "done" }));
    let agent = FakeAgent::start(&broker, "a", &[("work", 256)], &ledger, complete).await;
    let reply = command(&broker, run, start_of(name, name, json!({}))).await;
    assert_eq!(reply, CommandReply::Started { run, existing: false });
    history_to_end(&broker, run).await;
    drop(agent);
    first.kill().await;
    let partition = PartitionCount::DEFAULT.of(run);
    let whole = messages(&broker, partition).await;
    let mut records = Vec::new();
    for end in 1..whole.len() {
        let batch: skep_protocol::Batch = skep_protocol::decode(&whole[end - 1]).unwrap();
        if batch.records.len() < size {
            continue;
        }
        records.push(batch.records.len());
        let (broker, ledger) = (cut(&whole[..end], partition).await, Arc::new(Ledger::default()));
        let _coordinator = coordinator(&broker).await;
        let _agent = FakeAgent::start(&broker, "a", &[("work", 256)], &ledger, complete).await;
        let known = command(&broker, run, Command::Resume { run, by: "test".to_owned() }).await;
        if known == CommandReply::Rejected(Rejection::RunNotFound { run }) {
            continue;
        }
        history_to_end(&broker, run).await;
        let detail = detail(&broker, run).await.unwrap();
        assert_eq!(detail.summary.status, RunStatus::Completed, "cut after message {end}");
        assert_nothing_ran_again(&ledger);
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_ends_anywhere_is_gone_on_with() {
    let run = run_id("chain");
    let records = resume_from_everywhere(CHAIN, "chain", run, 1).await;
    assert!(records.len() > 3, "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_over_several_messages_may_be_cut_in_its_middle() {
    let workflow = "
name: wide
steps:
  fan:
    for_each: ${{ range(2000) }}
    agent: work
    with: { n: \"${{ item }}\", filler: \"FILLER\" }
  join: { agent: work, needs: [fan] }
"
    .replace("FILLER", &"x".repeat(700));
    let records = resume_from_everywhere(&workflow, "wide", run_id("wide"), 300).await;
    assert!(records.len() >= 2, "{records:?}");
}

#[tokio::test]
async fn large_values_go_through_the_blob_store() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let _coordinator = coordinator(&broker).await;
    register(
        &broker,
        "
name: large
steps:
  make: { agent: work }
  whole: { agent: work, with: { all: \"${{ steps.make.output }}\" } }
  part: { agent: work, with: { n: \"${{ steps.make.output.n }}\" } }
outputs: { n: \"${{ steps.make.output.n }}\" }
",
    )
    .await;
    let text = "y".repeat(300_000);
    let _agent = FakeAgent::start(&broker, "a", &[("work", 4)], &ledger, move |task| {
        match task.step.as_str() {
            "make" => Act::Complete(json!({ "n": 7, "text": text })),
            "part" => {
                assert_eq!(task.input, Payload::from(json!({ "n": 7 })));
                Act::Complete(json!(null))
            }
            _ => {
                assert!(task.input.blob().is_some() || task.input.size() > 300_000);
                Act::Complete(json!(null))
            }
        }
    })
    .await;
    let run = start(&broker, "k", "large").await;
    history_to_end(&broker, run).await;
    let detail = detail(&broker, run).await.unwrap();
    assert_eq!(detail.outputs, Some(Payload::from(json!({ "n": 7 }))), "{:?}", detail.error);
    assert!(detail.steps[0].output.as_ref().unwrap().blob().is_some());
}

#[tokio::test]
async fn an_agent_that_only_pulls_gets_its_work() {
    let broker = embedded();
    let _coordinator = coordinator(&broker).await;
    register(&broker, CHAIN).await;
    let puller = {
        let broker = broker.clone();
        let agent = AgentId::new("puller").unwrap();
        tokio::spawn(async move {
            loop {
                let wait = Duration::from_secs(5);
                for mut delivered in broker.pull("work", 1, wait).await.unwrap() {
                    let id = delivered.task.id();
                    let count = PartitionCount::DEFAULT;
                    report(&broker, count, &agent, &id, completed(&json!(1))).await;
                    delivered.settle(Settle::Ack).await.unwrap();
                }
            }
        })
    };
    let run = start(&broker, "k", "chain").await;
    history_to_end(&broker, run).await;
    puller.abort();
}
