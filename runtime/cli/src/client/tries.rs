//! A question or a command again, while nobody answers.

use std::time::Duration;

use skep_broker::{RequestError, host};
use skep_protocol::Rejection;
use tokio::time::{Instant, sleep};

use crate::error::Error;

/// The first pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Whoever is busy again and again is asked less often: how often the pause that it asks for
/// doubles.
const DOUBLED: u32 = 2;

/// Tries within a bound of time.
pub(super) struct Tries {
    until: Instant,
    pause: Duration,
    /// How often somebody was busy.
    refused: u32,
}

impl Tries {
    pub(super) fn new(patience: Duration) -> Self {
        Self { until: Instant::now() + patience, pause: FIRST_PAUSE, refused: 0 }
    }

    /// Waits before the next try if the error may pass; gives the error back if it may not.
    pub(super) async fn bear(&mut self, error: RequestError) -> Result<(), Error> {
        let passing = !matches!(error, RequestError::TooLarge { .. });
        if passing && self.pause(Duration::ZERO).await { Ok(()) } else { Err(error.into()) }
    }

    /// Waits before the next try if what was rejected may be taken later.
    pub(super) async fn bear_rejection(&mut self, rejection: Rejection) -> Result<(), Error> {
        let pause = if let Rejection::Busy { retry_after_ms } = rejection {
            let doubled = 1 << self.refused.min(DOUBLED);
            self.refused += 1;
            Some(Duration::from_millis(retry_after_ms).saturating_mul(doubled))
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
        let (pause, now) = (self.next_pause(at_least), Instant::now());
        if now + at_least > self.until {
            return false;
        }
        // The last pause is no longer than there is time.
        sleep(pause.min(self.until - now)).await;
        true
    }

    /// Returns how long to wait, up to half as long again as is needed: those who are told the same
    /// do not come back at the same moment.
    fn next_pause(&mut self, at_least: Duration) -> Duration {
        let pause = self.pause.max(at_least);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        pause + pause.mul_f64(random_share() / 2.0)
    }
}

/// Returns a number from 0 to 1.
fn random_share() -> f64 {
    f64::from((host::random() >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn those_who_are_told_to_come_back_do_so_one_after_the_other() {
        let asked = Duration::from_secs(1);
        let pauses = (0..64).map(|_| Tries::new(Duration::ZERO).next_pause(asked));
        let pauses: BTreeSet<Duration> = pauses.collect();
        assert!(pauses.len() > 32, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause >= asked && *pause <= asked * 3 / 2));
    }
}
