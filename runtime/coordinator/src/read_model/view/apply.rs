//! Events into a run.

use skep_protocol::{Event, RunStatus, StepPath, StepStatus, Timestamp};

use super::steps::{At, Leaf};
use super::{RunView, is_compensation};

impl RunView {
    /// Takes in what happened next.
    #[expect(clippy::too_many_lines, reason = "a table with a line for each kind of event")]
    pub(in crate::read_model) fn apply(&mut self, at: Timestamp, event: Event) {
        self.entries += 1;
        match event {
            Event::RunStarted(_)
            | Event::ParentNotified {}
            | Event::SignalReceived { .. }
            | Event::CheckpointSaved { .. }
            | Event::StepStopping { .. }
            | Event::ReportIgnored(_)
            | Event::DeadLetterDropped { .. }
            | Event::RestartDecided { .. }
            | Event::RestartsExhausted { .. } => {}
            Event::RunPaused { .. } => self.shift(RunStatus::Running, RunStatus::Paused),
            Event::RunResumed { .. } => {
                self.shift(RunStatus::Paused, RunStatus::Running);
                self.tried_again();
            }
            Event::CancelRequested { reason } => {
                self.cancelled = Some(reason);
                self.status = RunStatus::Unwinding;
            }
            Event::RunCompleted { outputs } => {
                self.outputs = Some(outputs);
                self.over(RunStatus::Completed, at);
            }
            Event::RunFailed { failure } => {
                self.error = Some(failure);
                self.over(RunStatus::Failed, at);
            }
            Event::RunCancelled {} => self.over(RunStatus::Cancelled, at),
            Event::UnwindStarted { failure } => {
                self.error = failure.or_else(|| self.error.take());
                self.status = RunStatus::Unwinding;
            }
            Event::RunCompensated { failure } => {
                self.error = Some(failure);
                self.over(RunStatus::Compensated, at);
            }
            Event::RunStuck { .. } => self.status = RunStatus::Stuck,
            Event::CompensationSkipped { step, by } => self.taken_as_done(&step, by, at),
            Event::StepKept(kept) => self.kept(*kept, at),
            Event::StepSkipped { step, reason } => {
                self.known(&step).step(StepStatus::Skipped, Leaf::Keep, at).skipped = Some(reason);
            }
            Event::StepExpanded(expanded) => {
                let mut known = self.known(&expanded.step);
                known.step(StepStatus::Running, Leaf::No, at);
                known.expanded(expanded.total);
            }
            Event::GroupStarted { step } => {
                self.known(&step).step(StepStatus::Running, Leaf::No, at);
            }
            Event::GroupRestarted { step, .. } => self.group_restarted(&step, at),
            Event::StepRestarted { step, .. } => self.step_restarted(&step, at),
            Event::WaitStarted(wait) => {
                self.known(&wait.step).step(StepStatus::Waiting, Leaf::Yes, at);
            }
            Event::ChildStarted(child) => {
                let mut known = self.known(&child.step);
                known.step(StepStatus::Running, Leaf::Yes, at).child = Some(child.child);
                known.attempt_due(child.attempt, "taken", At { at, due: child.not_before });
            }
            Event::StepCompleted { step, output, .. } => {
                let mut known = self.known(&step);
                let step = known.step(StepStatus::Completed, Leaf::Keep, at);
                step.output = output.or_else(|| step.output.take());
                known.attempts_over("completed", at);
            }
            Event::StepFailed { step, failure, .. } => {
                let mut known = self.known(&step);
                known.step(StepStatus::Failed, Leaf::Keep, at).error = Some(failure.into());
            }
            Event::StepCancelled { step, reason, .. } => {
                let mut known = self.known(&step);
                known.step(StepStatus::Cancelled, Leaf::Keep, at).cancelled = Some(reason);
                known.attempts_over("cancelled", at);
            }
            Event::AttemptScheduled(scheduled) => self.scheduled(&scheduled, at),
            Event::AttemptTaken { step, attempt, agent, .. } => {
                let mut known = self.known(&step);
                known.step(StepStatus::Running, Leaf::Yes, at);
                known.attempt(attempt, "taken", at).agent = Some(agent);
            }
            Event::AttemptReleased { step, attempt, .. } => {
                let mut known = self.known(&step);
                known.step(StepStatus::Scheduled, Leaf::Yes, at);
                known.attempt(attempt, "scheduled", at);
            }
            Event::AttemptCompleted(done) => {
                let mut known = self.known(&done.step);
                known.step(StepStatus::Completed, Leaf::Yes, at).output = Some(done.output);
                let attempt = known.attempt(done.attempt, "completed", at);
                attempt.ended = Some(at);
                attempt.agent = Some(done.agent);
                attempt.duration_ms = Some(done.duration_ms);
            }
            Event::AttemptFailed(failed) => {
                let mut known = self.known(&failed.step);
                known.step(StepStatus::Running, Leaf::Keep, at);
                let attempt = known.attempt(failed.attempt, "failed", at);
                attempt.ended = Some(at);
                let took = attempt.due.map(|due| at.as_millis().saturating_sub(due.as_millis()));
                attempt.duration_ms = took.or(attempt.duration_ms);
                attempt.agent = failed.agent.or_else(|| attempt.agent.take());
                attempt.error = Some(failed.failure.into());
            }
            Event::AttemptLost { step, attempt, agent, .. } => {
                let mut known = self.known(&step);
                let attempt = known.attempt(attempt, "lost", at);
                attempt.ended = Some(at);
                attempt.agent = agent.or_else(|| attempt.agent.take());
            }
        }
    }

    fn over(&mut self, status: RunStatus, at: Timestamp) {
        self.status = status;
        self.ended = Some(at);
    }

    /// Sets the state of a run that is in another one; one that is unwinding stays so.
    fn shift(&mut self, from: RunStatus, to: RunStatus) {
        if self.status == from {
            self.status = to;
        }
    }

    /// The compensations that failed for good are tried again.
    fn tried_again(&mut self) {
        if self.status != RunStatus::Stuck {
            return;
        }
        self.status = RunStatus::Unwinding;
        for (path, track) in &mut self.tracks {
            let failed = track.step.as_mut().filter(|step| step.status == StepStatus::Failed);
            if let Some(step) = failed.filter(|_| is_compensation(path)) {
                step.status = StepStatus::Pending;
                (step.ended, step.error) = (None, None);
                self.counts.ended -= 1;
            }
        }
    }

    /// A compensation counts as done; the run stays stuck for as long as another one is.
    fn taken_as_done(&mut self, step: &StepPath, by: String, at: Timestamp) {
        self.known(step).step(StepStatus::Skipped, Leaf::Keep, at).skipped_by = Some(by);
        let is_stuck = self.tracks.iter().any(|(path, track)| {
            let failed = track.step.as_ref().is_some_and(|step| step.status == StepStatus::Failed);
            failed && is_compensation(path)
        });
        self.status = if is_stuck { RunStatus::Stuck } else { RunStatus::Unwinding };
    }
}
