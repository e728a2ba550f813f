//! One task in this process, dispatched as a coordinator does: for tests of handlers.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::value::RawValue;
use skep_broker::Unavailable;
use skep_broker::{Direct as _, Embedded, Presence as _, Reports as _, Tasks as _};
use skep_protocol::{
    Lane, Outcome, PartitionId, Payload, ReportBody, ReportReply, RunId, StepPath, Task, TaskBatch,
    Verdict,
};
use tokio::sync::oneshot;

use crate::agent::Agent;
use crate::clock;
use crate::failure::Failure;
use crate::payloads;

const PARTITION: PartitionId = PartitionId::new(0);
/// The time limit of the one attempt: the default of a definition.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Performs one task with `agent` over a broker of its own.
pub(crate) async fn perform(
    agent: &Agent,
    capability: &str,
    input: Box<RawValue>,
) -> Result<serde_json::Value, Failure> {
    if !agent.offers.contains_key(capability) {
        let served: Vec<_> = agent.capabilities().collect();
        let (name, served) = (agent.name(), served.join("`, `"));
        let message = format!("agent `{name}` does not serve `{capability}`, only `{served}`");
        return Err(Failure::fatal("unknown_capability", message));
    }
    let broker = Embedded::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = agent.run_until(&broker, async {
        let _ = stopped.await;
    });
    let asking = async {
        let result = coordinate(&broker, agent.lane, capability, input).await;
        drop(stop);
        result
    };
    let (ran, result) = tokio::join!(running, asking);
    ran?;
    result
}

/// Plays the coordinator: offers the task, takes reports until the outcome.
async fn coordinate(
    broker: &Embedded,
    lane: Lane,
    capability: &str,
    input: Box<RawValue>,
) -> Result<serde_json::Value, Failure> {
    let mut reports = broker.serve_reports(PARTITION).await?;
    let mut beats = broker.beats().await?;
    let task = Task {
        v: Task::VERSION,
        run: RunId::from_uuid(clock::mint()),
        step: StepPath::new("perform"),
        attempt: 1,
        fencing_token: 1,
        ask: false,
        origin: None,
        capability: capability.to_owned(),
        workflow: "perform".to_owned(),
        partition: PARTITION,
        input: payloads::stow(broker, input).await?,
        checkpoint: None,
        timeout_ms: u64::try_from(TIMEOUT.as_millis()).unwrap_or(u64::MAX),
        deadline: None,
        deadline_in_ms: None,
        priority: 5,
        labels: BTreeMap::new(),
    };
    match lane {
        Lane::Direct => {
            let beat = beats.next().await.ok_or_else(gone)?;
            broker.deliver(&beat.agent, &TaskBatch { tasks: vec![task] }).await?;
        }
        Lane::Queue => broker.offer(task, 1).await?,
    }
    loop {
        let request = reports.next().await.ok_or_else(gone)?;
        let batch = request.message;
        let verdicts = vec![Verdict::Applied; batch.reports.len()];
        request.responder.send(ReportReply::from(verdicts));
        for report in batch.reports {
            match report.body {
                ReportBody::Taken {} | ReportBody::Checkpoint(_) | ReportBody::Released { .. } => {}
                ReportBody::Outcome(Outcome::Completed { output, .. }) => {
                    return value(broker, &output).await;
                }
                ReportBody::Outcome(Outcome::Failed { failure, .. }) => {
                    return Err(Failure::from_protocol(failure));
                }
            }
        }
    }
}

async fn value(broker: &Embedded, output: &Payload) -> Result<serde_json::Value, Failure> {
    let text = payloads::fetch(broker, output).await?;
    payloads::decode_input(&text)
}

fn gone() -> Unavailable {
    Unavailable { attempted: "perform a task", reason: "the embedded broker is gone".to_owned() }
}
