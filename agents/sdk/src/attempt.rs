//! The ends of an attempt that may need the blob store: its input, and what is reported of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use skep_protocol::limits::MAX_INLINE_PAYLOAD;
use skep_protocol::{Outcome, Payload, Task};
use tokio::time::{Instant, sleep};

use crate::context::{Common, Context, Received, Signs};
use crate::failure::Failure;
use crate::handlers::Slot;
use crate::payloads::{self, BlobStore, Output, Text};

/// What was brought from the blob store, or to it.
pub(crate) enum Carried {
    /// The input of an attempt that has begun; none if it was told to stop before it came.
    Input(Box<Begun>, Option<Result<Text, Failure>>),
    /// What to report of an attempt; none if it was told to stop and the store did not answer.
    Outcome(Context, Option<Box<Outcome>>, Slot),
}

/// An attempt whose handler was not started yet.
pub(crate) struct Begun {
    pub(crate) received: Received,
    pub(crate) signs: Signs,
    pub(crate) at: Instant,
}

/// Returns why this agent does not perform a task, whatever it asks for.
pub(crate) fn unsupported(task: &Task) -> Option<Failure> {
    let (v, known) = (task.v, Task::VERSION);
    let message = || format!("the task has format {v}, this agent reads up to {known}");
    (v > known).then(|| Failure::new("unsupported_task", message()).only_here())
}

/// Brings the input of an attempt from the blob store.
pub(crate) async fn fetch(common: Arc<Common>, begun: Box<Begun>) -> Carried {
    let cancelled = begun.signs.token();
    let input = tokio::select! {
        biased;
        () = cancelled.cancelled() => None,
        input = payloads::fetch(&*common.store, &begun.received.task.input) => Some(input),
    };
    Carried::Input(begun, input)
}

/// Returns what to report of a result, or the result if it needs the blob store.
pub(crate) fn outcome(
    result: Result<Output, Failure>,
    duration_ms: u64,
) -> Result<Outcome, Result<Box<RawValue>, Failure>> {
    match result {
        Ok(Output::Inline(output)) => Ok(Outcome::Completed { output, duration_ms }),
        Ok(Output::Large(text)) => Err(Ok(text)),
        Err(failure) => {
            let failure = failure.into_protocol();
            match &failure.details {
                Some(Payload::Json(raw)) if raw.get().len() > MAX_INLINE_PAYLOAD => {
                    Err(Err(Failure::from_protocol(failure)))
                }
                Some(_) | None => Ok(Outcome::Failed { failure, duration_ms }),
            }
        }
    }
}

/// Brings what a handler ended with to the blob store; gives up if the attempt is told to stop
/// while the store does not answer.
pub(crate) async fn stow(
    common: Arc<Common>,
    context: Context,
    grace: Duration,
    slot: Slot,
    (result, duration_ms): (Result<Box<RawValue>, Failure>, u64),
) -> Carried {
    let cancelled = context.signs().token();
    let given_up = async {
        cancelled.cancelled().await;
        sleep(grace).await;
    };
    let outcome = tokio::select! {
        biased;
        outcome = report(&*common.store, result, duration_ms) => Some(Box::new(outcome)),
        () = given_up => None,
    };
    Carried::Outcome(context, outcome, slot)
}

async fn report(
    store: &dyn BlobStore,
    result: Result<Box<RawValue>, Failure>,
    duration_ms: u64,
) -> Outcome {
    let stowed = match result {
        Ok(output) => payloads::stow(store, output).await,
        Err(failure) => Err(failure),
    };
    match stowed {
        Ok(output) => Outcome::Completed { output, duration_ms },
        Err(failure) => {
            let mut failure = failure.into_protocol();
            failure.details = stow_details(store, failure.details.take()).await;
            Outcome::Failed { failure, duration_ms }
        }
    }
}

async fn stow_details(store: &dyn BlobStore, details: Option<Payload>) -> Option<Payload> {
    match details {
        Some(Payload::Json(raw)) => {
            let text = RawValue::from_string(raw.get().to_owned()).ok()?;
            payloads::stow(store, text).await.ok()
        }
        kept @ (Some(Payload::Blob(_)) | None) => kept,
    }
}
