//! The machine of a simulation: its wall clock and its chance.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use skep_broker::host::Host;
use skep_protocol::Timestamp;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::network::lock;

/// What the wall clock shows when a simulation begins.
const BEGIN_MS: u64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

/// The machine: time passes as the runtime's clock does, and jumps.
#[derive(Debug)]
pub(crate) struct Clockwork {
    began: Instant,
    skew_ms: AtomicI64,
    chance: Mutex<Chance>,
}

impl Clockwork {
    pub(crate) fn new(chance: Chance) -> Self {
        Self { began: Instant::now(), skew_ms: AtomicI64::new(0), chance: Mutex::new(chance) }
    }

    /// Lets the clock jump by an hour.
    pub(crate) fn jump(&self, forward: bool) {
        let by = if forward { HOUR_MS } else { -HOUR_MS };
        self.skew_ms.fetch_add(by, Ordering::Relaxed);
    }
}

impl Host for Clockwork {
    fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let skew = self.skew_ms.load(Ordering::Relaxed);
        Timestamp::from_millis((BEGIN_MS + passed).saturating_add_signed(skew))
    }

    fn random(&self) -> u64 {
        lock(&self.chance).number()
    }
}
