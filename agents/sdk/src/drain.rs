//! An orderly end: when to give up on handlers, when to leave whatever happens, and the signals of
//! the operating system that ask for it.

use std::time::Duration;

use tokio::time::Instant;

/// How long an agent takes to leave: less than the 30 s after which Kubernetes kills a process.
const LEFT_WITHIN: Duration = Duration::from_secs(25);
/// How long an agent that gave up on its handlers waits for its last reports to be confirmed: the
/// least and the most.
const CONFIRMED_WITHIN: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(10));

/// How far the end of an agent is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Drain {
    /// It has not begun.
    #[default]
    Working,
    /// Handlers may finish until then.
    Finishing { began: Instant, until: Instant },
    /// Handlers were told to stop; their reports may be confirmed until then.
    GivingBack { until: Instant },
}

impl Drain {
    /// Begins the end.
    pub(crate) fn begin(&mut self, now: Instant, limit: Duration) {
        *self = Self::Finishing { began: now, until: now + limit };
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
            Self::Finishing { began, until } if until <= now => {
                let (least, most) = CONFIRMED_WITHIN;
                let stopped = now + grace;
                let until = (began + LEFT_WITHIN).clamp(stopped + least, stopped + most);
                *self = Self::GivingBack { until };
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
            Self::Finishing { until, .. } | Self::GivingBack { until } => Some(until),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_leaves_before_it_is_killed() {
        let (began, seconds) = (Instant::now(), Duration::from_secs);
        let left_after = |limit, grace| {
            let mut drain = Drain::default();
            drain.begin(began, limit);
            assert!(drain.gives_up(began + limit, grace) && !drain.gives_up(began + limit, grace));
            drain.next_wake().unwrap() - began
        };
        assert_eq!(left_after(seconds(20), seconds(2)), seconds(25));
        assert_eq!(left_after(seconds(20), seconds(6)), seconds(29));
        assert_eq!(left_after(seconds(1), seconds(2)), seconds(13));
        assert_eq!(left_after(seconds(60), seconds(2)), seconds(65));
    }
}
