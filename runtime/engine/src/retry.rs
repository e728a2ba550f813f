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
/// `tries` counts those made, `began` is when the first one started.
pub(crate) fn after_failure(
    policy: &RetryPolicy,
    failure: &Failure,
    (tries, began): (u32, Timestamp),
    (now, entropy): (Timestamp, u64),
) -> Option<Timestamp> {
    let final_code = policy.unless.contains(&failure.code);
    if !failure.retryable || final_code || tries >= policy.attempts {
        return None;
    }
    let delay = policy.delay(tries, entropy).max(failure.retry_after().unwrap_or_default());
    let at = now.after(delay);
    let in_time = policy.within.is_none_or(|within| at <= began.after(within));
    in_time.then_some(at)
}

/// Returns when an attempt that makes up for a lost one may start, or why there is none.
///
/// The first follows at once; the others later and later, or an agent that kills its host with
/// every attempt would do so without a pause.
pub(crate) fn after_loss(losses: u32, now: Timestamp, entropy: u64) -> Result<Timestamp, Failure> {
    if losses > MAX_LOSSES_PER_STEP {
        return Err(lost(losses));
    }
    if losses <= 1 {
        return Ok(now);
    }
    let longest = Duration::from_millis(250).saturating_mul(1 << (losses - 2).min(10));
    let longest = longest.min(LONGEST_AFTER_LOSS);
    let half = longest / 2;
    let share = (u128::from(entropy) * half.as_millis()) >> 64;
    Ok(now.after(half + Duration::from_millis(u64::try_from(share).unwrap_or_default())))
}

/// Returns the failure of a step of which too many attempts were lost.
pub(crate) fn lost(losses: u32) -> Failure {
    let message = format!("{losses} attempts were lost with their agents or given back");
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
