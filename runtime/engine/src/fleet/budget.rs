//! The retry budget of one capability: repeated attempts are a share of the others.

use std::time::Duration;

use skep_protocol::Timestamp;
use skep_protocol::limits::{RETRY_RESERVE, RETRY_SHARE_PER_MILLE, RETRY_WINDOW};

use super::window::Window;

/// Keeps attempts that repeat failed ones from making an overload worse.
///
/// As in the retry budgets of Finagle (`RetryBudget`: a share of recent requests and a reserve for
/// those who make few) and the retry throttling of gRPC (A6: what succeeds pays back). First
/// attempts are never held; one that repeats has to wait until there is room. What is held is not
/// given up: it waits with the rest of the work, so an attempt that completes gives its token
/// back, or a swarm that has recovered would work its backlog off at the pace of the reserve.
///
/// **Invariant:** within [`RETRY_WINDOW`], repeated attempts that did not complete are no more than
/// the share of the first ones, and the reserve.
#[derive(Debug)]
pub(super) struct Budget {
    window: Window<2>,
}

/// What a budget has and what of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Balance {
    /// Repeated attempts that may be made within the window.
    pub(super) allowed: u32,
    /// Those that were made and did not complete.
    pub(super) used: u32,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self { window: Window::new(RETRY_WINDOW) }
    }

    /// An attempt goes out that repeats nothing.
    pub(super) fn first(&mut self, now: Timestamp) {
        self.window.add([1, 0], now);
    }

    /// An attempt goes out that repeats a failed one.
    pub(super) fn repeated(&mut self, now: Timestamp) {
        self.window.add([0, 1], now);
    }

    /// An attempt that repeated a failed one, and went out at `sent`, completed. If that is out of
    /// the window, time has paid it back.
    pub(super) fn completed(&mut self, sent: Timestamp) {
        self.window.take_back([0, 1], sent);
    }

    /// Returns whether one more attempt may repeat a failed one.
    pub(super) fn has_room(&self, now: Timestamp) -> bool {
        let Balance { allowed, used } = self.balance(now);
        used < allowed
    }

    pub(super) fn balance(&self, now: Timestamp) -> Balance {
        let [first, used] = self.window.counts(now);
        let share = u64::from(first) * u64::from(RETRY_SHARE_PER_MILLE) / 1_000;
        let allowed = u32::try_from(share).unwrap_or(u32::MAX).saturating_add(RETRY_RESERVE);
        Balance { allowed, used }
    }

    /// Returns when there may be more room.
    pub(super) fn next_room(&self, now: Timestamp) -> Timestamp {
        let soon = now.after(Duration::from_secs(1));
        self.window.next_loss(now).unwrap_or(soon).max(now.after(Duration::from_millis(1)))
    }

    /// Returns whether it remembers nothing.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.window.counts(now) == [0; 2]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_quiet_capability_has_its_reserve() {
        let mut budget = Budget::new();
        for _ in 0..RETRY_RESERVE {
            assert!(budget.has_room(at(1_000)));
            budget.repeated(at(1_000));
        }
        assert!(!budget.has_room(at(1_000)));
        let room = budget.next_room(at(1_000));
        assert!(budget.has_room(room), "what was used leaves the window");
    }

    #[test]
    fn what_completes_pays_back() {
        let mut budget = Budget::new();
        for _ in 0..1_000 {
            assert!(budget.has_room(at(1_000)));
            budget.repeated(at(1_000));
            budget.completed(at(1_000));
        }
    }

    proptest! {
        /// However attempts come and whenever they complete, in no window are there more repeated
        /// ones that did not than the share of the first ones of twice that time, and the reserve.
        #[test]
        fn a_storm_stays_within_the_budget(
            gaps in prop::collection::vec((0..300_u64, any::<bool>(), 1..30_000_u64), 1..400),
        ) {
            let (mut budget, mut now) = (Budget::new(), 100_000);
            let (mut first, mut repeated) = (Vec::new(), Vec::<(u64, u64)>::new());
            for (gap, is_first, takes) in gaps {
                now += gap;
                repeated.retain(|(sent, done)| {
                    if *done <= now {
                        budget.completed(at(*sent));
                    }
                    *done > now
                });
                if is_first {
                    budget.first(at(now));
                    first.push(now);
                }
                while budget.has_room(at(now)) {
                    budget.repeated(at(now));
                    repeated.push((now, now + takes));
                }
                let span = u64::try_from(RETRY_WINDOW.as_millis()).unwrap();
                let within = |sent: u64, span| now - sent < span;
                let first = first.iter().filter(|sent| within(**sent, 2 * span)).count();
                let most = first * usize::from(RETRY_SHARE_PER_MILLE) / 1_000
                    + RETRY_RESERVE as usize;
                let under_way =
                    repeated.iter().filter(|(sent, _)| within(*sent, span - span / 10)).count();
                prop_assert!(under_way <= most, "{under_way} of {most}");
            }
        }
    }
}
