//! The clock, and the only place where ids are made up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use skep_broker::host;
use skep_protocol::{CoordinatorId, Timestamp};
use tokio::time::Instant;

/// Wall-clock time that never goes backwards: read once, then carried on by the monotonic clock, so
/// that a jump of the wall clock changes nothing.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    base: Timestamp,
    /// How far the time of a journal is ahead of that, in milliseconds.
    ahead: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), base: host::now(), ahead: AtomicU64::new(0) }
    }

    /// Returns a clock that shows the same time until a journal moves it on: one for each journal,
    /// so that a host whose clock was wrong wrote nobody else's time.
    pub(crate) fn of_journal(&self) -> Self {
        Self { started: self.started, base: self.base, ahead: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.wall().after(self.ahead())
    }

    /// Returns how long this clock has been running; nothing but time moves it.
    pub(crate) fn moment(&self) -> Duration {
        self.started.elapsed()
    }

    /// Moves the clock on if the journal has seen a later moment than this clock shows.
    pub(crate) fn not_before(&self, seen: Timestamp) {
        let ahead = seen.since(self.wall()).as_millis();
        self.ahead.fetch_max(u64::try_from(ahead).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns how long it is until `at`.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        at.since(self.now())
    }

    /// Returns when it is `at` by this clock, as everybody else calls that moment.
    pub(crate) fn for_others(&self, at: Timestamp) -> Timestamp {
        Timestamp::EPOCH.after(at.since(Timestamp::EPOCH.after(self.ahead())))
    }

    fn wall(&self) -> Timestamp {
        self.base.after(self.started.elapsed())
    }

    fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead.load(Ordering::Relaxed))
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
        let hour = Duration::from_secs(3_600);
        let other = clock.of_journal();
        assert!(other.now() < ahead);
        assert!(clock.for_others(clock.now()) <= other.now());
        assert!(clock.for_others(clock.now().after(hour)) > other.now());
        assert_eq!(clock.for_others(Timestamp::EPOCH), Timestamp::EPOCH);
    }
}
