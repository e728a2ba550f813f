//! One attempt from its task to what is reported: input, handler, limits of time, output.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use skep_protocol::{AgentId, AttemptId, FailureKind, Outcome, Payload, Task};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::context::{Context, Received, SaveCheckpoint, Signs};
use crate::failure::Failure;
use crate::handler::SharedHandler;
use crate::payloads::{self, BlobStore, Text};

/// How long a dropped handler may take to let go. Only one that blocks its thread takes longer.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);

/// Everything one attempt needs.
pub(crate) struct Attempt {
    pub(crate) received: Received,
    pub(crate) agent: AgentId,
    pub(crate) handler: SharedHandler,
    pub(crate) signs: Signs,
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) checkpoints: mpsc::Sender<SaveCheckpoint>,
    pub(crate) grace: Duration,
}

/// An attempt that is over.
pub(crate) struct Ended {
    pub(crate) attempt: AttemptId,
    pub(crate) capability: String,
    /// What to report; none if it was told to stop and did.
    pub(crate) outcome: Option<Outcome>,
    /// The handler, if it blocks its thread and so does not stop. It keeps its slot.
    pub(crate) blocked: Option<Running>,
}

/// A handler that was started.
pub(crate) type Running = AbortOnDropHandle<Result<Box<RawValue>, Failure>>;

type Joined = Result<Result<Box<RawValue>, Failure>, JoinError>;

/// How the handler ended.
enum End {
    Joined(Joined),
    TimedOut,
    Stopped,
}

impl Attempt {
    /// Performs the attempt.
    pub(crate) async fn perform(self) -> Ended {
        let started = Instant::now();
        let (result, blocked) = self.supervise().await;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = match result {
            Some(result) => self.outcome(result, duration_ms).await,
            None => None,
        };
        let (attempt, capability) = (self.task().id(), self.task().capability.clone());
        Ended { attempt, capability, outcome, blocked }
    }

    fn task(&self) -> &Task {
        &self.received.task
    }

    /// Returns the handler's result; none if it was told to stop and left without an output.
    async fn supervise(&self) -> (Option<Result<Box<RawValue>, Failure>>, Option<Running>) {
        if self.task().v > Task::VERSION {
            let (v, known) = (self.task().v, Task::VERSION);
            let message = format!("the task has format {v}, this agent reads up to {known}");
            return (Some(Err(Failure::new("unsupported_task", message).only_here())), None);
        }
        let input = tokio::select! {
            biased;
            () = self.signs.cancelled.cancelled() => return (None, None),
            input = payloads::fetch(&*self.store, &self.task().input) => input,
        };
        let mut running = match input {
            Ok(input) => self.start(input),
            Err(failure) => return (Some(Err(failure)), None),
        };
        let limit = Duration::from_millis(self.task().timeout_ms);
        let (end, blocked) = tokio::select! {
            biased;
            joined = &mut running => (End::Joined(joined), None),
            () = self.signs.cancelled.cancelled() => match self.stop(running).await {
                Ok(joined @ Ok(Ok(_))) => (End::Joined(joined), None),
                Ok(_) => (End::Stopped, None),
                Err(running) => (End::Stopped, Some(running)),
            },
            () = sleep(limit) => {
                self.signs.cancelled.cancel();
                (End::TimedOut, self.stop(running).await.err())
            },
        };
        let result = match end {
            End::Joined(Ok(result)) => Some(result),
            End::Joined(Err(error)) => Some(Err(died(error))),
            End::TimedOut => {
                let message = format!("the attempt took longer than its timeout of {limit:?}");
                Some(Err(Failure::of_kind(FailureKind::Timeout, "timeout", message)))
            }
            End::Stopped => None,
        };
        (result, blocked)
    }

    fn start(&self, input: Text) -> Running {
        let task = self.task();
        let span = tracing::info_span!(
            "attempt",
            run_id = %task.run,
            step = %task.step,
            attempt = task.attempt,
            capability = task.capability,
            agent_id = %self.agent,
        );
        let (agent, signs) = (self.agent.clone(), self.signs.clone());
        let (store, checkpoints) = (Arc::clone(&self.store), self.checkpoints.clone());
        let context = Context::new(self.received.clone(), agent, signs, store, checkpoints);
        AbortOnDropHandle::new(tokio::spawn(self.handler.call(context, input).instrument(span)))
    }

    /// Waits for a handler that was told to stop, then drops it. Hands it back if it blocks its
    /// thread.
    async fn stop(&self, mut running: Running) -> Result<Joined, Running> {
        if let Ok(joined) = timeout(self.grace, &mut running).await {
            return Ok(joined);
        }
        running.abort();
        match timeout(LET_GO_WITHIN, &mut running).await {
            Ok(joined) => Ok(joined),
            Err(_) => Err(running),
        }
    }

    /// Brings a result into the form of a report, large values in the blob store; none if the
    /// attempt was told to stop while the store did not answer.
    async fn outcome(
        &self,
        result: Result<Box<RawValue>, Failure>,
        duration_ms: u64,
    ) -> Option<Outcome> {
        let given_up = async {
            self.signs.cancelled.cancelled().await;
            sleep(self.grace).await;
        };
        tokio::select! {
            biased;
            outcome = self.stow(result, duration_ms) => Some(outcome),
            () = given_up => None,
        }
    }

    async fn stow(&self, result: Result<Box<RawValue>, Failure>, duration_ms: u64) -> Outcome {
        let stowed = match result {
            Ok(output) => payloads::stow(&*self.store, output).await,
            Err(failure) => Err(failure),
        };
        match stowed {
            Ok(output) => Outcome::Completed { output, duration_ms },
            Err(failure) => {
                let mut failure = failure.into_protocol();
                failure.details = self.stow_details(failure.details.take()).await;
                Outcome::Failed { failure, duration_ms }
            }
        }
    }

    async fn stow_details(&self, details: Option<Payload>) -> Option<Payload> {
        match details {
            Some(Payload::Json(raw)) => {
                let text = RawValue::from_string(raw.get().to_owned()).ok()?;
                payloads::stow(&*self.store, text).await.ok()
            }
            kept @ (Some(Payload::Blob(_)) | None) => kept,
        }
    }
}

/// The failure of a handler whose task ended by itself without a result.
fn died(error: JoinError) -> Failure {
    match error.try_into_panic() {
        Ok(panic) => {
            let message = format!("the handler panicked: {}", panic_message(&*panic));
            Failure::of_kind(FailureKind::Panic, "panic", message)
        }
        Err(error) => Failure::new("error", format!("the handler was dropped: {error}")),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "(no message)",
    }
}
