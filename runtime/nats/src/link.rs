//! The state of the connection, as something to wait for.

use std::time::Duration;

use async_nats::{Event, ServerError};
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
    /// When a message was dropped last because nobody took it.
    dropped: Option<Instant>,
    /// Whether that was told since the connection is there.
    told: bool,
    /// Whether the server ever refused something for want of permission.
    denied: bool,
}

impl State {
    const NEW: Self =
        Self { connected: true, losses: 0, back: None, dropped: None, told: false, denied: false };
}

/// Writes the state, from the events of the client.
#[derive(Debug)]
pub(crate) struct Observer {
    state: watch::Sender<State>,
    /// Where the servers are, for people.
    addresses: String,
}

impl Observer {
    pub(crate) fn new(addresses: String) -> (Self, Link) {
        let (state, receiver) = watch::channel(State::NEW);
        (Self { state, addresses }, Link(receiver))
    }

    pub(crate) fn see(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.state.send_modify(|state| {
                    if state.losses > 0 {
                        // As loud as the loss: whoever was told of that wants to know.
                        tracing::warn!("connected again to NATS at {}", self.addresses);
                        state.back = Some(Instant::now());
                    }
                    state.connected = true;
                    state.told = false;
                });
            }
            Event::Disconnected => {
                tracing::warn!(
                    "the connection to NATS at {} was lost; trying until it is back",
                    self.addresses
                );
                self.state.send_modify(|state| {
                    state.connected = false;
                    state.losses += 1;
                });
            }
            Event::SlowConsumer(subscription) => self.dropped(*subscription),
            Event::ServerError(error) => {
                tracing::warn!(%error, "the NATS server complains");
                if is_denial(error) {
                    self.state.send_modify(|state| state.denied = true);
                }
            }
            // While it is away, each try to connect ends with one.
            Event::ClientError(error) if !self.state.borrow().connected => {
                tracing::debug!(%error, "cannot connect to NATS yet");
            }
            Event::ClientError(error) => tracing::warn!(%error, "the NATS client complains"),
            Event::LameDuckMode | Event::Draining | Event::Closed => {
                tracing::debug!(%event, "the connection to NATS changes");
            }
        }
    }

    fn dropped(&self, subscription: u64) {
        self.state.send_if_modified(|state| {
            state.dropped = Some(Instant::now());
            if !std::mem::replace(&mut state.told, true) {
                tracing::warn!(
                    subscription,
                    "messages were dropped: they came too fast; further ones are not told"
                );
            }
            // Nobody waits for this, and it happens with every message of a flood.
            false
        });
    }
}

fn is_denial(error: &ServerError) -> bool {
    match error {
        ServerError::Other(text) => text.to_ascii_lowercase().contains("permissions violation"),
        ServerError::AuthorizationViolation | ServerError::SlowConsumer(_) => false,
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

    /// Returns the connection, if there is one as far as the client has told.
    pub(crate) fn established(&self) -> Option<Period> {
        let state = self.0.borrow();
        state.connected.then_some(Period(state.losses))
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

    /// Waits until the server refuses something for want of permission, or has done so.
    pub(crate) async fn denied(&self) {
        let mut state = self.0.clone();
        let gone = state.wait_for(|state| state.denied).await.is_err();
        if gone {
            std::future::pending::<()>().await;
        }
    }

    /// Returns whether the connection came back only just.
    pub(crate) fn is_settling(&self) -> bool {
        self.0.borrow().back.is_some_and(|back| back.elapsed() < GRACE)
    }

    /// Returns whether messages were dropped only just: that somebody was not heard proves nothing.
    pub(crate) fn has_just_dropped(&self) -> bool {
        self.0.borrow().dropped.is_some_and(|dropped| dropped.elapsed() < GRACE)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loss_ends_the_period_and_a_return_settles() {
        let (observer, link) = Observer::new("here".to_owned());
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
    #[tokio::test(start_paused = true)]
    async fn after_messages_were_dropped_silence_proves_nothing() {
        let (observer, link) = Observer::new("here".to_owned());
        let period = link.connected().await;
        assert!(!link.has_just_dropped());
        observer.see(&Event::SlowConsumer(7));
        assert!(link.has_just_dropped() && !link.is_settling());
        assert!(link.lost(period).now_or_never().is_none(), "the connection is there");
        tokio::time::advance(GRACE).await;
        assert!(!link.has_just_dropped());
    }
}
