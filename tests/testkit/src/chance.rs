//! Numbers that follow from a seed.

use std::time::Duration;

/// A stream of numbers; two with the same seed are the same.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Creates the stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// Returns a position in something of this length; 0 if it is empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or_default()
    }

    /// Returns true once in so many times.
    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    /// Returns a duration from `shortest` to `longest`, short ones more often.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = longest.saturating_sub(shortest);
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let bound = self.below(span.saturating_add(1));
        shortest + Duration::from_millis(self.below(bound.saturating_add(1)))
    }

    /// Returns one of several.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.index(among.len())]
    }

    /// Returns a stream of its own, which follows from this one.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (mut a, mut b) = (Chance::new(7), Chance::new(7));
        for _ in 0..100 {
            assert_eq!(a.number(), b.number());
        }
        assert_ne!(Chance::new(8).number(), Chance::new(9).number());
        assert_eq!(a.below(0), 0);
        let (short, long) = (Duration::from_millis(3), Duration::from_millis(5));
        assert!((0..100).map(|_| a.between(short, long)).all(|d| (short..=long).contains(&d)));
    }
}
