//! What is done beside the loop of a partition: effects, look-ups, housekeeping.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures::FutureExt as _;
use skep_broker::{Broker, Responder};
use skep_engine::{EffectKey, Input};
use skep_protocol::{
    BlobRef, ChildOutcome, Command, CommandReply, Failure, FailureKind, Parent, Rejection, RunId,
    StartRun, Timestamp,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, JoinSet};

use super::snapshots::Kept;
use super::{Context, Pause};
use crate::observe;

/// A job has ended.
pub(crate) enum Done {
    /// Nothing follows.
    Nothing,
    /// Reports that lay somewhere were removed from there.
    Confirmed,
    /// An effect was performed; the engine may have to know.
    Effect { key: EffectKey, input: Option<Input> },
    /// A large value was looked up; its room is held until it was handed to the engine.
    Blob { blob: BlobRef, bytes: Option<Bytes>, room: OwnedSemaphorePermit },
    /// The definition and the inputs of a start were looked at.
    Prepared { input: Result<Input, Rejection>, responder: Responder<CommandReply>, size: usize },
    /// A definition or a start of this size was looked at.
    LookedAt { size: usize },
    /// It is this partition's turn to take a snapshot.
    Turn(OwnedSemaphorePermit),
    /// A snapshot is kept, or it could not be.
    Snapshot(Option<Kept>),
}

/// The jobs of one partition; dropping them stops them.
pub(crate) struct Jobs {
    set: JoinSet<Done>,
    effects: BTreeMap<EffectKey, AbortHandle>,
    /// Effects of which it is decided that they are not owed, so many times, but not yet durable.
    withdrawn: BTreeMap<EffectKey, u32>,
}

impl Jobs {
    pub(crate) fn new() -> Self {
        Self { set: JoinSet::new(), effects: BTreeMap::new(), withdrawn: BTreeMap::new() }
    }

    /// Starts a job; if it panics it ends with `otherwise`.
    pub(crate) fn spawn(
        &mut self,
        job: impl Future<Output = Done> + Send + 'static,
        otherwise: Done,
    ) {
        self.set.spawn(async move { unwound(job).await.unwrap_or(otherwise) });
    }

    /// Stops an effect of which it was decided that it is not owed any more, and does not start it
    /// before that is durable. To do nothing needs no record: if the append fails, what is owed is
    /// found out again.
    pub(crate) fn withdraw(&mut self, key: &EffectKey) {
        if let Some(job) = self.effects.remove(key) {
            job.abort();
        }
        *self.withdrawn.entry(key.clone()).or_default() += 1;
    }

    /// Starts an effect unless it is under way or was withdrawn. What is owed is tried until it is
    /// done, also after a panic.
    pub(crate) fn effect<F: Future<Output = Done> + Send + 'static>(
        &mut self,
        key: EffectKey,
        job: impl Fn() -> F + Send + 'static,
    ) {
        if self.effects.contains_key(&key) || self.withdrawn.contains_key(&key) {
            return;
        }
        let trying = async move {
            let mut pause = Pause::new();
            loop {
                if let Some(done) = unwound(job()).await {
                    return done;
                }
                pause.rest().await;
            }
        };
        self.effects.insert(key, self.set.spawn(trying));
    }

    /// Stops an effect that is not owed any more.
    pub(crate) fn stop(&mut self, key: &EffectKey) {
        if let Some(job) = self.effects.remove(key) {
            job.abort();
        }
        if let Some(times) = self.withdrawn.get_mut(key) {
            *times -= 1;
            if *times == 0 {
                self.withdrawn.remove(key);
            }
        }
    }

    pub(crate) fn ended(&mut self, key: &EffectKey) {
        self.effects.remove(key);
    }

    /// Waits for the next job to end; for ever if there is none.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn next(&mut self) -> Done {
        loop {
            match self.set.join_next().await {
                Some(Ok(done)) => return done,
                Some(Err(error)) => observe::task_died("job of a partition", &error),
                None => return std::future::pending().await,
            }
        }
    }
}

/// Waits for the end of a job; none if it panicked.
pub(crate) async fn unwound<T>(job: impl Future<Output = T>) -> Option<T> {
    let ended = AssertUnwindSafe(job).catch_unwind().await;
    if ended.is_err() {
        observe::panicked("job");
    }
    ended.ok()
}

/// Starts a sub-workflow; tries again until its partition answers. Whoever is the owner by then may
/// have decided that it is not to be started.
pub(crate) async fn start_child<B: Broker>(
    context: Context<B>,
    start: Box<StartRun>,
    not_before: Timestamp,
) -> Done {
    tokio::time::sleep(context.clock.until(not_before)).await;
    let (child, parent) = (start.run, start.parent.clone());
    let key = EffectKey::StartChild(child);
    let mut pause = Pause::new();
    loop {
        context.ownership.sure().await;
        let command = Command::Start(start.clone());
        match context.broker.command(context.count.of(child), command).await {
            Ok(CommandReply::Rejected(rejection)) => match final_rejection(rejection) {
                Some(Rejection::RunAlreadyFinished { .. }) => {
                    return Done::Effect { key, input: None };
                }
                Some(rejection) => {
                    let input = parent.map(|parent| not_started(parent, child, &rejection));
                    return Done::Effect { key, input };
                }
                None => {}
            },
            Ok(_) => return Done::Effect { key, input: None },
            Err(error) => observe::trying_again("start a sub-workflow", &error),
        }
        pause.rest().await;
    }
}

fn not_started(parent: Parent, child: RunId, rejection: &Rejection) -> Input {
    let message = format!("the sub-workflow was not started: {rejection}");
    let failure = Failure::new(FailureKind::Inner, "rejected", message).fatal();
    Input::ChildEnded { parent, child, outcome: ChildOutcome::Failed(failure) }
}

/// Cancels a sub-workflow. One that is not there yet is about to be started.
pub(crate) async fn cancel_child<B: Broker>(
    context: Context<B>,
    child: RunId,
    reason: String,
) -> Done {
    let mut pause = Pause::new();
    loop {
        let command = Command::Cancel { run: child, reason: reason.clone() };
        match context.broker.command(context.count.of(child), command).await {
            Ok(CommandReply::Rejected(rejection)) => match final_rejection(rejection) {
                Some(Rejection::RunNotFound { .. }) | None => {}
                Some(_) => break,
            },
            Ok(_) => break,
            Err(error) => observe::trying_again("cancel a sub-workflow", &error),
        }
        pause.rest().await;
    }
    Done::Effect { key: EffectKey::CancelChild(child), input: None }
}

/// Tells the parent how its sub-workflow ended, until it has recorded it or has no use for it.
pub(crate) async fn notify_parent<B: Broker>(
    context: Context<B>,
    parent: Parent,
    child: RunId,
    outcome: ChildOutcome,
) -> Done {
    let mut pause = Pause::new();
    loop {
        let partition = context.count.of(parent.run);
        let (parent, outcome) = (parent.clone(), outcome.clone());
        let command = Command::ChildEnded { parent, child, outcome };
        match context.broker.command(partition, command).await {
            Ok(CommandReply::Rejected(rejection)) => {
                if final_rejection(rejection).is_some() {
                    break;
                }
            }
            Ok(_) => break,
            Err(error) => observe::trying_again("tell a run of its sub-workflow", &error),
        }
        pause.rest().await;
    }
    let input = Some(Input::ParentNotified { run: child });
    Done::Effect { key: EffectKey::Parent(child), input }
}

/// Returns the rejection unless trying again may help.
fn final_rejection(rejection: Rejection) -> Option<Rejection> {
    match rejection {
        // Another owner may be of another version, and read it.
        Rejection::Unreadable { .. }
        | Rejection::Busy { .. }
        | Rejection::NotOwner {}
        | Rejection::PartitionStopped { .. } => None,
        Rejection::InvalidDefinition { .. }
        | Rejection::UnknownWorkflow { .. }
        | Rejection::InvalidInputs { .. }
        | Rejection::RunNotFound { .. }
        | Rejection::RunAlreadyFinished { .. }
        | Rejection::RunIdTaken { .. }
        | Rejection::CannotRetry { .. }
        | Rejection::NoDeadLetter { .. }
        | Rejection::NotStuck { .. }
        | Rejection::NotThere { .. }
        | Rejection::CannotObey { .. }
        | Rejection::LimitExceeded { .. } => Some(rejection),
    }
}

/// Looks up a large value.
pub(crate) async fn fetch_blob<B: Broker>(context: Context<B>, blob: BlobRef) -> Done {
    let room = context.room.value(blob.size).await;
    let mut pause = Pause::new();
    loop {
        match context.broker.blob(blob).await {
            Ok(bytes) => return Done::Blob { blob, bytes, room },
            Err(error) => observe::trying_again("look up a large value", &error),
        }
        pause.rest().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_withdrawn_does_not_start_before_that_is_durable() {
        let mut jobs = Jobs::new();
        let key = EffectKey::StartChild(RunId::from_key("w", "k"));
        let owed = |jobs: &mut Jobs| jobs.effect(key.clone(), async || Done::Nothing);
        // It is decided that the child starts, does not, does, and does not after all.
        jobs.withdraw(&key);
        jobs.withdraw(&key);
        for _ in 0..2 {
            owed(&mut jobs);
            tokio::task::yield_now().await;
            assert!(jobs.next().now_or_never().is_none(), "it was started");
            jobs.stop(&key);
        }
        owed(&mut jobs);
        assert!(matches!(jobs.next().await, Done::Nothing));
    }
}
