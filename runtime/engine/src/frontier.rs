//! What follows from the state by itself, step by step.
//!
//! A step is looked at when something next to it changed: one of its needs ended, an item or an
//! inner step ended, what is around it stops. To look at a step twice does no harm: a look that
//! finds nothing to decide gives no events.

mod begin;
mod conclude;
mod keep;
mod unwind;

pub(crate) use conclude::deadline_passed;

use skep_protocol::{CancelReason, Event, Failure, SkipReason, StepPath};
use skep_workflow::{Join, OnFailure};

use crate::desk::{Desk, Obstacle};
use crate::run::step::{Phase, Setback};
use crate::run::{NodeId, Run};

/// The events that follow, in order; empty if there is nothing to decide.
pub(crate) type Followed = Result<Vec<Event>, Obstacle>;

/// Looks at one step, or at the run as a whole, and decides what follows.
pub(crate) fn advance(run: &Run, id: NodeId, desk: &Desk<'_>) -> Followed {
    if id == NodeId::RUN {
        return conclude::run(run, desk);
    }
    let phase = &run.node(id).phase;
    if phase.is_final() {
        return Ok(Vec::new());
    }
    if let Some(reason) = run.told_to_stop(id) {
        return stop(run, id, reason, desk);
    }
    match phase {
        Phase::Pending if run.node(id).compensates.is_some() => unwind::begin(run, id, desk),
        Phase::Pending => begin::pending(run, id, desk),
        Phase::Retrying(setback) => begin::again(run, id, *setback, desk),
        Phase::Waiting { .. } => begin::take_signal(run, id, desk),
        Phase::Expanded(_) => conclude::for_each(run, id, desk),
        Phase::Group { .. } => conclude::group(run, id, desk),
        Phase::Scheduled { .. }
        | Phase::Taken { .. }
        | Phase::Child { .. }
        | Phase::Completed
        | Phase::Failed
        | Phase::Skipped { .. }
        | Phase::Cancelled => Ok(Vec::new()),
    }
}

fn stop(run: &Run, id: NodeId, reason: CancelReason, desk: &Desk<'_>) -> Followed {
    let node = run.node(id);
    let step = run.path(id);
    let cancelled = |step| {
        let untouched = desk.is_untouched(run, id);
        Ok(vec![Event::StepCancelled { step, reason, untouched }])
    };
    match &node.phase {
        // It begins again without having begun.
        Phase::Pending if run.is_restarting(id) => Ok(Vec::new()),
        Phase::Pending => Ok(vec![Event::StepSkipped { step, reason: SkipReason::Stopping }]),
        Phase::Scheduled { .. }
        | Phase::Taken { .. }
        | Phase::Retrying(_)
        | Phase::Waiting { .. } => cancelled(step),
        Phase::Child { .. } if run.is_to_come(id, desk.now) => cancelled(step),
        Phase::Child { .. } | Phase::Expanded(_) | Phase::Group { .. } => {
            if node.stop.is_none() && !run.is_quiet(id) {
                return Ok(vec![Event::StepStopping { step, reason }]);
            }
            if run.is_quiet(id) { cancelled(step) } else { Ok(Vec::new()) }
        }
        Phase::Completed | Phase::Failed | Phase::Skipped { .. } | Phase::Cancelled => {
            Ok(Vec::new())
        }
    }
}

impl Run {
    /// Returns why a step has to end, if what is around it stops.
    pub(crate) fn told_to_stop(&self, id: NodeId) -> Option<CancelReason> {
        let node = self.node(id);
        if node.compensates.is_some() {
            return None;
        }
        if self.state.cancelling.is_some() {
            return Some(CancelReason::RunCancelled);
        }
        if let Some((fan, _)) = node.item_of {
            return self.node(fan).stop;
        }
        if self.is_restarting(id) {
            return Some(CancelReason::Restart);
        }
        if self.plan.cleans_up(self.step_index(id)) {
            return None;
        }
        let scope = self.scope(node.scope);
        if scope.stopping {
            return Some(CancelReason::Stopping);
        }
        self.node(scope.owner?).stop
    }

    /// Returns whether nothing inside a step is under way or still to come.
    pub(crate) fn is_quiet(&self, id: NodeId) -> bool {
        match &self.node(id).phase {
            Phase::Expanded(progress) => progress.ended == progress.total,
            Phase::Group { .. } => {
                let scope = self.node(id).inner.as_ref().and_then(|inner| inner.scope);
                scope.is_none_or(|scope| self.scope(scope).open == 0)
            }
            Phase::Child { .. } => false,
            Phase::Pending
            | Phase::Scheduled { .. }
            | Phase::Taken { .. }
            | Phase::Retrying(_)
            | Phase::Waiting { .. }
            | Phase::Completed
            | Phase::Failed
            | Phase::Skipped { .. }
            | Phase::Cancelled => true,
        }
    }

    /// Returns whether the first failure of a scope stops the others.
    fn stops_at_failure(&self) -> bool {
        self.plan.workflow().on_failure() != OnFailure::Continue
    }
}

/// Whether the needs of a step let it go on.
enum Readiness {
    Wait,
    Ready,
    Skip(SkipReason),
}

fn readiness(run: &Run, id: NodeId) -> Readiness {
    let (needs, step) = (run.node(id).needs, run.definition(id));
    let asks = run.plan.cleans_up(run.step_index(id));
    let total = step.needs().len();
    let met = |met: u32, reason: &dyn Fn() -> SkipReason| match () {
        () if needs.open > 0 => Readiness::Wait,
        () if asks || met as usize == total => Readiness::Ready,
        () => Readiness::Skip(reason()),
    };
    let wanted = match step.join() {
        Join::Unwritten => {
            return met(needs.completed.into(), &|| SkipReason::Upstream(upstream(run, id)));
        }
        Join::All => return met((needs.completed + needs.skipped).into(), &|| SkipReason::Join),
        Join::Any => 1,
        Join::AtLeast(wanted) => wanted,
    };
    if u32::from(needs.completed) >= wanted || (asks && needs.open == 0) || total == 0 {
        Readiness::Ready
    } else if needs.open > 0 {
        Readiness::Wait
    } else {
        Readiness::Skip(SkipReason::Join)
    }
}

/// Returns the first need of a step that did not complete.
fn upstream(run: &Run, id: NodeId) -> StepPath {
    let scope = run.node(id).scope;
    let needs = run.definition(id).needs().iter();
    let mut needs = needs.filter_map(|step| run.in_scope(scope, *step));
    let culprit = needs.find(|need| run.node(*need).phase != Phase::Completed);
    run.path(culprit.unwrap_or(id))
}

fn failed(run: &Run, id: NodeId, failure: Failure) -> Vec<Event> {
    vec![Event::StepFailed { step: run.path(id), failure, untouched: false }]
}

/// Turns what cannot be made into the failure of the step; what is missing stays an obstacle.
fn or_fail(run: &Run, id: NodeId, followed: Followed) -> Followed {
    match followed {
        Err(Obstacle::Failure(failure)) => Ok(failed(run, id, *failure)),
        Ok(_) | Err(Obstacle::Missing) => followed,
    }
}

fn setback_failure(run: &Run, id: NodeId, setback: Setback) -> Option<&Failure> {
    match setback {
        Setback::Failed => run.node(id).failure.as_deref(),
        Setback::Lost => None,
    }
}
