//! Which attempts belong to an earlier round than others, as the journal tells it.

use std::collections::BTreeMap;

use skep_protocol::{AttemptId, Event, RunId, StepPath};

/// What started over, and what was scheduled before and after that.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    records: u64,
    scheduled: BTreeMap<AttemptId, u64>,
    restarts: BTreeMap<RunId, Vec<Restart>>,
}

/// Steps that started over together.
#[derive(Debug)]
struct Restart {
    /// The group.
    group: StepPath,
    steps: Vec<StepPath>,
    /// The record from which on all of them were as at their beginning.
    at: u64,
}

impl Rounds {
    pub(super) fn follow(&mut self, run: RunId, event: &Event) {
        self.records += 1;
        let at = self.records;
        let restarts = self.restarts.entry(run).or_default();
        if let Event::AttemptScheduled(scheduled) = event {
            let (step, attempt) = (scheduled.step.clone(), scheduled.attempt);
            self.scheduled.insert(AttemptId { run, step, attempt }, at);
        }
        if let Event::GroupRestarted { step, .. } = event {
            restarts.push(Restart { group: step.clone(), steps: vec![step.clone()], at });
        }
        if let Event::RestartDecided { step, .. } = event {
            restarts.push(Restart { group: step.clone(), steps: Vec::new(), at });
        }
        if let Event::StepRestarted { step, .. } = event {
            let group = step.around();
            let of_group = |restart: &&mut Restart| Some(&restart.group) == group.as_ref();
            if let Some(restart) = restarts.iter_mut().rev().find(of_group) {
                restart.steps.push(step.clone());
                restart.at = at;
            }
        }
    }

    /// Returns whether an attempt has to have stopped before another one of its run begins: because
    /// what both are inside of started over in between, or because something is made good.
    pub(super) fn is_before(&self, earlier: &AttemptId, later: &AttemptId) -> bool {
        let makes_good = |id: &AttemptId| id.step.compensated().is_some();
        if earlier.run != later.run || makes_good(later) {
            return earlier.run == later.run && !makes_good(earlier);
        }
        let number = |id: &AttemptId| self.scheduled.get(id).copied().unwrap_or_default();
        let restarts = self.restarts.get(&later.run).into_iter().flatten();
        restarts.into_iter().any(|Restart { steps, at, .. }| {
            let has = |id: &AttemptId| steps.iter().any(|step| is_inside(&id.step, step));
            number(earlier) < *at && *at <= number(later) && has(earlier) && has(later)
        })
    }
}

/// Returns whether a step is another one, or inside it.
fn is_inside(step: &StepPath, other: &StepPath) -> bool {
    let rest = step.as_str().strip_prefix(other.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '[']))
}
