//! Coordinators that are gone, hang or lose answers, and a broker that cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use expect_test::expect;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::json;
use skep_agent::{Agent, Failure, RunError};
use skep_broker::conformance::fixtures::only_reports;
use skep_broker::{
    Blobs, Delivered, Direct, Embedded, Late, Presence, PutBlobError, QueueDepth, Reports,
    RequestError, Requests, Tasks, Unavailable,
};
use skep_protocol::{
    AgentId, BlobRef, Control, Delivery, Heartbeat, IgnoreReason, PartitionId, ReportBatch,
    ReportReply, Task, TaskBatch, Verdict,
};
use tokio::time::Instant;

use crate::harness::{Count, PARTITION, Stage, line, lines, long_time, task};

fn repeat(count: &Count) -> Agent {
    let count = count.clone();
    let handler = move |len: usize| {
        count.up();
        async move { Ok::<_, Failure>("x".repeat(len)) }
    };
    Agent::builder("a").serve("c", handler).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_report_whose_answer_was_lost_is_sent_again() {
    let count = Count::default();
    let stage = Stage::start(repeat(&count)).await;
    let mut owner = stage.own().await;
    stage.give(&task("s", "c", json!(1))).await;
    let (first, lost) = owner.next().await;
    drop(lost);
    let again = owner.answer(Verdict::Ignored(IgnoreReason::Duplicate)).await;
    assert_eq!((again, count.get()), (first[0].clone(), 1));
    stage.give(&task("next", "c", json!(1))).await;
    expect![[r#"next/1 completed "x""#]].assert_eq(&line(&owner.apply().await));
}

#[tokio::test(start_paused = true)]
async fn without_a_coordinator_reports_are_left_for_the_next_one() {
    let mut stage = Stage::start(repeat(&Count::default())).await;
    for step in ["a", "b"] {
        stage.give(&task(step, "c", json!(1))).await;
    }
    stage.beat_where(|beat| beat.held.is_empty()).await;
    let mut durable = only_reports(stage.broker.durable_reports(PARTITION).await.unwrap());
    let mut left = Vec::new();
    while left.len() < 2 {
        let report = durable.next().await.unwrap();
        assert_eq!(report.batch.agent, stage.agent);
        left.extend(report.batch.reports.clone());
        report.confirm().await.unwrap();
    }
    expect![[r#"
        a/1 completed "x"
        b/1 completed "x"
    "#]]
    .assert_eq(&lines(&left));
    stage.stop();
    stage.left().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hung_coordinator_is_asked_again_until_it_answers() {
    let mut stage = Stage::start(repeat(&Count::default())).await;
    let mut owner = stage.own().await;
    stage.give(&task("s", "c", json!(1))).await;
    let mut unanswered = Vec::new();
    for _ in 0..20 {
        unanswered.push(owner.next().await);
    }
    assert_eq!(stage.beat_where(|_| true).await.held.len(), 1);
    expect![[r#"s/1 completed "x""#]].assert_eq(&line(&owner.apply().await));
    stage.beat_where(|beat| beat.held.is_empty()).await;
    assert!(unanswered.iter().all(|(reports, _)| *reports == unanswered[0].0));
}

#[tokio::test(start_paused = true)]
async fn a_new_coordinator_gets_at_once_what_its_predecessor_took_and_never_answered() {
    let mut stage = Stage::start(repeat(&Count::default())).await;
    let mut killed = stage.own().await;
    stage.give(&task("s", "c", json!(1))).await;
    let (taken, _never_answered) = killed.next().await;
    let mut successor = stage.own().await;
    let start = Instant::now();
    stage.beat_where(|beat| beat.held.len() == 1).await;
    assert_eq!(successor.apply().await, taken[0]);
    assert!(start.elapsed() < Duration::from_secs(1), "it waited for the dead one's answer");
}

#[tokio::test(start_paused = true)]
async fn an_agent_does_not_wait_for_ever_for_the_last_confirmation() {
    let mut stage = Stage::start(repeat(&Count::default())).await;
    let _hung = stage.own().await;
    stage.give(&task("s", "c", json!(1))).await;
    let start = Instant::now();
    stage.stop();
    let agent = stage.agent.clone();
    match stage.left().await.unwrap_err() {
        RunError::Unconfirmed { agent: who, reports: 1 } => assert_eq!(who, agent),
        other => panic!("{other}"),
    }
    assert!(start.elapsed() <= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_broker_costs_time_only() {
    let count = Count::default();
    let broker = Embedded::default();
    let down = Arc::new(AtomicBool::new(false));
    let seen = Weak { inner: broker.clone(), down: Arc::clone(&down) };
    let mut stage = Stage::start_over(repeat(&count), broker, seen).await;
    let mut owner = stage.own().await;
    down.store(true, Ordering::SeqCst);
    for (step, len) in [("small", 1), ("large", 100_000)] {
        stage.give(&task(step, "c", json!(len))).await;
    }
    long_time().await;
    assert_eq!(count.get(), 2);
    let back = Instant::now();
    down.store(false, Ordering::SeqCst);
    let mut reports = owner.apply_all(2).await;
    assert!(back.elapsed() <= Duration::from_secs(10), "back-off is bounded");
    reports.sort_by(|a, b| b.step.cmp(&a.step));
    expect![[r#"
        small/1 completed "x"
        large/1 completed <blob c659e23813b8, 100002 bytes>
    "#]]
    .assert_eq(&lines(&reports));
    assert_eq!(count.get(), 2);
    stage.stop();
    stage.left().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_before_the_broker_waits_for_it() {
    let broker = Embedded::default();
    let down = Arc::new(AtomicBool::new(true));
    let seen = Weak { inner: broker.clone(), down: Arc::clone(&down) };
    let up_later = async {
        long_time().await;
        down.store(false, Ordering::SeqCst);
    };
    let agent = repeat(&Count::default());
    let (stage, ()) = tokio::join!(Stage::start_over(agent, broker, seen), up_later);
    stage.give(&task("s", "c", json!(1))).await;
}

/// A broker that cannot be reached at times.
#[derive(Clone)]
struct Weak {
    inner: Embedded,
    down: Arc<AtomicBool>,
}

impl Weak {
    fn check(&self) -> Result<(), Unavailable> {
        if self.down.load(Ordering::SeqCst) {
            let reason = "the cable is cut".to_owned();
            return Err(Unavailable { attempted: "do anything", reason });
        }
        Ok(())
    }
}

impl Tasks for Weak {
    async fn offer(&self, task: Task, sending: u32) -> Result<(), RequestError> {
        self.check()?;
        self.inner.offer(task, sending).await
    }

    async fn pull(
        &self,
        capability: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivered>, Unavailable> {
        self.check()?;
        self.inner.pull(capability, max, wait).await
    }

    async fn depth(&self, capability: &str) -> Result<QueueDepth, Unavailable> {
        self.check()?;
        self.inner.depth(capability).await
    }

    async fn clear(&self, capability: &str) -> Result<(), Unavailable> {
        self.check()?;
        self.inner.clear(capability).await
    }
}

impl Direct for Weak {
    async fn deliver(&self, agent: &AgentId, tasks: &TaskBatch) -> Result<Delivery, RequestError> {
        self.check()?;
        self.inner.deliver(agent, tasks).await
    }

    async fn serve_tasks(
        &self,
        agent: &AgentId,
    ) -> Result<Requests<TaskBatch, Delivery>, Unavailable> {
        self.check()?;
        self.inner.serve_tasks(agent).await
    }

    async fn control(&self, agent: Option<&AgentId>, control: Control) -> Result<(), Unavailable> {
        self.check()?;
        self.inner.control(agent, control).await
    }

    async fn controls(&self, agent: &AgentId) -> Result<BoxStream<'static, Control>, Unavailable> {
        self.check()?;
        self.inner.controls(agent).await
    }
}

impl Reports for Weak {
    async fn report(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<ReportReply, RequestError> {
        self.check()?;
        self.inner.report(partition, batch).await
    }

    async fn report_durably(
        &self,
        partition: PartitionId,
        batch: ReportBatch,
    ) -> Result<(), RequestError> {
        self.check()?;
        self.inner.report_durably(partition, batch).await
    }

    async fn serve_reports(
        &self,
        partition: PartitionId,
    ) -> Result<Requests<ReportBatch, ReportReply>, Unavailable> {
        self.check()?;
        self.inner.serve_reports(partition).await
    }

    async fn durable_reports(
        &self,
        partition: PartitionId,
    ) -> Result<BoxStream<'static, Late>, Unavailable> {
        self.check()?;
        self.inner.durable_reports(partition).await
    }
}

impl Presence for Weak {
    async fn beat(&self, heartbeat: Heartbeat) -> Result<(), Unavailable> {
        self.check()?;
        self.inner.beat(heartbeat).await
    }

    async fn beats(&self) -> Result<BoxStream<'static, Heartbeat>, Unavailable> {
        self.check()?;
        self.inner.beats().await
    }

    fn is_connected(&self) -> bool {
        self.check().is_ok()
    }
}

impl Blobs for Weak {
    async fn put_blob(&self, bytes: Bytes) -> Result<BlobRef, PutBlobError> {
        self.check()?;
        self.inner.put_blob(bytes).await
    }

    async fn blob(&self, blob: BlobRef) -> Result<Option<Bytes>, Unavailable> {
        self.check()?;
        self.inner.blob(blob).await
    }
}
