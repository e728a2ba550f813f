//! What a live run looks like from outside, as far as its state knows.

use skep_protocol::{AttemptView, PausedView, RunDetail, RunStarted, RunSummary, StepView};

use super::step::{Phase, Setback};
use super::{NodeId, Run, ScopeId};
use crate::partition::Partition;

impl Partition {
    /// Returns the live runs: how each was started, and how it is. Of what is over, a state keeps
    /// only what may be read yet: of the attempts of a step the last one, few outputs, no ends.
    pub fn live(&self) -> impl Iterator<Item = (RunStarted, RunDetail)> {
        self.runs().map(|run| (run.state.started.event(), run.detail()))
    }
}

impl Run {
    fn detail(&self) -> RunDetail {
        let steps = self.views();
        let ended = steps.iter().filter(|step| step.status.is_final()).count();
        let count = |steps: usize| u32::try_from(steps).expect("steps are bounded");
        let started = &self.state.started;
        RunDetail {
            summary: RunSummary {
                run: self.id(),
                workflow: started.workflow.clone(),
                digest: started.digest,
                status: self.status(),
                started: self.state.at,
                ended: None,
                parent: started.parent().clone(),
                steps: count(steps.len()),
                steps_ended: count(ended),
                labels: started.labels().clone(),
                retry_of: started.retry().as_ref().map(|retry| retry.run),
            },
            inputs: started.inputs.clone(),
            outputs: None,
            error: None,
            cancelled: self.state.cancelling.clone(),
            paused: self.paused(),
            retried_by: Vec::new(),
            steps,
            waiting: Vec::new(),
        }
    }

    /// Returns who paused the run, if it is paused.
    pub(crate) fn paused(&self) -> Option<PausedView> {
        let since = self.state.paused_at.filter(|_| self.state.paused)?;
        Some(PausedView { by: self.state.paused_by.clone(), since })
    }

    /// Returns the steps that are not pending, those around before those inside.
    fn views(&self) -> Vec<StepView> {
        let mut views = Vec::new();
        let mut open: Vec<NodeId> = self.scope(ScopeId::ROOT).nodes().rev().collect();
        while let Some(id) = open.pop() {
            let node = self.node(id);
            if node.phase == Phase::Pending {
                continue;
            }
            views.push(self.view(id));
            let compensation = node.deed.as_ref().and_then(|deed| deed.compensation);
            let begun = compensation.filter(|id| self.node(*id).phase != Phase::Pending);
            views.extend(begun.map(|id| self.view(id)));
            // What is inside a step that did not begin is left from an earlier round of a group.
            if node.began.get().is_none() {
                continue;
            }
            if let Some(scope) = node.inner.as_ref().and_then(|inner| inner.scope) {
                open.extend(self.scope(scope).nodes().rev());
            }
            open.extend(self.items_of(id).iter().rev());
        }
        views
    }

    fn view(&self, id: NodeId) -> StepView {
        let node = self.node(id);
        let is_failed = matches!(node.phase, Phase::Failed);
        let child = if let Phase::Child { child, .. } = node.phase { Some(child) } else { None };
        StepView {
            step: self.path(id),
            status: node.phase.status(),
            attempts: self.attempt_view(id).into_iter().collect(),
            started: node.began.get(),
            ended: None,
            output: node.output.clone().filter(|_| node.phase == Phase::Completed),
            error: node.failure.as_deref().filter(|_| is_failed).cloned(),
            skipped: None,
            condition: None,
            cancelled: None,
            stopped_by: None,
            child,
            items: node.phase.progress().map(|progress| progress.total),
            kept: self.is_kept(id),
            skipped_by: None,
        }
    }

    /// Returns whether a step that agents perform is as it was in the run before.
    fn is_kept(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let untried = node.attempt > 0 && node.tries + node.losses == 0;
        self.state.started.retry().is_some() && node.phase == Phase::Completed && untried
    }

    /// Returns the last attempt of a step that is performed by agents.
    fn attempt_view(&self, id: NodeId) -> Option<AttemptView> {
        let node = self.node(id);
        if node.tries + node.losses == 0 {
            return None;
        }
        self.work(id).capability?;
        let status = match node.phase {
            Phase::Scheduled { .. } => "scheduled",
            Phase::Taken { .. } => "taken",
            Phase::Retrying(Setback::Failed) | Phase::Failed => "failed",
            Phase::Retrying(Setback::Lost) => "lost",
            Phase::Completed => "completed",
            Phase::Cancelled => "cancelled",
            Phase::Pending
            | Phase::Child { .. }
            | Phase::Waiting { .. }
            | Phase::Expanded(_)
            | Phase::Group { .. }
            | Phase::Skipped { .. } => return None,
        };
        let reporter = node.reporter.as_ref().filter(|(_, attempt)| *attempt == node.attempt);
        let agent = node.phase.taker().or_else(|| reporter.map(|(agent, _)| agent));
        let queued =
            if let Phase::Scheduled { queued, .. } = node.phase { Some(queued) } else { None };
        Some(AttemptView {
            attempt: node.attempt,
            status: status.to_owned(),
            scheduled: queued.or_else(|| node.began.get())?,
            agent: agent.cloned(),
            fallback: node.fallback,
            ended: None,
            duration_ms: None,
            error: node.failure.as_deref().filter(|_| status == "failed").cloned(),
        })
    }
}
