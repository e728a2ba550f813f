//! Commands on their way to the engine.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use serde_json::{Map, Value};
use skep_broker::{Broker, PutBlobError, Request, Responder, Unavailable};
use skep_engine::{Input, Resolved};
use skep_protocol::limits::{MAX_BATCH_BYTES, MAX_INLINE_PAYLOAD, MAX_STEPS_PER_RUN};
use skep_protocol::{
    Command, CommandReply, Order, Payload, Rejection, RetryRun, RunId, StartRun, StepPath,
    StoredText, encode, unsound,
};
use skep_workflow::{InputProblem, StepKind, Workflow};

use super::at_hand::SMALL;
use super::jobs::{Done, unwound};
use super::serve::{Origin, Serving};
use super::{Context, End, Pause, retry};
use crate::catalog::CatalogError;
use crate::observe;

/// How often something unavailable is tried while a client waits.
const TRIES: u32 = 4;
/// What a start takes beside its inputs, in bytes.
const START_OVERHEAD: usize = 4 * 1024;

impl<B: Broker> Serving<B> {
    pub(crate) fn command(&mut self, request: Request<Command, CommandReply>) -> Result<(), End> {
        let Request { message, responder } = request;
        match message {
            Command::Register(request) => {
                let (catalog, size) = (self.context.catalog.clone(), request.source.len());
                self.begin_to_prepare(size);
                let register = async move {
                    match catalog.register(request).await {
                        Ok(reply) => responder.send(reply),
                        Err(error) => observe::given_up("register a definition", &error),
                    }
                    Done::LookedAt { size }
                };
                self.jobs.spawn(register, Done::LookedAt { size });
                Ok(())
            }
            Command::Start(start) => self.start(start, responder),
            Command::Retry(retry) => self.retry(retry, responder),
            Command::Cancel { run, reason } => {
                self.about_run(run, Input::Cancel { run, reason }, responder)
            }
            Command::Pause { run, by } => self.about_run(run, Input::Pause { run, by }, responder),
            Command::Resume { run, by } => {
                self.about_run(run, Input::Resume { run, by }, responder)
            }
            Command::Skip { run, step, by } => {
                self.about_run(run, Input::Skip { run, step, by }, responder)
            }
            Command::Drop { run, steps, by } => {
                self.look_for_letters((run, steps), by, responder);
                Ok(())
            }
            // One that a step waits for makes room.
            Command::Signal(signal)
                if !self.share.has_spare_room() && self.engine.would_keep(&signal) =>
            {
                responder.send(CommandReply::Rejected(Rejection::BUSY));
                Ok(())
            }
            Command::Signal(signal) => self.about_run(signal.run, Input::Signal(signal), responder),
            Command::ChildEnded { parent, child, outcome } => {
                let run = parent.run;
                self.about_run(run, Input::ChildEnded { parent, child, outcome }, responder)
            }
            Command::Order(order) => {
                let size = START_OVERHEAD;
                self.begin_to_prepare(size);
                let obeying = obey(self.context.clone(), order, responder);
                let obeying = obeying.map(move |()| Done::LookedAt { size });
                self.jobs.spawn(obeying, Done::LookedAt { size });
                Ok(())
            }
            Command::Ask(query) => {
                // With too many of them, the asker has an answer of its own.
                let _ = self.context.asked.try_send((query, responder));
                Ok(())
            }
        }
    }

    /// Looks at what a run is to be started from. If there is nothing to wait for, and little to
    /// look at, nobody is kept waiting.
    pub(super) fn look_at(
        &mut self,
        inputs: u64,
        wanted: Wanted,
        responder: Responder<CommandReply>,
    ) -> Result<(), End> {
        let inputs = usize::try_from(inputs).unwrap_or(usize::MAX);
        let size = inputs.saturating_add(START_OVERHEAD);
        self.begin_to_prepare(size);
        let prepare = prepare(self.context.clone(), wanted, responder, size);
        let mut prepare = Box::pin(unwound(prepare));
        let at_once = if inputs <= SMALL { (&mut prepare).now_or_never() } else { None };
        match at_once {
            Some(done) => self.job_done(done.unwrap_or(Done::LookedAt { size })),
            None => {
                let rest = async move { prepare.await.unwrap_or(Done::LookedAt { size }) };
                self.jobs.spawn(rest, Done::LookedAt { size });
                Ok(())
            }
        }
    }

    /// Looks whether dead letters are there that are to be dropped.
    fn look_for_letters(
        &mut self,
        (run, steps): (RunId, Vec<StepPath>),
        by: String,
        responder: Responder<CommandReply>,
    ) {
        if self.context.count.of(run) != self.context.id {
            return responder.send(CommandReply::Rejected(Rejection::NotOwner {}));
        }
        if steps.len() > MAX_STEPS_PER_RUN {
            let message = format!("a run has at most {MAX_STEPS_PER_RUN} steps");
            return responder.send(CommandReply::Rejected(Rejection::LimitExceeded { message }));
        }
        if !self.preparing.has_room() {
            return responder.send(CommandReply::Rejected(Rejection::BUSY));
        }
        self.begin_to_prepare(START_OVERHEAD);
        let wanted = Wanted::Drop { run, steps, by };
        let prepare = prepare(self.context.clone(), wanted, responder, START_OVERHEAD);
        self.jobs.spawn(prepare, Done::LookedAt { size: START_OVERHEAD });
    }

    fn about_run(
        &mut self,
        run: RunId,
        input: Input,
        responder: Responder<CommandReply>,
    ) -> Result<(), End> {
        if self.context.count.of(run) != self.context.id {
            responder.send(CommandReply::Rejected(Rejection::NotOwner {}));
            return Ok(());
        }
        self.decide(input, Origin::Command(responder))
    }

    fn begin_to_prepare(&mut self, size: usize) {
        self.preparing.begin(size);
        self.account();
    }

    /// Refuses a start that need not be looked at any further.
    pub(super) fn refusal(&self, start: &StartRun) -> Option<Rejection> {
        if self.context.count.of(start.run) != self.context.id {
            return Some(Rejection::NotOwner {});
        }
        if let Some(message) = start.excess() {
            return Some(Rejection::LimitExceeded { message });
        }
        let runs = self.engine.live_runs() + self.preparing.count();
        // Those that others wait for are bounded by their number alone: memory is free again only
        // once these end.
        let full = runs >= start.room(self.context.config.max_runs_per_partition)
            || !self.preparing.has_room()
            || (start.levels() == 0 && !self.share.has_room());
        (full && self.engine.status(start.run).is_none()).then_some(Rejection::BUSY)
    }

    /// What a run is to be started from was looked at.
    pub(crate) fn prepared(
        &mut self,
        input: Result<Input, Rejection>,
        responder: Responder<CommandReply>,
    ) -> Result<(), End> {
        match input {
            Ok(input) => self.decide(input, Origin::Command(responder)),
            Err(rejection) => {
                responder.send(CommandReply::Rejected(rejection));
                Ok(())
            }
        }
    }
}

/// Does as a person says with a breaker or an agent.
async fn obey<B: Broker>(context: Context<B>, order: Order, responder: Responder<CommandReply>) {
    responder.send(match try_to_obey(&context, order).await {
        Ok(()) => CommandReply::Done {},
        Err(rejection) => CommandReply::Rejected(rejection),
    });
}

async fn try_to_obey<B: Broker>(context: &Context<B>, order: Order) -> Result<(), Rejection> {
    let order = order.bounded().map_err(|message| Rejection::LimitExceeded { message })?;
    let capability = match &order {
        Order::TripBreaker { name, .. } => match name.split_once('/') {
            Some((workflow, step)) => Some(breaker_of(context, name, (workflow, step)).await?),
            None => None,
        },
        Order::ResetBreaker { .. } | Order::QuarantineAgent { .. } | Order::ReleaseAgent { .. } => {
            None
        }
    };
    context.fleet.order(order, capability).await
}

/// Returns the capability of a step that has a breaker of its own: by its definition, or because
/// it was called here.
async fn breaker_of<B: Broker>(
    context: &Context<B>,
    name: &str,
    (workflow, step): (&str, &str),
) -> Result<String, Rejection> {
    if let Some(capability) = context.fleet.capability_of(name.to_owned()).await {
        return Ok(capability);
    }
    let definition = match context.catalog.find(workflow).await {
        Ok((_, definition)) => definition,
        Err(CatalogError::Rejected(rejection)) => return Err(rejection),
        Err(CatalogError::Unavailable(_)) => {
            return Err(Rejection::BUSY);
        }
    };
    let what = format!("step `{step}` with an agent in workflow `{workflow}`");
    let found = definition.find(step).map(|index| definition.step(index));
    match found.map(|step| (step.kind(), step.breaker())) {
        Some((StepKind::Agent { capability, .. }, Some(_))) => Ok(capability.to_string()),
        Some((StepKind::Agent { capability, .. }, None)) => Err(Rejection::CannotObey {
            cause: format!("{name} has no circuit breaker of its own"),
            help: format!("open that of its capability: skep breakers trip {capability}"),
        }),
        Some(_) | None => Err(Rejection::NotThere { what }),
    }
}

/// What a run is to be started from.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Start(Box<StartRun>),
    Retry(Box<RetryRun>),
    Drop { run: RunId, steps: Vec<StepPath>, by: String },
}

/// Returns what is known of the run that a retry starts before it is looked at.
pub(super) fn new_run(retry: &RetryRun) -> StartRun {
    let inputs = retry.inputs.clone().unwrap_or_else(Payload::null);
    let (workflow, parent, depth, labels) = (String::new(), None, 0, BTreeMap::new());
    StartRun { run: retry.run, workflow, inputs, parent, depth, labels }
}

/// Finds out what a start means and whether its inputs will do.
async fn prepare<B: Broker>(
    context: Context<B>,
    wanted: Wanted,
    responder: Responder<CommandReply>,
    size: usize,
) -> Done {
    let mut pause = Pause::new();
    let mut tries = 0;
    let input = loop {
        let resolved = match wanted.clone() {
            Wanted::Start(start) => resolve(&context, start).await,
            Wanted::Retry(retry) => Box::pin(retry::resolve(&context, *retry)).await,
            Wanted::Drop { run, steps, by } => {
                Box::pin(retry::to_drop(&context, (run, steps), by)).await
            }
        };
        match resolved {
            Ok(input) => break Ok(input),
            Err(CatalogError::Rejected(rejection)) => break Err(rejection),
            Err(CatalogError::Unavailable(error)) => {
                observe::trying_again("look at the start of a run", &error);
                tries += 1;
                if tries == TRIES {
                    break Err(Rejection::BUSY);
                }
            }
        }
        pause.rest().await;
    };
    Done::Prepared { input, responder, size }
}

async fn resolve<B: Broker>(
    context: &Context<B>,
    mut start: Box<StartRun>,
) -> Result<Input, CatalogError> {
    let given = given_inputs(context, &start.inputs).await?;
    let (digest, workflow) = context.catalog.find(&start.workflow).await?;
    fits_journal(&workflow)?;
    let pinned = context.catalog.pin(&workflow).await?;
    start.inputs = accepted_inputs(context, &workflow, given).await?;
    let workflow = Resolved { digest, workflow: Some(workflow), pinned };
    Ok(Input::Accepted { start, workflow })
}

/// Returns the inputs of a run, checked and with defaults filled in.
pub(super) async fn accepted_inputs<B: Broker>(
    context: &Context<B>,
    workflow: &Workflow,
    given: Map<String, Value>,
) -> Result<Payload, CatalogError> {
    keep_inputs(context, accept(workflow, given)?).await
}

/// Returns inputs as a definition accepts them, with defaults filled in.
pub(super) fn accept(workflow: &Workflow, given: Map<String, Value>) -> Result<Payload, Rejection> {
    let accepted = workflow.inputs().accept(given).map_err(|problems| {
        Rejection::InvalidInputs { problems: problems.iter().map(InputProblem::sentence).collect() }
    })?;
    Ok(Payload::from(Value::Object(accepted)))
}

/// A definition becomes one record of the journal.
pub(super) fn fits_journal(workflow: &Workflow) -> Result<(), Rejection> {
    let source = workflow.source();
    if source.len() * 2 < MAX_BATCH_BYTES {
        return Ok(());
    }
    let stored = encode(&StoredText::new(source.to_owned())).len();
    if stored < MAX_BATCH_BYTES / 8 * 7 {
        return Ok(());
    }
    let message = format!("the definition takes {stored} bytes of a journal message");
    Err(Rejection::LimitExceeded { message })
}

/// Returns the inputs that a client gives, unless not everybody reads them alike.
pub(super) async fn given_inputs<B: Broker>(
    context: &Context<B>,
    inputs: &Payload,
) -> Result<Map<String, Value>, CatalogError> {
    let fetched;
    let text = match inputs {
        Payload::Json(raw) => raw.get(),
        Payload::Blob(blob) => {
            let missing = || invalid("the inputs are not in the blob store".to_owned());
            fetched = Box::pin(context.broker.blob(**blob)).await?.ok_or_else(missing)?;
            str::from_utf8(&fetched).map_err(|error| not_json(&error))?
        }
    };
    Ok(read_inputs(text)?)
}

/// Reads the inputs that a client gives, unless not everybody reads them alike.
pub(super) fn read_inputs(text: &str) -> Result<Map<String, Value>, Rejection> {
    if let Some(problem) = unsound("inputs", text) {
        return Err(invalid(problem));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(invalid("the inputs are a JSON object, by name".to_owned())),
        Err(error) => Err(not_json(&error)),
    }
}

fn invalid(problem: String) -> Rejection {
    Rejection::InvalidInputs { problems: vec![problem] }
}

fn not_json(error: &dyn std::error::Error) -> Rejection {
    invalid(format!("the inputs are not JSON: {error}"))
}

async fn keep_inputs<B: Broker>(
    context: &Context<B>,
    payload: Payload,
) -> Result<Payload, CatalogError> {
    match payload.text() {
        Some(text) if text.len() > MAX_INLINE_PAYLOAD => {
            let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
            let kept = Box::pin(context.broker.put_blob(bytes)).await;
            Ok(Payload::from(kept.map_err(|error| match error {
                PutBlobError::Unavailable(error) => error,
                error @ PutBlobError::Full { .. } => {
                    Unavailable { attempted: "keep the inputs", reason: error.to_string() }
                }
            })?))
        }
        Some(_) | None => Ok(payload),
    }
}
