//! A question or a command again, while nobody answers.

use std::time::Duration;

use skep_broker::RequestError;
use skep_protocol::Rejection;
use tokio::time::{Instant, sleep};

use crate::error::Error;

/// The first pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Tries within a bound of time.
pub(super) struct Tries {
    until: Instant,
    pause: Duration,
}

impl Tries {
    pub(super) fn new(patience: Duration) -> Self {
        Self { until: Instant::now() + patience, pause: FIRST_PAUSE }
    }

    /// Waits before the next try if the error may pass; gives the error back if it may not.
    pub(super) async fn bear(&mut self, error: RequestError) -> Result<(), Error> {
        let passing = !matches!(error, RequestError::TooLarge { .. });
        if passing && self.pause(Duration::ZERO).await { Ok(()) } else { Err(error.into()) }
    }

    /// Waits before the next try if what was rejected may be taken later.
    pub(super) async fn bear_rejection(&mut self, rejection: Rejection) -> Result<(), Error> {
        let pause = if let Rejection::Busy { retry_after_ms } = rejection {
            Some(Duration::from_millis(retry_after_ms))
        } else {
            (rejection == Rejection::NotOwner {}).then_some(FIRST_PAUSE)
        };
        match pause {
            Some(pause) if self.pause(pause).await => Ok(()),
            Some(_) | None => Err(rejection.into()),
        }
    }

    /// Waits, at least so long; returns whether another try is allowed.
    async fn pause(&mut self, at_least: Duration) -> bool {
        let pause = self.pause.max(at_least);
        if Instant::now() + pause > self.until {
            return false;
        }
        sleep(pause).await;
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        true
    }
}
