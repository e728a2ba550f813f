//! A run that is over is done over: what it did is looked up, and what another run keeps of it is
//! worked out, before the new run exists.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use skep_broker::{Broker, PutBlobError, Unavailable, host};
use skep_engine::{Again, CannotRetry, Input, Past, Resolved};
use skep_protocol::limits::{MAX_INLINE_PAYLOAD, MAX_KEPT_BYTES};
use skep_protocol::{
    Batch, Event, LetterFilter, Payload, QueryReply, Record, Rejection, RetryOf, RetryRun, RunId,
    RunRecord, RunStarted, Seq, StartRun, StepPath, encode,
};
use skep_workflow::Workflow;

use super::Context;
use super::load::chained;
use super::requests::{accepted_inputs, fits_journal, given_inputs};
use crate::catalog::CatalogError;
use crate::read_model::Question;

/// How long the read model may take to learn what is durable by now.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
/// Entries of a history that are asked for at a time.
const PAGE: u32 = 10_000;
/// With more than is kept inline altogether, outputs of more bytes than this lie in the blob store.
const SMALL: usize = 512;

/// Finds out what a retry means.
pub(super) async fn resolve<B: Broker>(
    context: &Context<B>,
    retry: RetryRun,
) -> Result<Input, CatalogError> {
    let is_here = context.count.of(retry.of) == context.id;
    let history = if is_here { history(context, retry.of).await? } else { Vec::new() };
    let Some(started) = history.first().and_then(|record| started(&record.event)) else {
        return Err(Rejection::RunNotFound { run: retry.of }.into());
    };
    let started = started.clone();
    if let Some(by) = done_over_by(context, &retry).await? {
        return Err(refused(retry.of, CannotRetry::done_over(by)));
    }
    if let Some(parent) = &started.parent {
        let (step, run) = (&parent.step, parent.run);
        let cause = format!("step `{step}` of run {run} started it");
        let help = format!("retry that run, which starts this one anew: skep retry {run}");
        return Err(Rejection::CannotRetry { run: retry.of, cause, help }.into());
    }
    let wanted = started.digest.to_string();
    let (digest, workflow) = context.catalog.find(&wanted).await.map_err(|error| match error {
        CatalogError::Rejected(Rejection::UnknownWorkflow { .. }) => unregistered(&retry, &started),
        error @ (CatalogError::Rejected(_) | CatalogError::Unavailable(_)) => error,
    })?;
    fits_journal(&workflow)?;
    let inputs = match &retry.inputs {
        Some(inputs) => {
            let given = given_inputs(context, inputs).await?;
            accepted_inputs(context, &workflow, given).await?
        }
        None => started.inputs.clone(),
    };
    let facts = facts(context, (&retry, &inputs), &workflow, history).await?;
    let start = StartRun {
        run: retry.run,
        workflow: wanted,
        inputs,
        parent: None,
        depth: 0,
        labels: started.labels.clone(),
    };
    let count = u32::try_from(facts.len()).unwrap_or(u32::MAX);
    let kept = if facts.is_empty() { None } else { Some(keep(context, retry.of, facts).await?) };
    let RetryRun { of: run, from, only, by, .. } = retry;
    let retry = Box::new(RetryOf { run, from, only, by, kept, facts: count });
    let pinned: BTreeMap<_, _> = started.pinned;
    let workflow = Resolved { digest, workflow: Some(workflow), pinned };
    Ok(Input::Retry { start: Box::new(start), workflow, retry })
}

fn refused(run: RunId, why: CannotRetry) -> CatalogError {
    let CannotRetry { cause, help } = why;
    Rejection::CannotRetry { run, cause, help }.into()
}

/// What the history of a run says to those who do it over.
enum Found {
    Facts(Vec<Event>),
    /// It did nothing by itself: what this run did counts.
    StandsFor(RunId),
}

/// Works out what is kept.
async fn facts<B: Broker>(
    context: &Context<B>,
    (retry, inputs): (&RetryRun, &Payload),
    workflow: &Workflow,
    mut history: Vec<RunRecord>,
) -> Result<Vec<Event>, CatalogError> {
    loop {
        let before = history.first().and_then(|record| started(&record.event));
        let inputs_change = before.is_none_or(|before| before.inputs != *inputs);
        let again = Again { from: retry.from.clone(), only: retry.only, inputs_change };
        let workflow = workflow.clone();
        let found = host::apart(move || look(&workflow, &history, &again)).await;
        match found.ok_or_else(|| crashed(retry.of))?.map_err(|why| refused(retry.of, why))? {
            Found::Facts(facts) => return Ok(facts),
            Found::StandsFor(run) => history = self::history(context, run).await?,
        }
    }
}

fn look(workflow: &Workflow, history: &[RunRecord], again: &Again) -> Result<Found, CannotRetry> {
    let past = Past::new(workflow, history)?;
    match past.stands_for() {
        Some(run) => Ok(Found::StandsFor(run)),
        None => past.keep(again).map(Found::Facts),
    }
}

/// Returns the run that does this one over already. The engine remembers the last ones; what was
/// durable before anybody asked is known here, too.
async fn done_over_by<B: Broker>(
    context: &Context<B>,
    retry: &RetryRun,
) -> Result<Option<RunId>, Unavailable> {
    if !context.read_model.is_there() {
        return Ok(None);
    }
    let reply = context.read_model.ask(Question::DoneOver(retry.of)).await;
    let QueryReply::Runs(runs) = reply else {
        return Err(unavailable("the read model does not answer".to_owned()));
    };
    let is_same = runs.iter().any(|run| run.run == retry.run);
    Ok(runs.last().filter(|_| !is_same).map(|last| last.run))
}

fn started(event: &Event) -> Option<&RunStarted> {
    if let Event::RunStarted(started) = event { Some(started) } else { None }
}

fn unregistered(retry: &RetryRun, started: &RunStarted) -> CatalogError {
    let cause = format!(
        "the definition of `{}` that it used, {}, is not registered any more",
        started.workflow,
        started.digest.short()
    );
    let help = "register the same file again: skep apply FILE".to_owned();
    Rejection::CannotRetry { run: retry.of, cause, help }.into()
}

fn crashed(run: RunId) -> Rejection {
    let cause = "what it did cannot be made out".to_owned();
    let help = "the log of the coordinator says more; start it anew: skep run".to_owned();
    Rejection::CannotRetry { run, cause, help }
}

/// Returns what happened to a run, as far as is known; nothing if there is no such run.
async fn history<B: Broker>(
    context: &Context<B>,
    run: RunId,
) -> Result<Vec<RunRecord>, CatalogError> {
    let partition = context.count.of(run);
    let Some(end) = context.broker.last(partition).await?.map(|last| last.seq) else {
        return Ok(Vec::new());
    };
    if !context.read_model.is_there() {
        return Ok(from_journal(context, run, end).await?);
    }
    // Late is better than never: what is known by then will do, or is seen not to.
    let known = context.read_model.positions();
    let _ = tokio::time::timeout(KNOWN_WITHIN, known.until(partition, end)).await;
    let mut history = Vec::new();
    let mut after = 0;
    loop {
        let page = Question::History { run, after, limit: PAGE };
        match context.read_model.ask(page).await {
            QueryReply::History(entries) => {
                let Some(last) = entries.last() else { return Ok(history) };
                after = last.number;
                history.extend(entries.into_iter().map(|entry| entry.record));
            }
            QueryReply::Failed { message } => {
                return Err(unavailable(message).into());
            }
            QueryReply::Runs(_)
            | QueryReply::Run(_)
            | QueryReply::Letters(_)
            | QueryReply::Agents(_)
            | QueryReply::ClusterAgents(_)
            | QueryReply::Breakers(_)
            | QueryReply::ClusterBreakers(_)
            | QueryReply::Workflows(_)
            | QueryReply::NotFound {} => return Ok(history),
        }
    }
}

/// Without a read model the journal itself is read.
async fn from_journal<B: Broker>(
    context: &Context<B>,
    run: RunId,
    end: Seq,
) -> Result<Vec<RunRecord>, Unavailable> {
    let mut messages = context.broker.follow(context.count.of(run), Seq::ZERO.next()).await?;
    let mut history = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| unavailable(chained(&error)))?;
        let batch = Batch::read(&message.bytes).map_err(|error| unavailable(chained(&error)))?;
        history.extend(batch.records.into_iter().filter_map(|record| match record {
            Record::Run(record) if record.run == run => Some(record),
            Record::Run(_) | Record::OwnerChanged(_) | Record::WorkflowAdded(_) => None,
        }));
        if message.seq >= end {
            break;
        }
    }
    Ok(history)
}

/// Finds out which dead letters are to be dropped.
pub(super) async fn to_drop<B: Broker>(
    context: &Context<B>,
    (run, steps): (RunId, Vec<StepPath>),
    by: String,
) -> Result<Input, CatalogError> {
    let known = letters(context, run).await?;
    if let Some(step) = steps.iter().find(|step| !known.contains_key(step)) {
        return Err(Rejection::NoDeadLetter { run, step: step.clone() }.into());
    }
    let steps = steps.into_iter().filter(|step| known.get(step) == Some(&false)).collect();
    Ok(Input::Drop { run, steps, by })
}

/// Returns the steps of a run that were given up on, and of each whether it was dropped. Without a
/// read model, those of a run that goes on are among them.
async fn letters<B: Broker>(
    context: &Context<B>,
    run: RunId,
) -> Result<BTreeMap<StepPath, bool>, CatalogError> {
    if !context.read_model.is_there() {
        let history = history(context, run).await?;
        return Ok(history.iter().filter_map(|record| letter(&record.event)).collect());
    }
    if let Some(end) = context.broker.last(context.id).await? {
        let known = context.read_model.positions();
        let _ = tokio::time::timeout(KNOWN_WITHIN, known.until(context.id, end.seq)).await;
    }
    let limit = PAGE;
    let all = LetterFilter { run: Some(run), all: true, limit, ..LetterFilter::default() };
    let reply = context.read_model.ask(Question::Letters(all)).await;
    let QueryReply::Letters(letters) = reply else {
        return Err(unavailable("the read model does not answer".to_owned()).into());
    };
    Ok(letters.into_iter().map(|letter| (letter.step, letter.dropped.is_some())).collect())
}

fn letter(event: &Event) -> Option<(StepPath, bool)> {
    if let Event::StepFailed { step, .. } = event {
        return Some((step.clone(), false));
    }
    let Event::DeadLetterDropped { step, .. } = event else { return None };
    Some((step.clone(), true))
}

fn unavailable(reason: String) -> Unavailable {
    Unavailable { attempted: "look up what a run did", reason }
}

/// Stores what is kept: in the journal if it is small, else in the blob store.
async fn keep<B: Broker>(
    context: &Context<B>,
    of: RunId,
    mut facts: Vec<Event>,
) -> Result<Payload, CatalogError> {
    let mut text = encode(&facts);
    if text.len() > MAX_KEPT_BYTES {
        for fact in &mut facts {
            move_apart(context, fact).await?;
        }
        text = encode(&facts);
    }
    if text.len() > MAX_KEPT_BYTES {
        let cause = format!(
            "what its steps left has {} bytes, large values apart; {MAX_KEPT_BYTES} can be kept",
            text.len()
        );
        let help =
            format!("retry from an early step, so that less is kept: skep retry {of} --from");
        return Err(Rejection::CannotRetry { run: of, cause, help }.into());
    }
    if text.len() > MAX_INLINE_PAYLOAD {
        return Ok(Payload::from(put(context, text).await?));
    }
    let text = String::from_utf8_lossy(&text);
    Payload::from_text(&text).map_err(|error| unavailable(chained(&error)).into())
}

async fn move_apart<B: Broker>(context: &Context<B>, fact: &mut Event) -> Result<(), Unavailable> {
    let mut payloads: Vec<&mut Payload> = Vec::new();
    if let Event::StepKept(kept) = fact {
        payloads.extend(kept.output.iter_mut().chain(&mut kept.item));
    } else if let Event::StepExpanded(expanded) = fact {
        payloads.extend(&mut expanded.items);
    }
    for payload in payloads {
        if let Some(text) = payload.text().filter(|text| text.len() > SMALL) {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            *payload = Payload::from(put(context, bytes).await?);
        }
    }
    Ok(())
}

async fn put<B: Broker>(
    context: &Context<B>,
    bytes: Bytes,
) -> Result<skep_protocol::BlobRef, Unavailable> {
    context.broker.put_blob(bytes).await.map_err(|error| match error {
        PutBlobError::Unavailable(error) => error,
        error @ PutBlobError::Full { .. } => unavailable(error.to_string()),
    })
}
