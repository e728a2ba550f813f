//! How far a run is with making good what it did.

use std::collections::BTreeSet;

use skep_protocol::{Event, RunStatus, StepPath};

/// The compensations that began and are not over.
#[derive(Debug, Default)]
pub(super) struct Unwinding {
    begun: bool,
    under_way: BTreeSet<StepPath>,
    /// Those that failed for good.
    stuck: BTreeSet<StepPath>,
    /// Those that somebody took as done.
    skipped: BTreeSet<StepPath>,
}

impl Unwinding {
    /// Takes in an event of the run.
    pub(super) fn follow(&mut self, event: &Event) {
        if let Event::UnwindStarted { .. } = event {
            self.begun = true;
        } else if let Event::RunResumed { .. } = event {
            self.stuck.clear();
        } else if let Event::RunStuck { step, .. } = event {
            self.under_way.remove(step);
            self.stuck.insert(step.clone());
        } else if let Event::CompensationSkipped { step, .. } = event {
            self.stuck.remove(step);
            self.skipped.insert(step.clone());
        } else if let Event::AttemptScheduled(event) = event {
            self.under_way.extend(event.step.compensated().map(|_| event.step.clone()));
        } else if let Event::AttemptCompleted(event) = event {
            self.under_way.remove(&event.step);
        }
    }

    /// Returns how the run is, if it is not paused.
    pub(super) fn status(&self) -> RunStatus {
        match (self.begun, self.stuck.is_empty()) {
            (false, _) => RunStatus::Running,
            (true, true) => RunStatus::Unwinding,
            (true, false) => RunStatus::Stuck,
        }
    }

    /// Tells whether there was anything to make good.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Returns how many steps were made good by other means, as somebody said.
    pub(super) fn by_other_means(&self) -> usize {
        self.skipped.len()
    }

    /// Tells whether the run goes on without a person.
    pub(super) fn goes_on(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Returns the steps that could not be made good.
    pub(super) fn stuck(&self) -> impl Iterator<Item = StepPath> {
        self.stuck.iter().filter_map(StepPath::compensated)
    }
}
