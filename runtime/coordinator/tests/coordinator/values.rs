//! Values that are looked into although they lie in the blob store.

use std::sync::Arc;

use serde_json::json;
use skep_broker::faulty::{Faulty, Operation};
use skep_broker::{Blobs as _, Reports as _};
use skep_protocol::{
    AgentId, Outcome, PartitionCount, Payload, Report, ReportBatch, ReportBody, RunStatus, Verdict,
};

use crate::world::*;

const FAN: &str = "
name: fan
steps:
  list: { agent: list }
  item:
    agent: work
    for_each: ${{ steps.list.output }}
    max_parallel: 100
    expect: { type: string }
";

/// Reports of one run that are looked into at once share nothing: each value is fetched once.
#[tokio::test]
async fn each_value_of_many_reports_is_fetched_once() {
    const ITEMS: usize = 60;
    let (inner, ledger) = (embedded(), Arc::new(Ledger::default()));
    let (broker, script) = Faulty::new(inner.clone());
    let _coordinator = coordinator(&broker).await;
    register(&inner, FAN).await;
    let offers = [("list", 1), ("work", 100)];
    let _agent =
        FakeAgent::start(&inner, "a", &offers, &ledger, |task| match task.capability.as_str() {
            "list" => Act::Complete((0..ITEMS).collect()),
            _ => Act::Keep,
        })
        .await;
    let run = start(&inner, "k", "fan").await;
    ledger.until(|ledger| ledger.performed().len() == ITEMS + 1).await;
    let mut reports = Vec::new();
    for id in ledger.performed().into_iter().skip(1) {
        let text = json!(format!("{} {}", id.step, "x".repeat(70_000))).to_string();
        let output = Payload::from(inner.put_blob(text.into()).await.unwrap());
        let body = ReportBody::Outcome(Outcome::Completed { output, duration_ms: 1 });
        reports.push(Report { run, step: id.step, attempt: id.attempt, body });
    }
    let batch = ReportBatch { v: 1, agent: AgentId::new("a").unwrap(), reports };
    let reply = inner.report(PartitionCount::DEFAULT.of(run), batch).await.unwrap();
    assert_eq!(reply.verdicts, vec![Verdict::Applied; ITEMS]);
    history_to_end(&inner, run).await;
    assert_eq!(detail(&inner, run).await.unwrap().summary.status, RunStatus::Completed);
    assert_eq!(script.count(Operation::Blob), ITEMS as u64);
}
