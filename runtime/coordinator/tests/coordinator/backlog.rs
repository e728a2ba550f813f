//! What agents left while nobody owned their partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::faulty::{Fault, Faulty, Operation};
use skep_broker::{AppendError, Direct as _, Embedded, Reports as _};
use skep_protocol::{
    AgentId, Command, Control, Event, PartitionCount, Report, ReportBatch, ReportBody, RunId,
    RunStatus, StepPath, Verdict,
};

use crate::flaky::{Call, Flaky};
use crate::world::*;

const BOUNDED: &str = "
name: bounded
steps:
  one: { agent: work, timeout: 4s }
";

/// Work that was finished in an outage that lasted longer than its `timeout` counts.
#[tokio::test]
async fn reports_left_in_an_outage_go_before_timers() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let runs = taken_before_an_outage(&broker, &ledger, 40).await;
    for run in &runs {
        broker.report_durably(PartitionCount::DEFAULT.of(*run), outcome(*run)).await.unwrap();
    }
    outage_of_5_s(&broker).await;
    let (slow, script) = Faulty::new(broker.clone());
    for _ in PartitionCount::DEFAULT.all() {
        script.next(Operation::ReadLate, Fault::Hold);
    }
    let _second = coordinator(&slow).await;
    script.held(PartitionCount::DEFAULT.all().count()).await;
    pass_some_time(&broker, &runs).await;
    script.release().await;
    assert_all_complete(&broker, &runs).await;
}

/// So does work that its agent reports once more after the roll call.
#[tokio::test]
async fn agents_have_time_to_report_again_before_timers_fire() {
    let (broker, ledger) = (embedded(), Arc::new(Ledger::default()));
    let runs = taken_before_an_outage(&broker, &ledger, 3).await;
    outage_of_5_s(&broker).await;
    let mut told = broker.controls(&AgentId::new("a").unwrap()).await.unwrap();
    let _second = coordinator(&broker).await;
    assert!(matches!(told.next().await, Some(Control::RollCall { call: Some(_) })));
    pass_some_time(&broker, &runs).await;
    for run in &runs {
        let reply = broker.report(PartitionCount::DEFAULT.of(*run), outcome(*run)).await.unwrap();
        assert_eq!(reply.verdicts, [Verdict::Applied]);
    }
    assert_all_complete(&broker, &runs).await;
}

/// The same holds for an owner that keeps its partition over the outage.
#[tokio::test(start_paused = true)]
async fn who_comes_through_an_outage_waits_for_reports_before_timers_fire() {
    let (inner, ledger) = (embedded(), Arc::new(Ledger::default()));
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let broker = Flaky::hooked(inner.clone(), move |call| {
        let fails = !matches!(call, Call::Command(_)) && is_down.load(Ordering::Relaxed);
        fails.then(|| AppendError::Unknown { reason: "no link".to_owned() })
    });
    let _owner = coordinator(&broker).await;
    register(&inner, BOUNDED).await;
    let _agent = FakeAgent::start(&inner, "a", &[("work", 3)], &ledger, |_| Act::Keep).await;
    let mut runs = Vec::new();
    for number in 0..3 {
        runs.push(start(&inner, &format!("{number}"), "bounded").await);
    }
    ledger.until(|ledger| ledger.performed().len() == 3).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(20)).await;
    down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(4)).await;
    for run in &runs {
        let reply = inner.report(PartitionCount::DEFAULT.of(*run), outcome(*run)).await.unwrap();
        assert_eq!(reply.verdicts, [Verdict::Applied]);
    }
    assert_all_complete(&inner, &runs).await;
}

/// Starts runs whose only attempt is taken, and then kills everybody.
async fn taken_before_an_outage(broker: &Embedded, ledger: &Arc<Ledger>, count: u32) -> Vec<RunId> {
    let first = coordinator(broker).await;
    register(broker, BOUNDED).await;
    let _agent = FakeAgent::start(broker, "a", &[("work", count)], ledger, |_| Act::Keep).await;
    let mut runs = Vec::new();
    for number in 0..count {
        runs.push(start(broker, &format!("{number}"), "bounded").await);
    }
    for run in &runs {
        history_until(broker, *run, |event| matches!(event, Event::AttemptTaken { .. })).await;
    }
    first.kill().await;
    runs
}

async fn outage_of_5_s(broker: &Embedded) {
    for partition in PartitionCount::DEFAULT.all() {
        taken_over_by_somebody(broker, partition, Duration::from_secs(5)).await;
    }
}

/// Has every partition do something else several times.
async fn pass_some_time(broker: &Embedded, runs: &[RunId]) {
    for run in runs.iter().cycle().take(400) {
        command(broker, *run, Command::Resume { run: *run, by: "test".to_owned() }).await;
    }
}

async fn assert_all_complete(broker: &Embedded, runs: &[RunId]) {
    for run in runs {
        history_to_end(broker, *run).await;
        let detail = detail(broker, *run).await.unwrap();
        assert_eq!(detail.summary.status, RunStatus::Completed, "{:?}", detail.error);
    }
}

fn outcome(run: RunId) -> ReportBatch {
    let body = ReportBody::Outcome(completed(&json!(1)));
    let reports = vec![Report { run, step: StepPath::new("one"), attempt: 1, body }];
    ReportBatch { v: 1, agent: AgentId::new("a").unwrap(), reports }
}
