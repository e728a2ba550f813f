//! Delays between tries.

use std::time::Duration;

use skep_broker::host;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Exponential delays with jitter, so that a thousand agents do not come back at the same moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// Returns how long to wait before the next try: between half and the whole of 50 ms, 100 ms,
    /// 200 ms, … 5 s.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        whole / 2 + whole.mul_f64(random_share() / 2.0)
    }
}

/// Returns a number from 0 to 1.
fn random_share() -> f64 {
    let bits = host::random();
    f64::from(u32::try_from(bits >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound() {
        let mut backoff = Backoff::default();
        for expected_ms in [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let delay = backoff.next_delay();
            let whole = Duration::from_millis(expected_ms);
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} for {whole:?}");
        }
    }
}
