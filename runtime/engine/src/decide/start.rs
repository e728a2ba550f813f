//! The start of a run.

use serde_json::Value;
use skep_protocol::limits::{MAX_INLINE_PAYLOAD, MAX_MADE_DEPTH, MAX_RUNS_PER_PARTITION};
use skep_protocol::{
    CommandReply, Event, Payload, Record, Rejection, RetryOf, RunStarted, StartRun, StoredText,
    WorkflowAdded, is_within_depth,
};
use skep_workflow::{InputProblem, Workflow};

use super::Decision;
use crate::desk::{Desk, Obstacle};
use crate::input::Resolved;
use crate::partition::{Partition, fingerprint};
use crate::past::CannotRetry;

/// Where a start comes from.
pub(super) enum Source {
    Asked,
    /// The definition has accepted the inputs.
    Accepted,
    Retry(Box<RetryOf>),
}

impl Source {
    fn into_retry(self) -> Option<Box<RetryOf>> {
        match self {
            Self::Asked | Self::Accepted => None,
            Self::Retry(retry) => Some(retry),
        }
    }
}

pub(super) fn start(
    partition: &Partition,
    start: StartRun,
    (resolved, source): (Resolved, Source),
    desk: &Desk<'_>,
) -> Result<Decision, Obstacle> {
    let workflow = match (partition.workflow(resolved.digest), &resolved.workflow) {
        (Some(known), _) => known.clone(),
        (None, Some(given)) => given.clone(),
        (None, None) => {
            let workflow = start.workflow;
            return Ok(Decision::rejected(Rejection::UnknownWorkflow { workflow }));
        }
    };
    if let Some(rejection) = unbearable(&start) {
        return Ok(Decision::rejected(rejection));
    }
    let (run, room) = (start.run, start.room(MAX_RUNS_PER_PARTITION));
    let accepted = match &source {
        Source::Accepted if is_bearable(&start.inputs) => Ok(start.inputs),
        Source::Asked | Source::Accepted | Source::Retry(_) => {
            accept(&start.inputs, &workflow, desk)?
        }
    };
    let inputs = match accepted {
        Ok(inputs) => inputs,
        Err(rejection) => return Ok(Decision::rejected(rejection)),
    };
    let started = RunStarted {
        workflow: workflow.name().to_string(),
        version: workflow.version().map(str::to_owned),
        digest: resolved.digest,
        inputs,
        pinned: resolved.pinned,
        parent: start.parent,
        depth: start.depth,
        labels: start.labels,
        steps: u32::try_from(workflow.roots().len()).ok(),
        retry: source.into_retry(),
    };
    if let Some(existing) = partition.fingerprint_of(run) {
        return Ok(if existing == fingerprint(started.digest, &started.inputs) {
            Decision::reply(CommandReply::Started { run, existing: true })
        } else {
            Decision::rejected(Rejection::RunIdTaken { run })
        });
    }
    let of = started.retry.as_ref().map(|retry| retry.run);
    if let Some((run, by)) = of.and_then(|of| Some((of, partition.done_over_by(of)?))) {
        let CannotRetry { cause, help } = CannotRetry::done_over(by);
        return Ok(Decision::rejected(Rejection::CannotRetry { run, cause, help }));
    }
    // What exists is confirmed even by a full partition.
    if partition.live_runs() >= room {
        return Ok(Decision::rejected(Rejection::BUSY));
    }
    let mut decision = Decision::reply(CommandReply::Started { run, existing: false });
    if !partition.knows(resolved.digest) {
        let source = StoredText::new(workflow.source().to_owned());
        let added = WorkflowAdded { digest: resolved.digest, source };
        decision.records.push(Record::WorkflowAdded(added));
    }
    Ok(decision.event(run, Event::RunStarted(Box::new(started)), desk))
}

fn unbearable(start: &StartRun) -> Option<Rejection> {
    start.excess().map(|message| Rejection::LimitExceeded { message })
}

/// Returns whether accepted inputs can stand in the journal as they are.
fn is_bearable(inputs: &Payload) -> bool {
    inputs.text().is_some_and(|text| {
        text.len() <= MAX_INLINE_PAYLOAD && is_within_depth(text, MAX_MADE_DEPTH)
    })
}

/// Checks the inputs and fills in the defaults.
fn accept(
    inputs: &Payload,
    workflow: &Workflow,
    desk: &Desk<'_>,
) -> Result<Result<Payload, Rejection>, Obstacle> {
    let invalid = |problem: String| Rejection::InvalidInputs { problems: vec![problem] };
    let text = match desk.text(inputs) {
        Ok(text) => text,
        Err(Obstacle::Missing) => return Err(Obstacle::Missing),
        Err(Obstacle::Failure(failure)) => return Ok(Err(invalid(failure.message))),
    };
    let Ok(Value::Object(given)) = serde_json::from_str(text) else {
        return Ok(Err(invalid("the inputs are not a JSON object".to_owned())));
    };
    match workflow.inputs().accept(given) {
        Ok(filled) => Ok(Ok(desk.encode(&Value::Object(filled))?)),
        Err(problems) => {
            let problems = problems.iter().map(InputProblem::sentence).collect();
            Ok(Err(Rejection::InvalidInputs { problems }))
        }
    }
}
