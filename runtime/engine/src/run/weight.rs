//! How much memory a run takes, about: what decides whether there is room for more of them.

use skep_protocol::{Event, Failure, Payload};

use super::Run;
use super::deed::{Before, Deed};
use super::standing::Index;
use super::started::Started;
use super::step::{Seldom, StepState};
use crate::size;

/// What a run takes beside what it was given and what its steps take, wherever it is kept track of.
const RUN: usize = 640;
/// What a step takes to which something happened, beside what it was given and what came out.
const STEP: usize = 896;
/// A run that became heavier by less than this since it was weighed is not weighed again, in bytes.
const SLACK: usize = 16 * 1_024;
/// What an event may add, beside what it carries.
const EVENT: usize = 128;

impl Run {
    /// Adds what an event may add, and weighs the whole run again once that is as much as it had:
    /// what took the place of something, or was dropped, then counts no more. That is often enough
    /// to be cheap, and seldom enough, too.
    pub(super) fn becomes_heavier(&mut self, event: &Event, index: &mut Index) {
        let before = self.soft.weight;
        if before > 2 * self.soft.weighed + SLACK {
            self.weigh();
        }
        self.soft.weight += EVENT + size::carried(event);
        index.weight = index.weight - before + self.soft.weight;
    }

    /// Weighs all that the run has, and returns what it takes.
    pub(crate) fn weigh(&mut self) -> usize {
        self.soft.weighed = self.whole_weight();
        self.soft.weight = self.soft.weighed;
        self.soft.weight
    }

    /// Returns what the run takes, from all it has.
    fn whole_weight(&self) -> usize {
        let steps: usize = self.state.nodes.changed().map(of_step).sum();
        let items: usize = self.state.items.values().map(payload).sum();
        let signals = &self.state.signals;
        let early: usize = signals.early.iter().map(|early| EVENT + payload(&early.payload)).sum();
        let untouched = self.state.nodes.len() * size_of::<usize>();
        let more = steps + items + early + signals.seen.len() * size_of::<[u64; 3]>() + untouched;
        RUN + of_start(&self.state.started) + more
    }
}

fn of_start(started: &Started) -> usize {
    let labels: usize = started.labels().iter().map(|(name, value)| name.len() + value.len()).sum();
    let retry = started.retry().as_ref().and_then(|retry| retry.kept.as_ref());
    payload(&started.inputs) + labels + retry.map_or(0, payload)
}

fn of_step(step: &StepState) -> usize {
    let Seldom { checkpoint, failure, deed, before, inner, .. } = &**step;
    let payloads = [&step.input, checkpoint, &step.output].into_iter().flatten().map(payload);
    let deed = deed.as_deref().map(|Deed { output, item, .. }| [output, item]);
    let before = before.as_deref().map(|Before { output, .. }| output);
    let kept = deed.into_iter().flatten().chain(before).flatten().map(payload);
    let items = inner.as_ref().map_or(0, |inner| inner.items.len() * size_of::<u32>());
    STEP + payloads.chain(kept).sum::<usize>() + failure.as_deref().map_or(0, of_failure) + items
}

fn of_failure(failure: &Failure) -> usize {
    failure.message.len() + failure.details.as_ref().map_or(0, payload)
}

fn payload(payload: &Payload) -> usize {
    payload.text().map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use super::super::Run;
    use super::super::step::{Phase, StepState};

    /// There are as many of them as there are live runs, and steps of these that began: a hundred
    /// thousand in one process. With the 16 bytes of its counters, a step has to stay below 192,
    /// a run below 320: those are sizes that allocators hand out. Exactly 192 is too much; mimalloc
    /// then takes the next larger ones, and longer.
    #[test]
    fn runs_and_steps_stay_small() {
        let sizes = (size_of::<Run>(), size_of::<StepState>(), size_of::<Phase>());
        assert!(sizes.0 <= 288 && sizes.1 <= 168 && sizes.2 <= 32, "{sizes:?} bytes");
    }
}
