//! An orderly end: when to give up on handlers, when to leave whatever happens, and the signals of
//! the operating system that ask for it.

use std::time::Duration;

use tokio::time::Instant;

/// How long an agent that gave up on its handlers waits for its last reports to be confirmed.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

/// How far the end of an agent is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Drain {
    /// It has not begun.
    #[default]
    Working,
    /// Handlers may finish until then.
    Finishing { until: Instant },
    /// Handlers were told to stop; their reports may be confirmed until then.
    GivingBack { until: Instant },
}

impl Drain {
    /// Begins the end.
    pub(crate) fn begin(&mut self, now: Instant, limit: Duration) {
        *self = Self::Finishing { until: now + limit };
    }

    /// Returns whether the end has begun.
    pub(crate) const fn has_begun(self) -> bool {
        match self {
            Self::Working => false,
            Self::Finishing { .. } | Self::GivingBack { .. } => true,
        }
    }

    /// Returns, once, whether it is time to give up on handlers.
    pub(crate) fn gives_up(&mut self, now: Instant, grace: Duration) -> bool {
        match *self {
            Self::Finishing { until } if until <= now => {
                *self = Self::GivingBack { until: now + grace + CONFIRMED_WITHIN };
                true
            }
            Self::Working | Self::Finishing { .. } | Self::GivingBack { .. } => false,
        }
    }

    /// Returns whether the agent leaves, whatever it still holds.
    pub(crate) fn is_over(self, now: Instant) -> bool {
        match self {
            Self::Working | Self::Finishing { .. } => false,
            Self::GivingBack { until } => until <= now,
        }
    }

    /// Returns when the next of these moments is.
    pub(crate) const fn next_wake(self) -> Option<Instant> {
        match self {
            Self::Working => None,
            Self::Finishing { until } | Self::GivingBack { until } => Some(until),
        }
    }
}

/// Waits for the operating system to ask this process to end: SIGTERM or SIGINT (ctrl-c). From the
/// first call on these signals do not end the process by themselves any more.
///
/// # Cancel safety
/// It can be dropped and called again; a signal in between is lost.
pub async fn terminated() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        if let (Ok(mut terminate), Ok(mut interrupt)) = signals {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
