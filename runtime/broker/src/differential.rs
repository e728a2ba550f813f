//! The same random operations on two brokers: what they answer must be the same.
//!
//! [`compare`] draws operations from a seed, performs each on both brokers and compares what is
//! observed, down to the bytes. It is meant for the memory machine and a real server: when they
//! differ, the machine is what gets corrected. What the contract leaves open is not compared: the
//! numbers of revisions, the order in which returned tasks come again.
//!
//! Both brokers must be empty, used by nobody else, and made with an `ack_wait` that is longer
//! than the comparison lasts.

mod operation;
mod side;

use std::fmt;

use self::operation::{Model, Operation};
use self::side::Side;
use crate::Broker;

/// A small generator of numbers that look random (SplitMix64): the same for the same seed, on every
/// machine and in every release.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Creates a generator.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`; zero if that is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// Returns one of some values.
    ///
    /// # Panics
    /// There are none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = self.below(from.len() as u64);
        &from[usize::try_from(index).expect("an index below a length")]
    }
}

/// Two brokers answered differently.
#[derive(Debug)]
pub struct Divergence {
    /// From which seed.
    pub seed: u64,
    /// The operations up to the one that was answered differently, with the left one's answers.
    pub history: Vec<String>,
    /// The operation that was answered differently.
    pub operation: String,
    /// What the left broker answered.
    pub left: String,
    /// What the right one did.
    pub right: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the brokers differ: seed={}, operation {}", self.seed, self.history.len())?;
        let shown = self.history.len().saturating_sub(30);
        for line in &self.history[shown..] {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "> {}", self.operation)?;
        write!(f, "   left: {}\n  right: {}", self.left, self.right)
    }
}

impl std::error::Error for Divergence {}

/// Performs `count` operations drawn from `seed` on both brokers, and returns the operations with
/// their answers: the same for the same seed, if `left` is deterministic.
///
/// # Errors
/// [`Divergence`] if an answer is not the same.
pub async fn compare(
    seed: u64,
    count: usize,
    left: impl Broker,
    right: impl Broker,
) -> Result<Vec<String>, Box<Divergence>> {
    let (mut left, mut right) = (Side::new(left), Side::new(right));
    let (mut rng, mut model) = (Rng::new(seed), Model::default());
    let mut history = Vec::with_capacity(count);
    for _ in 0..count {
        let operation = Operation::draw(&mut rng, &model);
        let mut before = model.clone();
        let expected = left.perform(&operation, &mut model).await;
        let found = right.perform(&operation, &mut before).await;
        if expected != found {
            let operation = format!("{operation:?}");
            let (left, right) = (expected, found);
            return Err(Box::new(Divergence { seed, history, operation, left, right }));
        }
        history.push(format!("{operation:?} → {expected}"));
    }
    Ok(history)
}
