//! What only the owner of a run knows: its state at the moment, and what its steps wait for.

use std::collections::{BTreeMap, BTreeSet};

use skep_broker::Broker;
use skep_protocol::{
    AgentId, AttemptId, RunDetail, RunId, StepPath, StepStatus, StepView, WaitingCause, WaitingView,
};
use tokio::sync::oneshot;

use super::{LIVE_WITHIN, State};
use crate::fleet_loop::Place;
use crate::partition::{LiveAnswer, LiveQuestion};

/// Steps of one run whose waiting is explained, beyond those of which its owner tells.
const MAX_EXPLAINED: usize = 1_000;

impl<B: Broker> State<B> {
    /// Adds what only the owner of the run knows: its state at the moment, and what it waits for.
    pub(super) async fn with_live(
        &self,
        mut detail: RunDetail,
        live: LiveAnswer,
    ) -> Box<RunDetail> {
        if detail.summary.status.is_final() {
            return Box::new(detail);
        }
        if let Some(status) = live.status.filter(|status| !status.is_final()) {
            detail.summary.status = status;
        }
        (detail.waiting, detail.paused) = (live.waiting, live.paused);
        let (open, ids): (Vec<usize>, Vec<AttemptId>) = to_explain(&detail).into_iter().unzip();
        let places = self.fleet.places(ids).await;
        let mut told = Told::of(&mut detail.waiting);
        for (at, place) in open.into_iter().zip(places) {
            let step = &mut detail.steps[at];
            match place {
                Place::With(agent) => {
                    taken(step, agent);
                    told.forget(&step.step);
                }
                Place::Stalling(agent, reason) => {
                    taken(step, agent);
                    told.tell(WaitingView::new(step.step.clone(), reason));
                }
                Place::Waits(view) => told.tell(view),
                Place::Unknown => {}
            }
        }
        detail.waiting = told.all();
        Box::new(detail)
    }

    pub(super) async fn live(&self, run: RunId, steps: &[StepPath]) -> Option<LiveAnswer> {
        let partition = self.count.of(run);
        let owner = self.live.get(&partition).map(|entry| entry.value().clone())?;
        let (answer, answered) = oneshot::channel();
        owner.send(LiveQuestion { run, steps: steps.to_vec(), answer }).await.ok()?;
        tokio::time::timeout(LIVE_WITHIN, answered).await.ok()?.ok()
    }
}

/// Returns the attempts of which the fleet may know more, with the places of their steps: those
/// that are told of as waiting, and a bounded number of others.
fn to_explain(detail: &RunDetail) -> Vec<(usize, AttemptId)> {
    let run = detail.summary.run;
    let told: BTreeSet<&StepPath> = detail.waiting.iter().map(|view| &view.step).collect();
    let mut others = 0;
    let mut open = Vec::new();
    for (at, view) in detail.steps.iter().enumerate().filter(|(_, view)| may_tell(view)) {
        let Some(last) = view.attempts.last() else { continue };
        // Whether one that an agent has goes on, only the fleet knows.
        let is_performed = view.status == StepStatus::Running;
        let most = MAX_EXPLAINED.saturating_sub(if is_performed { 0 } else { told.len() });
        others += usize::from(!told.contains(&view.step));
        if told.contains(&view.step) || others <= most {
            open.push((at, AttemptId { run, step: view.step.clone(), attempt: last.attempt }));
        }
    }
    open
}

/// What is told of waiting steps, by step, in the order in which it came.
struct Told {
    views: Vec<Option<WaitingView>>,
    places: BTreeMap<StepPath, usize>,
}

impl Told {
    fn of(waiting: &mut Vec<WaitingView>) -> Self {
        let mut told = Self { views: Vec::new(), places: BTreeMap::new() };
        std::mem::take(waiting).into_iter().for_each(|view| told.tell(view));
        told
    }

    /// Says why a step waits, in place of what was said before.
    fn tell(&mut self, view: WaitingView) {
        let at = *self.places.entry(view.step.clone()).or_insert(self.views.len());
        if at == self.views.len() {
            return self.views.push(Some(view));
        }
        let known = &mut self.views[at];
        // The state of the run knows who paused it.
        let paused = Some(WaitingCause::Paused);
        let is_paused = |view: &WaitingView| view.cause == paused;
        if !(is_paused(&view) && known.as_ref().is_some_and(is_paused)) {
            *known = Some(view);
        }
    }

    fn forget(&mut self, step: &StepPath) {
        if let Some(at) = self.places.get(step) {
            self.views[*at] = None;
        }
    }

    fn all(self) -> Vec<WaitingView> {
        self.views.into_iter().flatten().collect()
    }
}

/// Returns whether the fleet may know more of a step: it waits for an agent, or one has it.
fn may_tell(step: &StepView) -> bool {
    match step.status {
        StepStatus::Scheduled => true,
        StepStatus::Running => step.attempts.last().is_some_and(|last| last.status == "taken"),
        StepStatus::Pending
        | StepStatus::Waiting
        | StepStatus::Completed
        | StepStatus::Failed
        | StepStatus::Skipped
        | StepStatus::Cancelled => false,
    }
}

/// An agent has an attempt in its hands; the journal is told of that later, if at all.
fn taken(view: &mut StepView, agent: AgentId) {
    if let Some(last) = view.attempts.last_mut() {
        (view.status, last.agent) = (StepStatus::Running, Some(agent));
        "taken".clone_into(&mut last.status);
    }
}
