//! The clock, and the only place where ids are made up.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_protocol::{CoordinatorId, Timestamp};
use tokio::time::Instant;

/// Wall-clock time that never goes backwards: read once, then carried on by the monotonic clock, so
/// that a jump of the wall clock changes nothing.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    base: Mutex<Timestamp>,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
    pub(crate) fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), base: Mutex::new(Timestamp::EPOCH.after(wall)) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.base.lock().expect("no holder panics").after(self.started.elapsed())
    }

    /// Moves the clock on if a journal has seen a later moment than this clock shows.
    pub(crate) fn not_before(&self, seen: Timestamp) {
        let behind = seen.since(self.now());
        if !behind.is_zero() {
            let mut base = self.base.lock().expect("no holder panics");
            *base = base.after(behind);
        }
    }

    /// Returns how long it is until `at`.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        at.since(self.now())
    }
}

/// Makes up the name of a coordinator.
#[expect(clippy::disallowed_methods, reason = "the shell is where ids come from")]
pub(crate) fn new_coordinator_id() -> CoordinatorId {
    let id = format!("c-{}", uuid::Uuid::now_v7().simple());
    CoordinatorId::new(&id).expect("a prefix and 32 hexadecimal digits are an id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_seen_in_a_journal_is_never_in_the_future() {
        let clock = Clock::new();
        let ahead = clock.now().after(Duration::from_secs(3_600));
        clock.not_before(ahead);
        assert!(clock.now() >= ahead);
        clock.not_before(Timestamp::EPOCH);
        assert!(clock.now() >= ahead);
        assert_eq!(clock.until(Timestamp::EPOCH), Duration::ZERO);
    }
}
