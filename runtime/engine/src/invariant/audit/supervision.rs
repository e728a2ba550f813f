//! I-13: restarts stay within what the supervision of a group bears, and concern whom they should.

use skep_protocol::{CancelReason, Event, StepPath, StepStatus, Timestamp};
use skep_workflow::Strategy;

use super::super::{Checked, demand};
use super::{RunSeen, StepSeen, whole};

impl RunSeen {
    /// Looks at an event about the supervision of a group, or about one of its steps.
    pub(super) fn of_supervision(
        &mut self,
        path: &StepPath,
        event: &Event,
        at: Timestamp,
    ) -> Checked {
        if let Event::RestartDecided { failed, .. } = event {
            return self.restart_decided(path, failed, at);
        }
        if let Event::RestartsExhausted { .. } = event {
            let lately = self.lately(path, at);
            let most = self.max_restarts(path);
            return demand(Some(lately) == most, "I-13", || {
                format!("{path} gives up after {lately} restarts, {most:?} are borne")
            });
        }
        if let Event::StepRestarted { .. } = event {
            self.is_concerned(path)?;
            let seen = self.steps.entry(path.clone()).or_default();
            let StepSeen { attempt, deed, asked, .. } = *seen;
            let asked = asked.filter(|_| seen.status != Some(StepStatus::Completed));
            *seen = StepSeen { attempt, deed, asked, ..StepSeen::default() };
            self.start_over(&format!("{path}/"));
            self.start_over(&format!("{path}["));
        }
        if let Event::StepCancelled { reason: CancelReason::Restart, .. } = event {
            // It, or something around it.
            let mut at = whole(path);
            while self.is_concerned(&at).is_err() {
                let around = at.as_str().rsplit_once('/').map(|(group, _)| StepPath::new(group));
                let stops = around.is_some();
                demand(stops, "I-13", || format!("{path} stops for nothing"))?;
                at = whole(&around.unwrap_or(at));
            }
        }
        Ok(())
    }

    fn restart_decided(&mut self, group: &StepPath, failed: &StepPath, at: Timestamp) -> Checked {
        let lately = self.lately(group, at);
        let most = self.max_restarts(group);
        demand(most.is_some_and(|most| lately < most), "I-13", || {
            format!("{group} restarts once more after {lately}, {most:?} are borne")
        })?;
        let cause = self.definition(failed).map(skep_workflow::Step::index);
        let seen = self.steps.entry(group.clone()).or_default();
        seen.restarts.push(at);
        seen.cause = cause;
        Ok(())
    }

    /// Demands that the last failure in the group of a step means that it starts again.
    fn is_concerned(&self, path: &StepPath) -> Checked {
        let group = path.as_str().rsplit_once('/').map_or("", |(group, _)| group);
        let group = StepPath::new(group);
        let supervision = self.definition(&group).and_then(|step| step.supervision());
        let cause = self.steps.get(&group).and_then(|seen| seen.cause);
        let index = self.definition(path).map(skep_workflow::Step::index);
        let concerned = supervision.is_some_and(|supervision| match supervision.strategy {
            Strategy::OneForOne => index == cause,
            Strategy::OneForAll => true,
            Strategy::RestForOne => index >= cause,
        });
        demand(concerned && cause.is_some(), "I-13", || format!("{path} starts again for nothing"))
    }

    fn max_restarts(&self, group: &StepPath) -> Option<usize> {
        let supervision = self.definition(group)?.supervision()?;
        Some(supervision.max_restarts as usize)
    }

    fn lately(&self, group: &StepPath, at: Timestamp) -> usize {
        let within = self.definition(group).and_then(|step| Some(step.supervision()?.within));
        let restarts = self.steps.get(group).map(|seen| seen.restarts.as_slice());
        let lately = |before: &&Timestamp| within.is_some_and(|within| before.after(within) >= at);
        restarts.unwrap_or_default().iter().filter(lately).count()
    }
}
