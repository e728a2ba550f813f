//! The state of the connection, as something to wait for.

use std::time::Duration;

use async_nats::Event;
use tokio::sync::watch;
use tokio::time::Instant;

/// After the connection came back, the others need a moment to come back too: until then, "nobody
/// listens" proves nothing.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
struct State {
    connected: bool,
    /// How often the connection was lost.
    losses: u64,
    /// When it came back last.
    back: Option<Instant>,
}

/// Writes the state, from the events of the client.
#[derive(Debug)]
pub(crate) struct Observer(watch::Sender<State>);

impl Observer {
    pub(crate) fn new() -> (Self, Link) {
        let (sender, receiver) = watch::channel(State { connected: true, losses: 0, back: None });
        (Self(sender), Link(receiver))
    }

    pub(crate) fn see(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.0.send_modify(|state| {
                    if state.losses > 0 {
                        tracing::info!("connected to NATS again");
                        state.back = Some(Instant::now());
                    }
                    state.connected = true;
                });
            }
            Event::Disconnected => {
                tracing::warn!("the connection to NATS was lost");
                self.0.send_modify(|state| {
                    state.connected = false;
                    state.losses += 1;
                });
            }
            Event::SlowConsumer(subscription) => {
                tracing::warn!(subscription, "messages were dropped: they came too fast");
            }
            Event::ServerError(error) => tracing::warn!(%error, "the NATS server complains"),
            Event::ClientError(error) => tracing::warn!(%error, "the NATS client complains"),
            Event::LameDuckMode | Event::Draining | Event::Closed => {
                tracing::debug!(%event, "the connection to NATS changes");
            }
        }
    }
}

/// Reads the state.
#[derive(Debug, Clone)]
pub(crate) struct Link(watch::Receiver<State>);

/// One uninterrupted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Period(u64);

impl Link {
    /// Waits until there is a connection.
    pub(crate) async fn connected(&self) -> Period {
        let mut state = self.0.clone();
        let seen = state.wait_for(|state| state.connected).await.map(|state| state.losses);
        match seen {
            Ok(losses) => Period(losses),
            // The client is gone, and with it everybody who could wait.
            Err(_) => std::future::pending().await,
        }
    }

    /// Returns the latest connection, which may be lost.
    pub(crate) fn period(&self) -> Period {
        Period(self.0.borrow().losses)
    }

    /// Waits until the connection is lost. Answers to what was asked before it never come.
    pub(crate) async fn lost(&self, period: Period) {
        let mut state = self.0.clone();
        let gone = state.wait_for(|state| state.losses != period.0).await.is_err();
        if gone {
            std::future::pending::<()>().await;
        }
    }

    /// Returns whether the connection came back only just.
    pub(crate) fn is_settling(&self) -> bool {
        self.0.borrow().back.is_some_and(|back| back.elapsed() < GRACE)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loss_ends_the_period_and_a_return_settles() {
        let (observer, link) = Observer::new();
        let first = link.connected().await;
        assert!(link.lost(first).now_or_never().is_none());
        observer.see(&Event::Connected);
        assert!(link.lost(first).now_or_never().is_none() && !link.is_settling());
        observer.see(&Event::Disconnected);
        assert!(link.lost(first).now_or_never().is_some());
        assert!(link.connected().now_or_never().is_none());
        observer.see(&Event::Connected);
        let second = link.connected().await;
        assert!(second > first && link.is_settling());
        tokio::time::advance(GRACE).await;
        assert!(!link.is_settling());
    }
}
