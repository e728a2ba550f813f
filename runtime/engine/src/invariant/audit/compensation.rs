//! I-10: a compensation runs for what completed or may have had an effect, once, and never before
//! those of whatever depends on it.

use skep_protocol::{AttemptFailed, Event, StepPath, StepStatus};
use skep_workflow::StepIndex;

use super::super::{Checked, demand};
use super::{RunSeen, StepSeen, whole};

/// What is known of the effect of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// An attempt was cut off that may have reached an agent.
    Possible,
    /// It completed, or an attempt came to an end of which nobody knows what it did.
    Certain,
}

impl StepSeen {
    /// Takes note of what may have to be made good.
    pub(super) fn note_deed(&mut self, event: &Event) {
        let unknown = |event: &AttemptFailed| !event.leaves_nothing();
        let certain = matches!(
            event,
            Event::AttemptCompleted(_) | Event::StepCompleted { .. } | Event::AttemptLost { .. }
        ) || matches!(event, Event::AttemptFailed(event) if unknown(event));
        let ends = matches!(event, Event::StepCancelled { .. } | Event::StepFailed { .. });
        let cut_off = ends && self.attempt_open && !event.leaves_untouched();
        if certain || (cut_off && self.taken.is_some()) {
            self.deed = Some(Deed::Certain);
        } else if cut_off {
            self.deed = self.deed.max(Some(Deed::Possible));
        }
    }
}

impl RunSeen {
    /// A group that is made good as a unit completed: that makes good what is inside, too.
    pub(super) fn absorb(&mut self, group: &StepPath) {
        if !self.is_unit(group) {
            return;
        }
        let inside: Vec<StepPath> =
            self.steps.keys().filter(|path| is_inside(path, group)).cloned().collect();
        for path in inside {
            let is_pivot = self.definition(&path).is_some_and(skep_workflow::Step::is_pivot);
            if let Some(step) = self.steps.get_mut(&path).filter(|_| !is_pivot) {
                step.deed = None;
            }
        }
    }

    /// Looks at an event about the compensation of a step.
    pub(super) fn compensation(&mut self, of: &StepPath, event: &Event) -> Checked {
        if matches!(event, Event::AttemptScheduled(_)) {
            self.may_compensate(of)?;
        }
        let step = self.steps.entry(of.compensation()).or_default();
        if matches!(event, Event::AttemptCompleted(_) | Event::CompensationSkipped { .. }) {
            let once = !std::mem::replace(&mut step.settled, true);
            return demand(once, "I-10", || format!("{of} is made good twice"));
        }
        Ok(())
    }

    /// Compensations that failed for good may be tried again.
    pub(super) fn resumed(&mut self) {
        let failed = self.steps.iter_mut().filter(|(path, step)| {
            path.compensated().is_some() && step.status == Some(StepStatus::Failed) && !step.settled
        });
        failed.for_each(|(_, step)| {
            *step = StepSeen { attempt: step.attempt, ..StepSeen::default() };
        });
    }

    /// Looks whether everything was made good when a run says so.
    pub(super) fn made_good(&self, event: &Event) -> Checked {
        let says_so = matches!(event, Event::RunCompensated { .. })
            || (matches!(event, Event::RunCancelled {}) && self.unwinding);
        let past_pivot = || {
            self.steps.iter().any(|(path, step)| {
                step.deed.is_some() && self.definition(path).is_some_and(|step| step.is_pivot())
            })
        };
        if !says_so || past_pivot() {
            return Ok(());
        }
        match self.left().next() {
            Some(left) => demand(false, "I-10", || format!("{left} was not made good")),
            None => Ok(()),
        }
    }

    fn may_compensate(&self, of: &StepPath) -> Checked {
        demand(self.unwinding, "I-10", || format!("{of} is made good before the run unwinds"))?;
        let deed = self.steps.get(of).and_then(|step| step.deed);
        demand(deed.is_some(), "I-10", || format!("{of} is made good and did nothing"))?;
        let again = self.steps.get(&of.compensation()).is_some_and(|step| step.settled);
        demand(!again, "I-10", || format!("{of} is made good twice"))?;
        match self.left().find(|left| is_inside(left, of) || self.depends(left, of)) {
            Some(left) => demand(false, "I-10", || format!("{of} is made good before {left}")),
            None => Ok(()),
        }
    }

    /// Returns the steps that certainly did something and were not made good.
    fn left(&self) -> impl Iterator<Item = &StepPath> {
        let left = self.steps.iter().filter(|(path, step)| {
            step.deed == Some(Deed::Certain)
                && self.is_unit(path)
                && !self.steps.get(&path.compensation()).is_some_and(|step| step.settled)
        });
        left.map(|(path, _)| path)
    }

    /// Returns whether a step has a compensation of its own.
    fn is_unit(&self, path: &StepPath) -> bool {
        if path.compensated().is_some() {
            return false;
        }
        let Some(step) = self.definition(path) else { return false };
        let is_fan = step.for_each().is_some() && !path.as_str().ends_with(']');
        step.compensate().is_some() && !is_fan
    }

    /// Returns whether `later` depends on `earlier`: where their paths part, the one on the other.
    fn depends(&self, later: &StepPath, earlier: &StepPath) -> bool {
        let mut prefix = String::new();
        for (a, b) in later.as_str().split('/').zip(earlier.as_str().split('/')) {
            if a == b {
                prefix.push_str(a);
                prefix.push('/');
                continue;
            }
            let index = |part: &str| {
                let path = whole(&StepPath::new(&format!("{prefix}{part}")));
                self.definition(&path).map(skep_workflow::Step::index)
            };
            return match (index(a), index(b)) {
                (Some(a), Some(b)) => a != b && self.needs(a, b),
                (_, _) => false,
            };
        }
        false
    }

    fn needs(&self, step: StepIndex, wanted: StepIndex) -> bool {
        let mut open = vec![step];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(step) = open.pop() {
            for need in self.workflow.step(step).needs() {
                if *need == wanted {
                    return true;
                }
                if seen.insert(*need) {
                    open.push(*need);
                }
            }
        }
        false
    }
}

/// Returns whether a step is inside a group.
fn is_inside(path: &StepPath, group: &StepPath) -> bool {
    let rest = path.as_str().strip_prefix(group.as_str());
    rest.is_some_and(|rest| rest.starts_with('/'))
}
