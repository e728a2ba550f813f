//! Whether this coordinator knows that it is the one who writes a journal.
//!
//! The fence keeps the events of a replaced owner out of the journal. It does not keep it from
//! sending what it believes to be owed: a process that was stopped for a minute wakes up with a
//! fleet full of ready attempts that its successor has long finished. So nothing is sent, and
//! nothing is answered, on the strength of a look at the journal that is old.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;

/// How long a look at the journal counts. A standby takes a hung owner for gone after more than
/// that: four probes of 400 ms each.
pub(crate) const FRESH_FOR: Duration = Duration::from_millis(1_250);
/// What is known is renewed once it is so old.
const RENEW_AFTER: Duration = Duration::from_millis(500);

/// What is known about the ownership of one partition.
#[derive(Debug)]
pub(crate) struct Ownership {
    clock: Arc<Clock>,
    known: Mutex<Known>,
    /// Wakes in the order in which was asked, so that what follows is the same in a simulation.
    changed: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// The last moment of which it is known that nobody else had written.
    sure: Option<Duration>,
    /// What was known before this moment does not count.
    from: Duration,
}

impl Ownership {
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        Self { clock, known: Mutex::default(), changed: Notify::new() }
    }

    /// Nobody else had written the journal at `moment`: an append that was sent then succeeded, or
    /// a look at its end that was sent then found nothing new.
    pub(crate) fn confirmed(&self, moment: Duration) {
        let mut known = self.known();
        if moment >= known.from {
            known.sure = known.sure.max(Some(moment));
        }
        drop(known);
        self.changed.notify_waiters();
    }

    /// The partition is not owned, or it has to be found out again whether it is.
    pub(crate) fn doubted(&self) {
        let from = self.clock.moment();
        *self.known() = Known { sure: None, from };
    }

    /// Returns whether the partition is owned, as far as can be known.
    pub(crate) fn is_sure(&self) -> bool {
        let sure = self.known().sure;
        sure.is_some_and(|sure| self.clock.moment().saturating_sub(sure) <= FRESH_FOR)
    }

    /// Returns whether it is to be found out again whether the partition is owned.
    pub(crate) fn is_old(&self) -> bool {
        let sure = self.known().sure;
        sure.is_none_or(|sure| self.clock.moment().saturating_sub(sure) >= RENEW_AFTER)
    }

    /// Waits until it is known that the partition is owned.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn sure(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_sure() {
                return;
            }
            changed.await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_known_before_a_gap_or_a_doubt_does_not_count() {
        let clock = Arc::new(Clock::new());
        let ownership = Ownership::new(Arc::clone(&clock));
        assert!(!ownership.is_sure());
        let asked = clock.moment();
        ownership.confirmed(asked);
        assert!(ownership.is_sure());
        tokio::time::advance(FRESH_FOR * 2).await;
        ownership.confirmed(asked);
        assert!(!ownership.is_sure(), "the answer is from before the gap");
        ownership.confirmed(clock.moment());
        assert!(ownership.is_sure());
        let asked = clock.moment();
        tokio::time::advance(Duration::from_millis(1)).await;
        ownership.doubted();
        ownership.confirmed(asked);
        assert!(!ownership.is_sure(), "it was asked before the doubt");
        ownership.confirmed(clock.moment());
        ownership.sure().await;
    }
}
