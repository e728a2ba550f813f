//! Chance that follows from a seed: splitmix64.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A row of numbers that looks random and is the same for the same seed.
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Returns whether something happens that happens once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Returns one of them, if there are any.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let at = self.below(of.len().max(1) as u64);
        of.get(usize::try_from(at).ok()?).copied()
    }

    /// Returns a span within a range, in milliseconds.
    pub(super) fn between(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let ms = |span: &Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 2);
        let (least, most) = (ms(range.start()), ms(range.end()));
        Duration::from_millis(least + self.below(most.saturating_sub(least) + 1))
    }
}
