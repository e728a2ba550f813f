//! How many questions are looked at, and how many wait for something to happen.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Questions that are answered at the same time.
const AT_ONCE: usize = 1_024;
/// Questions that wait for something to happen; more are answered with what there is.
const WAITING: usize = 16 * 1_024;

/// Shares out the turns.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    answering: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new() -> Self {
        let answering = Arc::new(Semaphore::new(AT_ONCE));
        Self { answering, waiting: Arc::new(Semaphore::new(WAITING)) }
    }

    /// Waits until one more question may be looked at.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn next(&self) -> Turn {
        Turn { permit: Some(acquire(&self.answering).await), turns: self.clone() }
    }
}

/// The right to have one question looked at.
#[derive(Debug)]
pub(super) struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    turns: Turns,
}

impl Turn {
    /// Lets others have the turn while `event` is awaited; `None` at once if too many wait.
    pub(super) async fn while_waiting<T>(&mut self, event: impl Future<Output = T>) -> Option<T> {
        let waits = Arc::clone(&self.turns.waiting).try_acquire_owned().ok()?;
        self.permit = None;
        let happened = event.await;
        drop(waits);
        self.permit = Some(acquire(&self.turns.answering).await);
        Some(happened)
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_owned().await.expect("nobody closes it")
}
