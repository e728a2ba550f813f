//! Counts over a sliding span of time, in a fixed number of slots.

use std::collections::VecDeque;
use std::time::Duration;

use skep_protocol::Timestamp;

/// Slots that a span is divided into: what is counted leaves with its slot.
const SLOTS: u64 = 10;

/// `N` counts of what happened lately. It needs the same room however much that is, as the metrics
/// of Hystrix and the time-based sliding window of resilience4j do.
#[derive(Debug, Clone)]
pub(super) struct Window<const N: usize> {
    span: Duration,
    slots: VecDeque<(u64, [u32; N])>,
}

impl<const N: usize> Window<N> {
    pub(super) const fn new(span: Duration) -> Self {
        Self { span, slots: VecDeque::new() }
    }

    /// Changes how far back counts reach; what was counted so far is forgotten if it differs.
    pub(super) fn set_span(&mut self, span: Duration) {
        if self.span != span {
            *self = Self::new(span);
        }
    }

    /// Adds to the counts of this moment.
    pub(super) fn add(&mut self, counts: [u32; N], now: Timestamp) {
        let slot = self.slot(now);
        while self.slots.front().is_some_and(|(at, _)| at + SLOTS <= slot) {
            self.slots.pop_front();
        }
        match self.slots.back_mut() {
            // A clock that was set back adds to what is latest.
            Some((at, sums)) if *at >= slot => add(sums, counts),
            Some(_) | None => self.slots.push_back((slot, counts)),
        }
    }

    /// Takes back what was counted at a moment, unless that was forgotten since.
    pub(super) fn take_back(&mut self, counts: [u32; N], at: Timestamp) {
        let slot = self.slot(at);
        let Ok(index) = self.slots.binary_search_by_key(&slot, |(at, _)| *at) else { return };
        for (sum, count) in self.slots[index].1.iter_mut().zip(counts) {
            *sum = sum.saturating_sub(count);
        }
    }

    /// Returns what was counted within the span that ends at this moment.
    pub(super) fn counts(&self, now: Timestamp) -> [u32; N] {
        let slot = self.slot(now);
        let mut sums = [0; N];
        for (_, counts) in self.slots.iter().filter(|(at, _)| at + SLOTS > slot) {
            add(&mut sums, *counts);
        }
        sums
    }

    /// Returns when the oldest of what is counted leaves.
    pub(super) fn next_loss(&self, now: Timestamp) -> Option<Timestamp> {
        let slot = self.slot(now);
        let (oldest, _) = self.slots.iter().find(|(at, _)| at + SLOTS > slot)?;
        Some(Timestamp::from_millis((oldest + SLOTS).saturating_mul(self.slot_ms())))
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }

    fn slot(&self, now: Timestamp) -> u64 {
        now.as_millis() / self.slot_ms()
    }

    fn slot_ms(&self) -> u64 {
        let ms = u64::try_from(self.span.as_millis()).unwrap_or(u64::MAX);
        (ms / SLOTS).max(1)
    }
}

fn add<const N: usize>(sums: &mut [u32; N], counts: [u32; N]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum = sum.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: u64 = 1_000;

    proptest! {
        /// What is younger than nine tenths of the span counts, what is older than it does not.
        #[test]
        fn counts_are_those_of_the_span(
            gaps in prop::collection::vec((0..400_u64, 1..5_u32), 0..40),
            wait in 0..1_500_u64,
        ) {
            let mut window = Window::<1>::new(Duration::from_millis(SPAN));
            let mut now = 50_000;
            let mut all = Vec::new();
            for (gap, count) in gaps {
                now += gap;
                window.add([count], Timestamp::from_millis(now));
                all.push((now, count));
            }
            now += wait;
            let within = |span: u64| -> u32 {
                all.iter().filter(|(at, _)| now - at < span).map(|(_, count)| count).sum()
            };
            let [counted] = window.counts(Timestamp::from_millis(now));
            prop_assert!(counted >= within(SPAN - SPAN / SLOTS));
            prop_assert!(counted <= within(SPAN));
            prop_assert!(window.slots.len() <= 11);
        }

        #[test]
        fn something_leaves_when_it_is_said_to(gap in 0..3_000_u64) {
            let mut window = Window::<1>::new(Duration::from_millis(SPAN));
            let at = Timestamp::from_millis(50_000 + gap);
            window.add([1], at);
            let loss = window.next_loss(at).unwrap();
            let before = Timestamp::from_millis(loss.as_millis() - 1);
            prop_assert_eq!(window.counts(before), [1]);
            prop_assert_eq!(window.counts(loss), [0]);
        }
    }
}
