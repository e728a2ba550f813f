//! Messages and helpers that the clauses share.

use std::future::Future;
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use skep_protocol::{
    AgentId, Command, Heartbeat, Lane, Offer, Outcome, PartitionId, Payload, Report, ReportBatch,
    ReportBody, RunId, StepPath, Task,
};

use crate::reports::{DurableReport, Late};
use crate::requests::Requests;

/// A bound on everything that should happen: generous, because it only ends a test that has failed.
pub const SOON: Duration = Duration::from_secs(30);

/// Awaits what should happen soon.
///
/// # Panics
/// It did not.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing within {SOON:?}"),
    }
}

/// Awaits the next item of a stream.
///
/// # Panics
/// There is none, or not soon.
pub async fn next<T>(what: &str, stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    match soon(what, stream.next()).await {
        Some(item) => item,
        None => panic!("{what}: the stream ended"),
    }
}

/// Returns what a reader of durable reports reads, without its [`Late::CaughtUp`].
pub fn only_reports(late: BoxStream<'static, Late>) -> BoxStream<'static, DurableReport> {
    late.filter_map(|late| std::future::ready(late.reports())).boxed()
}

/// Runs `work` while each request is answered by `answer`; a request without an answer is dropped.
///
/// # Panics
/// The requests ended, or the work did not, soon.
pub async fn while_serving<M, R, T>(
    mut requests: Requests<M, R>,
    mut answer: impl FnMut(M) -> Option<R>,
    work: impl Future<Output = T>,
) -> T {
    let serving = async {
        while let Some(request) = requests.next().await {
            if let Some(answer) = answer(request.message) {
                request.responder.send(answer);
            }
        }
    };
    let (work, serving) = (std::pin::pin!(work), std::pin::pin!(serving));
    match soon("requests to be answered", select(work, serving)).await {
        Either::Left((value, _)) => value,
        Either::Right(_) => panic!("the stream of requests ended by itself"),
    }
}

/// Returns a partition.
pub const fn partition(number: u16) -> PartitionId {
    PartitionId::new(number)
}

/// Returns an agent.
pub fn agent(name: &str) -> AgentId {
    AgentId::new(name).expect("the names of fixtures are names")
}

/// Returns a run.
pub fn run(name: &str) -> RunId {
    RunId::from_key("conformance", name)
}

/// Returns a task.
pub fn task(capability: &str, step: &str) -> Task {
    Task {
        v: Task::VERSION,
        run: run("tasks"),
        step: StepPath::new(step),
        attempt: 1,
        fencing_token: 1,
        ask: false,
        origin: None,
        capability: capability.to_owned(),
        workflow: "conformance".to_owned(),
        partition: partition(0),
        input: text("input"),
        checkpoint: None,
        timeout_ms: 1_000,
        deadline: None,
        deadline_in_ms: None,
        priority: 5,
        labels: std::collections::BTreeMap::new(),
    }
}

/// Returns a batch with one report.
pub fn reports(who: &str, step: &str) -> ReportBatch {
    let output = text(step);
    let report = Report {
        run: run("reports"),
        step: StepPath::new(step),
        attempt: 1,
        body: ReportBody::Outcome(Outcome::Completed { output, duration_ms: 7 }),
    };
    ReportBatch { v: ReportBatch::VERSION, agent: agent(who), reports: vec![report] }
}

/// Returns a heartbeat.
pub fn heartbeat(who: &str, seq: u64) -> Heartbeat {
    Heartbeat {
        v: Heartbeat::VERSION,
        agent: agent(who),
        seq,
        lane: Lane::Direct,
        offers: vec![Offer { capability: "writer".to_owned(), slots: 2 }],
        labels: std::collections::BTreeMap::new(),
        held: Vec::new(),
        draining: false,
        leaving: false,
        software: "conformance".to_owned(),
        answers: Vec::new(),
        ration: None,
    }
}

/// Returns a command, told apart by `reason`.
pub fn command(reason: &str) -> Command {
    Command::Cancel { run: run("commands"), reason: reason.to_owned() }
}

/// Returns a JSON string.
pub fn text(text: &str) -> Payload {
    Payload::encode(text).expect("a string has a JSON form")
}

/// Returns `len` bytes that look random; the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = crate::differential::Rng::new(seed);
    (0..len).map(|_| rng.next_u64().to_le_bytes()[0]).collect()
}
