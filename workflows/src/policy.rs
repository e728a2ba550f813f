//! What a step does when things go wrong, as checked values.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a run does when a step fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Schedules nothing more and ends failed.
    #[default]
    Stop,
    /// Lets independent branches finish first.
    Continue,
    /// Unwinds what was completed.
    Compensate,
}

/// What the failure of one step means for its scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepOnFailure {
    /// The scope fails too.
    #[default]
    Fail,
    /// The scope goes on; what needs the step is skipped.
    Continue,
}

/// What happens when a signal did not come in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// The step fails.
    #[default]
    Fail,
    /// The step is skipped.
    Skip,
    /// The step completes with `null` as its output.
    Continue,
}

/// What happens to work while the circuit breaker is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenOpen {
    /// The work is parked.
    #[default]
    Wait,
    /// The step fails at once.
    Fail,
}

/// How many of a step's needs must have succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// Not written: all, and a skipped or failed one skips the step.
    #[default]
    Unwritten,
    /// `join: all`: all, and a skipped one counts as met.
    All,
    /// `join: any`: one.
    Any,
    /// `join: N`: that many.
    AtLeast(u32),
}

/// A share in thousandths: `12.5%` is 125.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub(crate) u16);

impl Share {
    /// One half.
    pub const HALF: Self = Self(500);
    /// Everything.
    pub const ALL: Self = Self(1_000);

    /// Returns the share in thousandths, at most 1000.
    pub fn per_mille(self) -> u16 {
        self.0
    }
}

/// How many failed items still let a `for_each` step succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerate {
    /// A number of items.
    Count(u32),
    /// A share of all items.
    Share(Share),
}

impl Default for Tolerate {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl Tolerate {
    /// Tells whether `failed` of `total` items may fail.
    pub fn allows(self, failed: u64, total: u64) -> bool {
        match self {
            Self::Count(count) => failed <= u64::from(count),
            Self::Share(share) => {
                u128::from(failed) * 1000 <= u128::from(total) * u128::from(share.per_mille())
            }
        }
    }
}

/// How the delay grows from attempt to attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backoff {
    /// Doubles.
    #[default]
    Exponential,
    /// Grows by `initial`.
    Linear,
    /// Stays at `initial`.
    Constant,
}

/// How much of the delay is left to chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Anything from nothing to the whole delay.
    #[default]
    Full,
    /// Nothing.
    None,
}

/// When a step is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// All tries, the first included; at least 1.
    pub attempts: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// The delay before the second attempt.
    pub initial: Duration,
    /// No delay is longer.
    pub max: Duration,
    /// How much of the delay is left to chance.
    pub jitter: Jitter,
    /// No attempt starts later than this after the first.
    pub within: Option<Duration>,
    /// Failure codes that are final.
    pub unless: Vec<String>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff: Backoff::Exponential,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            jitter: Jitter::Full,
            within: None,
            unless: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// Returns how long to wait after the failure of `attempt` (1 is the first).
    ///
    /// The same `entropy` gives the same delay, so that the caller can record it.
    pub fn delay(&self, attempt: u32, entropy: u64) -> Duration {
        let cap = self.cap(attempt);
        match self.jitter {
            Jitter::None => cap,
            Jitter::Full => {
                let nanos = u64::try_from(cap.as_nanos()).unwrap_or(u64::MAX);
                let share = (u128::from(entropy) * (u128::from(nanos) + 1)) >> 64;
                Duration::from_nanos(u64::try_from(share).unwrap_or(nanos))
            }
        }
    }

    /// Returns the longest delay after the failure of `attempt`, chance left aside.
    pub fn cap(&self, attempt: u32) -> Duration {
        let failed = attempt.max(1);
        let grown = match self.backoff {
            Backoff::Constant => self.initial,
            Backoff::Linear => self.initial.saturating_mul(failed),
            Backoff::Exponential => {
                let factor = 1u32.checked_shl(failed - 1).unwrap_or(u32::MAX);
                self.initial.saturating_mul(factor.max(1))
            }
        };
        grown.min(self.max)
    }
}

/// Which agents may take a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// An agent must have all of these.
    pub require: BTreeMap<String, String>,
    /// An agent with more of these is preferred.
    pub prefer: BTreeMap<String, String>,
}

/// When work for a failing capability is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Opens at this share of failures.
    pub failure_rate: Share,
    /// Opens at this share of slow calls.
    pub slow_rate: Share,
    /// A call that takes longer is slow.
    pub slow: Duration,
    /// How far back calls count.
    pub window: Duration,
    /// Fewer calls than this decide nothing.
    pub min_calls: u32,
    /// How long it stays open before it probes.
    pub cooldown: Duration,
    /// How many probes may be under way.
    pub probes: u32,
}

/// Which siblings a supervisor restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The failed step.
    OneForOne,
    /// All steps of the group.
    OneForAll,
    /// The failed step and those that come after it.
    RestForOne,
}

/// How a group restarts its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// Which siblings are restarted.
    pub strategy: Strategy,
    /// More restarts than this within the period escalate.
    pub max_restarts: u32,
    /// The period.
    pub within: Duration,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::{Backoff, Duration, Jitter, RetryPolicy, Share, Tolerate};

    fn policy() -> impl Strategy<Value = RetryPolicy> {
        let backoff =
            prop_oneof![Just(Backoff::Exponential), Just(Backoff::Linear), Just(Backoff::Constant)];
        let jitter = prop_oneof![Just(Jitter::Full), Just(Jitter::None)];
        let millis = || (0u64..10_000_000_000).prop_map(Duration::from_millis);
        (backoff, jitter, millis(), millis()).prop_map(|(backoff, jitter, initial, max)| {
            RetryPolicy { backoff, jitter, initial, max, ..RetryPolicy::default() }
        })
    }

    proptest! {
        #[test]
        fn delays_never_pass_the_cap(policy in policy(), attempt: u32, entropy: u64) {
            let delay = policy.delay(attempt, entropy);
            prop_assert!(delay <= policy.cap(attempt));
            prop_assert!(policy.cap(attempt) <= policy.max);
            prop_assert_eq!(delay, policy.delay(attempt, entropy));
        }

        #[test]
        fn caps_never_shrink(policy in policy(), attempt in 1u32..100_000) {
            prop_assert!(policy.cap(attempt) <= policy.cap(attempt + 1));
        }

        #[test]
        fn full_jitter_uses_the_whole_range(policy in policy(), attempt in 1u32..40) {
            let policy = RetryPolicy { jitter: Jitter::Full, ..policy };
            prop_assert_eq!(policy.delay(attempt, 0), Duration::ZERO);
            prop_assert_eq!(policy.delay(attempt, u64::MAX), policy.cap(attempt));
        }

        #[test]
        fn a_share_tolerates_no_more_than_it_says(
            per_mille in 0u16..=1000,
            total in 0u64..1_000_000,
        ) {
            let tolerate = Tolerate::Share(Share(per_mille));
            let most = total * u64::from(per_mille) / 1000;
            prop_assert!(tolerate.allows(most, total));
            prop_assert!(!tolerate.allows(most + 1, total));
        }
    }

    #[test]
    fn exponential_delays_double() {
        let policy = RetryPolicy { jitter: Jitter::None, ..RetryPolicy::default() };
        let delays: Vec<u64> = (1..=8).map(|attempt| policy.delay(attempt, 9).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
