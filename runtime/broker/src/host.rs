//! What a process has of the machine it runs on: the wall clock, chance, threads.
//!
//! A simulator takes its place for one thread by [`simulate`]: everything that runs there gets the
//! time and the numbers that follow from a seed, and starts no threads.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use skep_protocol::Timestamp;

/// A machine that is not there.
pub trait Host: Send + Sync {
    /// Returns what its wall clock shows.
    fn now(&self) -> Timestamp;

    /// Returns a number that nobody can guess.
    fn random(&self) -> u64;
}

thread_local! {
    static SIMULATED: RefCell<Option<Arc<dyn Host>>> = const { RefCell::new(None) };
}

/// Puts `host` in the place of the machine, on this thread, until the guard is dropped.
pub fn simulate(host: Arc<dyn Host>) -> Simulated {
    Simulated { before: SIMULATED.replace(Some(host)) }
}

/// Gives the thread its machine back when dropped.
#[must_use]
pub struct Simulated {
    before: Option<Arc<dyn Host>>,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        SIMULATED.set(self.before.take());
    }
}

/// Returns the time by the wall clock.
#[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
pub fn now() -> Timestamp {
    simulated(|host| host.now()).unwrap_or_else(|| {
        Timestamp::EPOCH.after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    })
}

/// Returns a random number, good enough for jitter: the keys of a [`RandomState`] are.
pub fn random() -> u64 {
    simulated(|host| host.random()).unwrap_or_else(|| RandomState::new().build_hasher().finish())
}

/// Does something that takes a while apart from the threads that serve; where there are no threads,
/// at once. None if it panicked.
///
/// # Cancel safety
/// What was begun goes on, and its outcome is lost.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if simulated(|_| ()).is_some() {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}

fn simulated<T>(ask: impl FnOnce(&dyn Host) -> T) -> Option<T> {
    SIMULATED.with_borrow(|host| host.as_deref().map(ask))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl Host for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(7)
        }

        fn random(&self) -> u64 {
            4
        }
    }

    #[test]
    fn a_simulated_machine_is_there_until_its_guard_is_dropped() {
        let guard = simulate(Arc::new(Still));
        assert_eq!((now(), random()), (Timestamp::from_millis(7), 4));
        drop(guard);
        assert!(now() > Timestamp::from_millis(7));
        assert_ne!(random(), random());
    }
}
