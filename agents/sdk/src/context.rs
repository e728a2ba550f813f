//! What a handler knows of its attempt, and what it can say while it works.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_protocol::{AgentId, AttemptId, Payload, Progress, RunId, StepPath, Task, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::failure::Failure;
use crate::news::{News, What};
use crate::payloads::{self, BlobStore};
use crate::table::Key;

/// Longest note of a handler's progress, in bytes; the rest is cut.
const MAX_NOTE: usize = 200;

/// One attempt, as its handler sees it. Cloning gives another handle to the same one.
///
/// A step is attempted at least once and its result is accepted exactly once; side effects are the
/// handler's own. [`idempotency_key`](Self::idempotency_key) is the same for all attempts of a
/// step, [`fencing_token`](Self::fencing_token) rises with each: hand them to whatever the handler
/// changes.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    task: Task,
    received: Instant,
    started: Instant,
    handler: Key,
    signs: Signs,
    common: Arc<Common>,
}

/// What all attempts of an agent have in common.
pub(crate) struct Common {
    pub(crate) agent: AgentId,
    pub(crate) store: Arc<dyn BlobStore>,
    pub(crate) checkpoints: mpsc::Sender<SaveCheckpoint>,
    pub(crate) news: News,
}

/// A task, and when it came: what is told in durations counts from there.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) task: Task,
    pub(crate) at: Instant,
}

/// What an attempt and the agent's loop tell each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signs(Arc<Mutex<Given>>);

#[derive(Debug, Default)]
struct Given {
    cancelled: bool,
    /// Made for the first who waits: most handlers end before they are told to stop.
    token: Option<CancellationToken>,
    has_token: bool,
    handler: Option<Key>,
    progress: Option<Progress>,
}

/// A checkpoint on its way to the coordinator.
#[derive(Debug)]
pub(crate) struct SaveCheckpoint {
    pub(crate) attempt: AttemptId,
    pub(crate) payload: Payload,
    pub(crate) saved: oneshot::Sender<Result<(), Failure>>,
}

impl Context {
    pub(crate) fn new(
        Received { task, at: received }: Received,
        started: Instant,
        handler: Key,
        signs: Signs,
        common: Arc<Common>,
    ) -> Self {
        Self(Arc::new(Inner { task, received, started, handler, signs, common }))
    }

    pub(crate) fn task(&self) -> &Task {
        &self.0.task
    }

    pub(crate) fn signs(&self) -> &Signs {
        &self.0.signs
    }

    /// Tells the loop something of the handler.
    pub(crate) fn tell(&self, what: What) {
        self.0.common.news.tell(self.0.handler, what);
    }

    /// Returns the span of the attempt.
    pub(crate) fn span(&self) -> tracing::Span {
        let task = self.task();
        tracing::info_span!(
            "attempt",
            run_id = %task.run,
            step = %task.step,
            attempt = task.attempt,
            capability = task.capability,
            agent_id = %self.0.common.agent,
        )
    }

    /// Returns the run that the attempt belongs to.
    pub fn run(&self) -> RunId {
        self.0.task.run
    }

    /// Returns the step: `fetch`, `review[2]`, `group/inner`.
    pub fn step(&self) -> &StepPath {
        &self.0.task.step
    }

    /// Returns the name of the workflow.
    pub fn workflow(&self) -> &str {
        &self.0.task.workflow
    }

    /// Returns the capability that was asked for.
    pub fn capability(&self) -> &str {
        &self.0.task.capability
    }

    /// Returns the id of this agent.
    pub fn agent(&self) -> &AgentId {
        &self.0.common.agent
    }

    /// Returns the number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.task.attempt
    }

    /// Returns the id of the attempt: run, step and number.
    pub fn attempt_id(&self) -> AttemptId {
        self.0.task.id()
    }

    /// Returns the key under which side effects can be made idempotent: the same for every attempt
    /// of the step.
    pub fn idempotency_key(&self) -> String {
        self.0.task.idempotency_key()
    }

    /// Returns a number that rises with each attempt of the step, and when a new coordinator sends
    /// the same attempt to another agent. A store that remembers the highest one it saw can refuse
    /// what a late, given up attempt still writes.
    pub fn fencing_token(&self) -> u64 {
        self.0.task.fencing_token
    }

    /// Returns the idempotency key of the step that this attempt makes good, if it belongs to a
    /// compensation. Its fencing tokens are beyond those of that step.
    pub fn compensates(&self) -> Option<String> {
        self.0.task.compensates()
    }

    /// Returns when the whole step, all its attempts included, has to be over, by the clock of the
    /// coordinator. [`remaining`](Self::remaining) tells how long that is from now, whatever the
    /// clock of this host shows.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.0.task.deadline
    }

    /// Returns how long this attempt may still run: what is left of `timeout` and of `deadline`.
    /// The time that a task lay in a queue before this agent pulled it is not known, and so not
    /// taken off; once the deadline has passed the attempt is cancelled in any case.
    pub fn remaining(&self) -> Duration {
        let timeout = Duration::from_millis(self.0.task.timeout_ms);
        let left = timeout.saturating_sub(self.0.started.elapsed());
        self.until_deadline().map_or(left, |until| left.min(until))
    }

    fn until_deadline(&self) -> Option<Duration> {
        let deadline = self.0.task.deadline?;
        match self.0.task.deadline_in_ms.map(Duration::from_millis) {
            Some(after) => Some(after.saturating_sub(self.0.received.elapsed())),
            // Coordinators of earlier releases tell the moment only.
            None => Some(deadline.since(clock::now())),
        }
    }

    /// Waits until the attempt shall stop: cancelled, out of time, or the agent leaves. The handler
    /// then has a short grace to clean up before its future is dropped.
    ///
    /// # Cancel safety
    /// It can be dropped and called again at any time.
    pub async fn cancelled(&self) {
        self.0.signs.token().cancelled().await;
    }

    /// Returns whether the attempt shall stop. For work that does not await.
    pub fn is_cancelled(&self) -> bool {
        self.0.signs.is_cancelled()
    }

    /// Returns a token that is cancelled when the attempt shall stop, for libraries that want one.
    pub fn cancellation(&self) -> CancellationToken {
        let token = self.0.signs.token();
        // Whoever holds it may cancel it, by which the handler gives up.
        if self.0.signs.is_first_to_have_token() {
            self.tell(What::HasToken);
        }
        token
    }

    /// Says that the handler gets on, with a line for people: 200 bytes, the rest is cut. It is
    /// cheap: it travels with the next heartbeat.
    pub fn progress(&self, note: impl Into<String>) {
        let mut note = note.into();
        note.truncate(note.floor_char_boundary(MAX_NOTE));
        self.0.signs.update(|progress| progress.note = Some(note));
    }

    /// Says how much of the work is done: `done` parts of `total`.
    pub fn progress_of(&self, done: u64, total: u64) {
        let share = u128::from(done.min(total)) * 1000 / u128::from(total.max(1));
        self.0.signs.update(|progress| progress.per_mille = u16::try_from(share).ok());
    }

    /// Returns the checkpoint of an earlier attempt of the step, or what this one was started with
    /// after its agent was lost; `None` if there is none.
    ///
    /// # Errors
    /// A [`Failure`] with the code `invalid_checkpoint` if it does not fit the type.
    ///
    /// # Cancel safety
    /// It can be dropped and called again at any time.
    pub async fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, Failure> {
        let Some(payload) = &self.0.task.checkpoint else { return Ok(None) };
        let text = payloads::fetch(&*self.0.common.store, payload).await?;
        payloads::decode_checkpoint(&text).map(Some)
    }

    /// Leaves something for the next attempt, should there be one. Returns once it is durable;
    /// while no coordinator can be reached that takes as long as it takes.
    ///
    /// # Errors
    /// A [`Failure`] if it has no JSON form or is too large, or if the attempt is of no interest
    /// any more.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have saved the checkpoint.
    pub async fn save_checkpoint<T>(&self, checkpoint: &T) -> Result<(), Failure>
    where
        T: Serialize + Sync + ?Sized,
    {
        let text = payloads::encode_checkpoint(checkpoint)?;
        let payload = payloads::stow(&*self.0.common.store, text).await?;
        let (saved, answer) = oneshot::channel();
        let request = SaveCheckpoint { attempt: self.attempt_id(), payload, saved };
        if self.0.common.checkpoints.send(request).await.is_err() {
            return Err(no_longer_wanted());
        }
        answer.await.unwrap_or_else(|_| Err(no_longer_wanted()))
    }
}

/// The failure of a checkpoint that nobody waits for.
pub(crate) fn no_longer_wanted() -> Failure {
    Failure::new("cancelled", "the attempt is of no interest any more")
}

impl Signs {
    /// Says which handler runs.
    pub(crate) fn started(&self, handler: Key) {
        self.given().handler = Some(handler);
    }

    /// Tells the handler to stop. Returns it if it was started.
    pub(crate) fn cancel(&self) -> Option<Key> {
        let mut given = self.given();
        given.cancelled = true;
        let (token, handler) = (given.token.clone(), given.handler);
        drop(given);
        if let Some(token) = token {
            token.cancel();
        }
        handler
    }

    /// Returns whether the handler shall stop.
    pub(crate) fn is_cancelled(&self) -> bool {
        let given = self.given();
        given.cancelled || given.token.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    /// Returns what tells when the handler shall stop.
    pub(crate) fn token(&self) -> CancellationToken {
        let mut given = self.given();
        if let Some(token) = &given.token {
            return token.clone();
        }
        let token = CancellationToken::new();
        if given.cancelled {
            token.cancel();
        }
        given.token = Some(token.clone());
        token
    }

    /// Returns, once, whether the handler was handed its token.
    fn is_first_to_have_token(&self) -> bool {
        !mem::replace(&mut self.given().has_token, true)
    }

    /// Returns how far the handler says it is.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.given().progress.clone()
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        let mut given = self.given();
        let none = || Progress { calls: 0, per_mille: None, note: None };
        let progress = given.progress.get_or_insert_with(none);
        progress.calls += 1;
        change(progress);
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Context");
        out.field("attempt", &self.0.task.id()).field("capability", &self.0.task.capability);
        out.finish_non_exhaustive()
    }
}
