//! A coordinator played by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use expect_test::Expect;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_agent::{Agent, RunError};
use skep_broker::{
    AgentBroker, Blobs as _, Direct as _, Embedded, Presence as _, Reports as _, Request, Requests,
    Responder,
};
use skep_protocol::{
    AgentId, Control, Delivery, Heartbeat, Outcome, PartitionId, Payload, Refusal, Report,
    ReportBatch, ReportBody, ReportReply, RunId, StepPath, Task, TaskBatch, Verdict,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const PARTITION: PartitionId = PartitionId::new(3);

/// On a paused clock, what has not happened until then never will.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// An agent that runs, and its coordinator.
pub(crate) struct Stage {
    pub(crate) broker: Embedded,
    pub(crate) agent: AgentId,
    pub(crate) beats: BoxStream<'static, Heartbeat>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), RunError>>,
}

/// Owns the partition.
pub(crate) struct Owner(Requests<ReportBatch, ReportReply>);

impl Stage {
    pub(crate) async fn start(agent: Agent) -> Self {
        let broker = Embedded::default();
        Self::start_over(agent, broker.clone(), broker).await
    }

    /// Starts an agent that sees the embedded broker through `seen`.
    pub(crate) async fn start_over<B: AgentBroker>(
        agent: Agent,
        broker: Embedded,
        seen: B,
    ) -> Self {
        let mut beats = broker.beats().await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            agent.run_until(&seen, stop).await
        });
        let first = beats.next().await.unwrap();
        let (agent, stop) = (first.agent.clone(), Some(stop));
        Self { broker, agent, beats, stop, running }
    }

    pub(crate) async fn own(&self) -> Owner {
        Owner(self.broker.serve_reports(PARTITION).await.unwrap())
    }

    pub(crate) async fn deliver(&self, tasks: Vec<Task>) -> Delivery {
        self.broker.deliver(&self.agent, &TaskBatch { tasks }).await.unwrap()
    }

    /// Delivers one task, which the agent has to take.
    pub(crate) async fn give(&self, task: &Task) {
        assert_eq!(self.deliver(vec![task.clone()]).await.refused, []);
    }

    pub(crate) async fn refusal(&self, task: &Task) -> Option<Refusal> {
        let delivery = self.deliver(vec![task.clone()]).await;
        delivery.refused.into_iter().next().map(|(_, refusal)| refusal)
    }

    pub(crate) async fn control(&self, control: Control) {
        self.broker.control(Some(&self.agent), control).await.unwrap();
    }

    /// Asks for a heartbeat and returns the first one that fits.
    pub(crate) async fn beat_where(&mut self, fits: impl Fn(&Heartbeat) -> bool) -> Heartbeat {
        self.control(Control::RollCall { call: None }).await;
        loop {
            let next = tokio::time::timeout(FOR_EVER, self.beats.next()).await;
            let beat = next.expect("a heartbeat that fits").unwrap();
            if fits(&beat) {
                return beat;
            }
        }
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) async fn left(self) -> Result<(), RunError> {
        self.running.await.unwrap()
    }

    /// Kills the agent as a crash would.
    pub(crate) async fn kill(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn blob(&self, payload: &Payload) -> String {
        let bytes = self.broker.blob(payload.blob().unwrap()).await.unwrap().unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

impl Owner {
    pub(crate) async fn next(&mut self) -> (Vec<Report>, Responder<ReportReply>) {
        let next = tokio::time::timeout(FOR_EVER, self.0.next()).await;
        let Request { message, responder } = next.expect("a report").unwrap();
        (message.reports, responder)
    }

    /// Takes one message of one report and answers it.
    pub(crate) async fn answer(&mut self, verdict: Verdict) -> Report {
        let (mut reports, responder) = self.next().await;
        assert_eq!(reports.len(), 1, "{reports:?}");
        responder.send(ReportReply::from(vec![verdict]));
        reports.remove(0)
    }

    /// Applies one report and returns it.
    pub(crate) async fn apply(&mut self) -> Report {
        self.answer(Verdict::Applied).await
    }

    /// Applies everything until `count` reports came.
    pub(crate) async fn apply_all(&mut self, count: usize) -> Vec<Report> {
        let mut all = Vec::new();
        while all.len() < count {
            let (reports, responder) = self.next().await;
            responder.send(ReportReply::from(vec![Verdict::Applied; reports.len()]));
            all.extend(reports);
        }
        all
    }
}

pub(crate) fn task(step: &str, capability: &str, input: impl Into<Payload>) -> Task {
    Task {
        v: Task::VERSION,
        run: RunId::from_key("test", "run"),
        step: StepPath::new(step),
        attempt: 1,
        fencing_token: 1,
        ask: false,
        origin: None,
        capability: capability.to_owned(),
        workflow: "test".to_owned(),
        partition: PARTITION,
        input: input.into(),
        checkpoint: None,
        timeout_ms: 60_000,
        deadline: None,
        deadline_in_ms: None,
        priority: 5,
        labels: BTreeMap::new(),
    }
}

/// Writes a report down, one line.
pub(crate) fn line(report: &Report) -> String {
    let mut line = format!("{}/{} ", report.step, report.attempt);
    match &report.body {
        ReportBody::Taken {} => line.push_str("taken"),
        ReportBody::Released { begun: false } => line.push_str("released"),
        ReportBody::Released { begun: true } => line.push_str("released unfinished"),
        ReportBody::Checkpoint(payload) => write!(line, "checkpoint {payload:?}").unwrap(),
        ReportBody::Outcome(Outcome::Completed { output, .. }) => {
            write!(line, "completed {output:?}").unwrap();
        }
        ReportBody::Outcome(Outcome::Failed { failure, .. }) => {
            let again = if failure.retryable { "retryable" } else { "final" };
            write!(line, "failed {:?} {failure} ({again}", failure.kind).unwrap();
            if let Some(delay) = failure.retry_after() {
                write!(line, ", after {delay:?}").unwrap();
            }
            line.push(')');
            if let Some(details) = &failure.details {
                write!(line, " {details:?}").unwrap();
            }
        }
    }
    line
}

pub(crate) fn lines(reports: &[Report]) -> String {
    reports.iter().map(|report| line(report) + "\n").collect()
}

/// Has one task performed and compares its report.
pub(crate) async fn check(agent: Agent, task: Task, expected: Expect) {
    let stage = Stage::start(agent).await;
    let mut owner = stage.own().await;
    stage.give(&task).await;
    expected.assert_eq(&line(&owner.apply().await));
}

/// Counts how often something happened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<AtomicU32>);

impl Count {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    /// Returns something that counts when it is dropped.
    pub(crate) fn on_drop(&self) -> impl Drop + Send + use<> {
        struct OnDrop(Count);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.up();
            }
        }
        OnDrop(self.clone())
    }
}

/// A long time; on a paused clock it passes at once, once nothing else can happen.
pub(crate) async fn long_time() {
    tokio::time::sleep(Duration::from_secs(3_600)).await;
}
