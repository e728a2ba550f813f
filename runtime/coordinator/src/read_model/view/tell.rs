//! A run as it is told of.

use skep_protocol::{AttemptView, RunDetail, RunSummary, StepPath, StepView};

use super::{Attempt, RunView, Step};

impl RunView {
    /// Returns what a list says of the run.
    pub(in crate::read_model) fn summary(&self) -> RunSummary {
        RunSummary {
            run: self.run,
            workflow: self.workflow.clone(),
            digest: self.digest,
            status: self.status(),
            started: self.started,
            ended: self.ended,
            parent: self.parent.clone(),
            steps: self.steps(),
            steps_ended: self.steps_ended(),
            labels: self.labels.clone(),
            retry_of: self.retry_of,
        }
    }

    pub(in crate::read_model) fn steps(&self) -> u32 {
        self.counts.known.try_into().unwrap_or_default()
    }

    pub(in crate::read_model) fn steps_ended(&self) -> u32 {
        self.counts.ended.try_into().unwrap_or_default()
    }

    /// Returns everything about the run; which runs do it over is known elsewhere.
    pub(in crate::read_model) fn detail(&self) -> RunDetail {
        debug_assert!(!self.is_abridged(), "more is known of it");
        let tracks = self.tracks.iter();
        let mut steps: Vec<_> = tracks
            .filter_map(|(path, track)| Some((path, track.step.as_ref()?, &track.attempts[..])))
            .collect();
        steps.sort_by_key(|(_, step, _)| step.ordinal);
        RunDetail {
            summary: self.summary(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            error: self.error.clone(),
            cancelled: self.cancelled.clone(),
            paused: None,
            retried_by: Vec::new(),
            steps: steps.into_iter().map(|(path, step, all)| step_view(path, step, all)).collect(),
            waiting: Vec::new(),
        }
    }
}

fn step_view(path: &StepPath, step: &Step, attempts: &[Attempt]) -> StepView {
    StepView {
        step: path.clone(),
        status: step.status,
        attempts: attempts.iter().map(attempt_view).collect(),
        started: step.started,
        ended: step.ended,
        output: step.output.clone(),
        error: step.error.as_deref().cloned(),
        skipped: step.skipped.clone(),
        condition: None,
        cancelled: step.cancelled,
        stopped_by: None,
        child: step.child,
        items: step.items,
        kept: step.kept,
        skipped_by: step.skipped_by.clone(),
    }
}

fn attempt_view(attempt: &Attempt) -> AttemptView {
    AttemptView {
        attempt: attempt.number,
        status: attempt.status.clone().into_owned(),
        scheduled: attempt.scheduled,
        agent: attempt.agent.clone(),
        fallback: attempt.fallback,
        ended: attempt.ended,
        duration_ms: attempt.duration_ms,
        error: attempt.error.as_deref().cloned(),
    }
}
