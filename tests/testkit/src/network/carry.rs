//! One message on its way to the broker and its answer on the way back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use skep_broker::{AppendError, Embedded, PutBlobError, PutError, RequestError, Unavailable};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::{Call, Client, Fate, Trouble};

/// How long an answer is waited for that a cut link holds back.
const PATIENCE: Duration = Duration::from_secs(12);

/// What a caller sees of an operation of which nothing is known.
pub(super) trait Failed {
    fn lost() -> Self;

    /// Returns whether it went to nobody, so that nothing can get there once more.
    fn reached_nobody(&self) -> bool {
        false
    }
}

impl Failed for Unavailable {
    fn lost() -> Self {
        Self { attempted: "reach the broker", reason: "no answer came".to_owned() }
    }
}

impl Failed for PutBlobError {
    fn lost() -> Self {
        Self::Unavailable(Failed::lost())
    }
}

impl Failed for RequestError {
    fn lost() -> Self {
        Self::TimedOut { what: "a request".to_owned(), within_ms: 0 }
    }

    fn reached_nobody(&self) -> bool {
        matches!(self, Self::NoResponders { sent: false, .. })
    }
}

impl Failed for AppendError {
    fn lost() -> Self {
        Self::Unknown { reason: "no answer came".to_owned() }
    }
}

impl Failed for PutError {
    fn lost() -> Self {
        Self::Unavailable(Failed::lost())
    }
}

async fn pass(yields: u64, delay: Duration) {
    for _ in 0..yields {
        tokio::task::yield_now().await;
    }
    if !delay.is_zero() {
        sleep(delay).await;
    }
}

impl Client {
    /// Sends something that changes the broker. Once it is under way it arrives, whatever becomes
    /// of the sender.
    pub(super) async fn send<T, E, F>(
        &self,
        repeats: Repeats,
        work: impl Fn(Embedded) -> F + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failed + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.link.running().await;
        if self.link.is_cut() {
            return self.unreachable().await;
        }
        let call = Call { changes: true, repeats: repeats == Repeats::Perhaps };
        let Fate { yields, before, after, trouble, repeat } = self.network.fate(call);
        let broker = self.network.broker.clone();
        let patience = match trouble {
            Trouble::None => None,
            Trouble::Lost(patience) => {
                self.witness().reached("message lost");
                return self.nothing_after(patience).await;
            }
            Trouble::Ghost(patience, later) => {
                self.witness().reached("message done later");
                self.network.travel(async move {
                    sleep(later).await;
                    drop(work(broker).await);
                });
                return self.nothing_after(patience).await;
            }
            Trouble::AnswerLost(patience) => {
                self.witness().reached("answer lost");
                Some(patience)
            }
        };
        if repeat.is_some() {
            self.witness().reached("message repeated");
        }
        let (answered, answer) = oneshot::channel();
        self.network.travel(async move {
            pass(yields, before).await;
            let answer = work(broker.clone()).await;
            let reached_nobody = answer.as_ref().is_err_and(Failed::reached_nobody);
            // Whoever asked may be dead.
            let _ = answered.send(answer);
            if let Some(later) = repeat.filter(|_| !reached_nobody) {
                sleep(later).await;
                drop(work(broker).await);
            }
        });
        let answer = answer.await.unwrap_or_else(|_| Err(E::lost()));
        if let Some(patience) = patience {
            return self.nothing_after(patience).await;
        }
        pass(0, after).await;
        self.receive(answer).await
    }

    /// Sends something that the broker is to keep on its disk.
    pub(super) async fn store<T, E, F>(
        &self,
        repeats: Repeats,
        work: impl Fn(Embedded) -> F + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failed + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        if self.network.full.load(Ordering::Relaxed) {
            return self.nothing_after(PATIENCE).await;
        }
        self.send(repeats, work).await
    }

    /// Asks the broker for something; nothing changes.
    pub(super) async fn ask<T, E, F>(&self, work: impl FnOnce(Embedded) -> F) -> Result<T, E>
    where
        E: Failed,
        F: Future<Output = Result<T, E>>,
    {
        self.link.running().await;
        if self.link.is_cut() {
            return self.unreachable().await;
        }
        let call = Call { changes: false, repeats: false };
        let Fate { yields, before, after, trouble, .. } = self.network.fate(call);
        match trouble {
            Trouble::None => {}
            Trouble::Lost(patience)
            | Trouble::AnswerLost(patience)
            | Trouble::Ghost(patience, _) => return self.nothing_after(patience).await,
        }
        pass(yields, before).await;
        let answer = work(self.network.broker.clone()).await;
        pass(0, after).await;
        self.receive(answer).await
    }

    async fn receive<T, E: Failed>(&self, answer: Result<T, E>) -> Result<T, E> {
        let mended = timeout(PATIENCE, self.link.mended()).await;
        self.link.running().await;
        if mended.is_err() { Err(E::lost()) } else { answer }
    }

    async fn nothing_after<T, E: Failed>(&self, patience: Duration) -> Result<T, E> {
        sleep(patience).await;
        self.link.running().await;
        Err(E::lost())
    }

    /// Waits as long as somebody does who cannot reach the broker.
    async fn unreachable<T, E: Failed>(&self) -> Result<T, E> {
        self.nothing_after(Duration::from_secs(2)).await
    }
}

/// Whether a message may arrive twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    Never,
    Perhaps,
}
