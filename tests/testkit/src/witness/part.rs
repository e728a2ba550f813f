//! Whose attempts they are: those of a step itself, or those of its fallback.

use std::collections::BTreeMap;

use skep_protocol::{AttemptId, Event, RunId, StepPath};

/// Some of the attempts of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Those of the step itself, or of what makes it good.
    Own(StepPath),
    /// Those that followed when they were used up.
    Fallback(StepPath),
}

impl Part {
    /// Returns the step.
    pub(crate) fn step(&self) -> &StepPath {
        match self {
            Self::Own(step) | Self::Fallback(step) => step,
        }
    }
}

/// From which attempt on fallbacks have taken over.
#[derive(Debug, Default)]
pub(super) struct Fallbacks(BTreeMap<(RunId, StepPath), u32>);

impl Fallbacks {
    /// Takes in an event: what starts again is performed by itself again.
    pub(super) fn follow(&mut self, run: RunId, event: &Event) {
        if let Event::AttemptScheduled(scheduled) = event
            && scheduled.fallback
        {
            self.0.insert((run, scheduled.step.clone()), scheduled.attempt);
        }
        if let Event::StepRestarted { step, .. } | Event::GroupRestarted { step, .. } = event {
            let inside = |other: &StepPath| {
                let rest = other.as_str().strip_prefix(step.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '[']))
            };
            self.0.retain(|(other, path), _| *other != run || !inside(path));
        }
    }

    /// Returns what an attempt belongs to.
    pub(super) fn part(&self, id: &AttemptId) -> Part {
        let first = self.0.get(&(id.run, id.step.clone()));
        let is_fallback = first.is_some_and(|first| id.attempt >= *first);
        let step = id.step.clone();
        if is_fallback { Part::Fallback(step) } else { Part::Own(step) }
    }
}
