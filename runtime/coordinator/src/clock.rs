//! The clock, and the only place where ids are made up.

use std::sync::atomic::{AtomicI64, Ordering};
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
    /// How far the time of a journal is ahead of that, or behind, in milliseconds.
    ahead: AtomicI64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), base: host::now(), ahead: AtomicI64::new(0) }
    }

    /// Returns a clock that shows the same time until a journal sets it: one for each journal, so
    /// that a host whose clock was wrong wrote nobody else's time.
    pub(crate) fn of_journal(&self) -> Self {
        Self { started: self.started, base: self.base, ahead: AtomicI64::new(0) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        moved(self.wall(), self.ahead())
    }

    /// Returns how long this clock has been running; nothing but time moves it.
    pub(crate) fn moment(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sets the clock to the time of a journal in which it was `seen` so long ago.
    pub(crate) fn carry_on(&self, seen: Timestamp, ago: Duration) {
        self.ahead.store(self.ahead_of_wall(seen.after(ago)), Ordering::Relaxed);
    }

    /// Moves the clock on if the journal has seen a later moment than this clock shows.
    pub(crate) fn not_before(&self, seen: Timestamp) {
        self.ahead.fetch_max(self.ahead_of_wall(seen), Ordering::Relaxed);
    }

    /// Moves the clock on to the wall clock if it is behind.
    pub(crate) fn catch_up(&self) {
        self.ahead.fetch_max(0, Ordering::Relaxed);
    }

    /// Returns how long it is until `at`.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        at.since(self.now())
    }

    /// Returns when it is `at` by this clock, as everybody else calls that moment.
    pub(crate) fn for_others(&self, at: Timestamp) -> Timestamp {
        moved(at, self.ahead().saturating_neg())
    }

    fn wall(&self) -> Timestamp {
        self.base.after(self.started.elapsed())
    }

    fn ahead_of_wall(&self, at: Timestamp) -> i64 {
        let ahead = i128::from(at.as_millis()) - i128::from(self.wall().as_millis());
        i64::try_from(ahead).unwrap_or(i64::MAX)
    }

    fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }
}

fn moved(at: Timestamp, by_ms: i64) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_add_signed(by_ms))
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

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn time_seen_in_a_journal_is_never_in_the_future() {
        let clock = Clock::new();
        let ahead = clock.now().after(HOUR);
        clock.not_before(ahead);
        assert!(clock.now() >= ahead);
        clock.not_before(Timestamp::EPOCH);
        assert!(clock.now() >= ahead);
        assert_eq!(clock.until(Timestamp::EPOCH), Duration::ZERO);
        let other = clock.of_journal();
        assert!(other.now() < ahead);
        assert!(clock.for_others(clock.now()) <= other.now());
        assert!(clock.for_others(clock.now().after(HOUR)) > other.now());
        assert_eq!(clock.for_others(Timestamp::EPOCH), Timestamp::EPOCH);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_journal_is_carried_on() {
        let (wall, clock) = (Clock::new(), Clock::new());
        let hour_ago = Timestamp::from_millis(wall.now().as_millis() - 3_600_000);
        clock.carry_on(hour_ago, HOUR / 2);
        assert_eq!(clock.now().after(HOUR / 2), wall.now());
        assert_eq!(clock.for_others(clock.now()), wall.now());
        tokio::time::advance(HOUR).await;
        assert_eq!(clock.now().after(HOUR / 2), wall.now());
        clock.catch_up();
        assert_eq!(clock.now(), wall.now());
        clock.not_before(wall.now().after(HOUR));
        clock.catch_up();
        assert_eq!(clock.now(), wall.now().after(HOUR));
    }
}
