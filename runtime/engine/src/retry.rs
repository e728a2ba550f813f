//! Whether and when a step is tried again.

use std::time::Duration;

use skep_protocol::limits::MAX_LOSSES_PER_STEP;
use skep_protocol::{Failure, FailureKind, Hash, Timestamp};
use skep_workflow::RetryPolicy;

use crate::run::{NodeId, Run};

/// The longest delay after a loss.
const LONGEST_AFTER_LOSS: Duration = Duration::from_secs(30);

/// Returns when the next attempt under `policy` may start, if there is to be one.
///
/// `tries` counts those made, `first` is when the first one began.
pub(crate) fn after_failure(
    policy: &RetryPolicy,
    failure: &Failure,
    (tries, first): (u32, Timestamp),
    (now, entropy): (Timestamp, u64),
) -> Option<Timestamp> {
    let final_code = policy.unless.contains(&failure.code);
    if !failure.retryable || final_code || tries >= policy.attempts {
        return None;
    }
    let delay = policy.delay(tries, entropy).max(failure.retry_after().unwrap_or_default());
    let at = now.after(delay);
    is_within(policy, first, at).then_some(at)
}

/// Returns whether an attempt that starts at `at` starts in the time that there is for attempts.
fn is_within(policy: &RetryPolicy, first: Timestamp, at: Timestamp) -> bool {
    policy.within.is_none_or(|within| at <= first.after(within))
}

/// Returns when an attempt that makes up for a lost one may start, or why there is none.
///
/// The first follows at once; the others later and later, or an agent that kills its host with
/// every attempt would do so without a pause. As long as nobody was seen to begin (`first`), there
/// is time.
pub(crate) fn after_loss(
    policy: &RetryPolicy,
    (losses, first): (u32, Option<Timestamp>),
    (now, entropy): (Timestamp, u64),
) -> Result<Timestamp, Failure> {
    if losses > MAX_LOSSES_PER_STEP {
        return Err(lost(losses));
    }
    let at = if losses <= 1 { now } else { now.after(pause(losses, entropy)) };
    match first.zip(policy.within) {
        Some((first, within)) if !is_within(policy, first, at) => Err(lost_too_late(within)),
        Some(_) | None => Ok(at),
    }
}

/// Returns how long the next attempt waits after so many losses.
fn pause(losses: u32, entropy: u64) -> Duration {
    let longest = Duration::from_millis(250).saturating_mul(1 << (losses - 2).min(10));
    let longest = longest.min(LONGEST_AFTER_LOSS);
    let half = longest / 2;
    let share = (u128::from(entropy) * half.as_millis()) >> 64;
    half + Duration::from_millis(u64::try_from(share).unwrap_or_default())
}

/// Returns the failure of a step of which too many attempts were lost.
pub(crate) fn lost(losses: u32) -> Failure {
    let message = format!("{losses} attempts were lost with their agents or given back");
    Failure::new(FailureKind::Lost, "lost", message).fatal()
}

/// Returns the failure of a step whose attempt was lost when it was too late for another one.
fn lost_too_late(within: Duration) -> Failure {
    let message = format!(
        "the attempt was lost with its agent or given back, and no other one may start more than \
         {within:?} after the first one, as `retry` wants"
    );
    Failure::new(FailureKind::Lost, "lost", message).fatal()
}

impl Run {
    /// Returns a number that is spread evenly over steps and attempts, and always the same for
    /// the same ones: chance without randomness.
    pub(crate) fn entropy(&self, id: NodeId, attempt: u32) -> u64 {
        let text = format!("{}/{}/{attempt}", self.id(), self.path(id));
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&Hash::of(text.as_bytes()).as_bytes()[..8]);
        u64::from_le_bytes(bytes)
    }
}
