//! What is seen of one step: I-3, I-12 and I-16.

use std::time::Duration;

use skep_protocol::{AttemptScheduled, Event, FailureKind, StepPath, StepStatus, Timestamp};

use super::super::{Checked, demand};
use super::{StepSeen, active};

/// What the definition allows a step.
pub(super) struct Bounds {
    pub(super) policy: skep_workflow::RetryPolicy,
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    /// Since when the run is paused.
    pub(super) paused: Option<Timestamp>,
}

impl StepSeen {
    /// Looks at an event about an attempt.
    #[expect(clippy::too_many_lines, reason = "a table with a line for each kind of event")]
    pub(super) fn of_attempt(&mut self, event: &Event, at: Timestamp, bounds: &Bounds) -> Checked {
        match event {
            Event::AttemptScheduled(event) => self.scheduled(event, at, bounds)?,
            Event::ChildStarted(event) => {
                self.next_attempt(&event.step, event.attempt)?;
                self.due = event.not_before.max(at);
                self.status = Some(StepStatus::Running);
            }
            Event::AttemptTaken { step, attempt, .. } => {
                self.current(step, *attempt)?;
                self.taken = Some(at);
                self.first.get_or_insert((*attempt, at));
            }
            Event::AttemptReleased { step, attempt, .. } => {
                self.current(step, *attempt)?;
                self.taken = None;
                self.due = self.due.max(at);
                self.first = self.first.filter(|(first, _)| first != attempt);
            }
            Event::AttemptCompleted(event) => {
                self.current(&event.step, event.attempt)?;
                self.end(StepStatus::Completed);
            }
            Event::AttemptFailed(event) => {
                self.current(&event.step, event.attempt)?;
                self.attempt_open = false;
                self.failures += 1;
                let began = |took| self.due.after(at.since(self.due).saturating_sub(took));
                let began = event.took().map_or(self.due, began);
                self.first.get_or_insert((event.attempt, began));
                self.last_failure = Some(event.failure.clone());
                self.asked = event.failure.retry_after().map(|asked| at.after(asked));
                if event.failure.kind == FailureKind::Timeout && self.taken.is_some() {
                    let due = self.taken.zip(bounds.timeout);
                    self.not_early(&event.step, due, at)?;
                }
            }
            Event::AttemptLost { step, attempt, .. } => {
                self.current(step, *attempt)?;
                self.attempt_open = false;
                (self.last_failure, self.asked) = (None, None);
            }
            Event::StepExpanded(_)
            | Event::GroupStarted { .. }
            | Event::GroupRestarted { .. }
            | Event::RestartDecided { .. }
            | Event::StepRestarted { .. }
            | Event::RestartsExhausted { .. }
            | Event::WaitStarted(_)
            | Event::StepCompleted { .. }
            | Event::StepStopping { .. }
            | Event::StepFailed { .. }
            | Event::StepSkipped { .. }
            | Event::StepCancelled { .. }
            | Event::CheckpointSaved { .. }
            | Event::ReportIgnored(_)
            | Event::StepKept(_)
            | Event::RunStarted(_)
            | Event::RunPaused { .. }
            | Event::RunResumed { .. }
            | Event::CancelRequested { .. }
            | Event::RunCompleted { .. }
            | Event::RunFailed { .. }
            | Event::RunCancelled {}
            | Event::UnwindStarted { .. }
            | Event::RunCompensated { .. }
            | Event::RunStuck { .. }
            | Event::CompensationSkipped { .. }
            | Event::ParentNotified {}
            | Event::DeadLetterDropped { .. }
            | Event::SignalReceived { .. } => {}
        }
        Ok(())
    }

    /// Looks at an event about the step as a whole.
    pub(super) fn of_whole(
        &mut self,
        path: &StepPath,
        event: &Event,
        at: Timestamp,
        bounds: &Bounds,
    ) -> Checked {
        match event {
            Event::StepExpanded(_) | Event::GroupStarted { .. } => {
                self.began.get_or_insert(at);
                self.status = Some(StepStatus::Running);
            }
            Event::WaitStarted(event) => {
                self.began.get_or_insert(at);
                self.until = event.until;
                self.status = Some(StepStatus::Waiting);
            }
            Event::StepCompleted { signal, .. } => {
                if signal.is_none() {
                    self.not_early(path, self.until.zip(Some(Duration::ZERO)), at)?;
                }
                self.end(StepStatus::Completed);
            }
            Event::StepFailed { failure, .. } => {
                if failure.kind == FailureKind::Deadline {
                    self.not_early(path, self.began.zip(bounds.deadline), at)?;
                }
                self.end(StepStatus::Failed);
            }
            Event::StepSkipped { .. } => self.end(StepStatus::Skipped),
            Event::StepCancelled { .. } => self.end(StepStatus::Cancelled),
            Event::AttemptScheduled(_)
            | Event::ChildStarted(_)
            | Event::AttemptTaken { .. }
            | Event::AttemptReleased { .. }
            | Event::AttemptCompleted(_)
            | Event::AttemptFailed(_)
            | Event::AttemptLost { .. }
            | Event::GroupRestarted { .. }
            | Event::RestartDecided { .. }
            | Event::StepRestarted { .. }
            | Event::RestartsExhausted { .. }
            | Event::StepStopping { .. }
            | Event::CheckpointSaved { .. }
            | Event::ReportIgnored(_)
            | Event::StepKept(_)
            | Event::RunStarted(_)
            | Event::RunPaused { .. }
            | Event::RunResumed { .. }
            | Event::CancelRequested { .. }
            | Event::RunCompleted { .. }
            | Event::RunFailed { .. }
            | Event::RunCancelled {}
            | Event::UnwindStarted { .. }
            | Event::RunCompensated { .. }
            | Event::RunStuck { .. }
            | Event::CompensationSkipped { .. }
            | Event::ParentNotified {}
            | Event::DeadLetterDropped { .. }
            | Event::SignalReceived { .. } => {}
        }
        Ok(())
    }

    /// I-12: attempts and delays stay within the policy.
    fn scheduled(
        &mut self,
        event: &AttemptScheduled,
        at: Timestamp,
        Bounds { policy, paused, .. }: &Bounds,
    ) -> Checked {
        let path = &event.step;
        self.next_attempt(path, event.attempt)?;
        self.began.get_or_insert(at);
        self.status = Some(StepStatus::Scheduled);
        self.taken = None;
        self.due = event.not_before.max(at);
        let delay = event.not_before.since(at);
        demand(event.not_before >= at, "I-12", || format!("{path} is scheduled for the past"))?;
        let asked = self.asked.take().filter(|_| !event.fallback);
        demand(asked.is_none_or(|asked| event.not_before >= asked), "I-12", || {
            format!("{path} starts earlier than it asked for")
        })?;
        if event.fallback {
            self.first = None;
            let first = !std::mem::replace(&mut self.fallback, true);
            (self.failures, self.last_failure, self.asked) = (0, None, None);
            return demand(first, "I-12", || format!("{path} falls back twice"));
        }
        let in_time = self.first.zip(policy.within);
        let in_time = in_time.is_none_or(|((_, first), within)| {
            event.not_before <= active(first, *paused, at).after(within)
        });
        demand(in_time, "I-12", || format!("{path} is tried when its time is over"))?;
        let Some(failure) = self.last_failure.take() else { return Ok(()) };
        demand(self.failures < policy.attempts, "I-12", || {
            format!("{path} is tried after {} failures", self.failures)
        })?;
        let barred = !failure.retryable || policy.unless.contains(&failure.code);
        demand(!barred, "I-12", || format!("{path} is tried after {failure}"))?;
        let asked = failure.retry_after().unwrap_or_default();
        let longest = policy.cap(self.failures).max(asked) + Duration::from_millis(1);
        demand(delay >= asked && delay <= longest, "I-12", || {
            format!("{path} is tried after {delay:?}, between {asked:?} and {longest:?}")
        })
    }

    fn next_attempt(&mut self, path: &StepPath, attempt: u32) -> Checked {
        let rises = attempt == self.attempt + 1;
        self.attempt = attempt;
        self.attempt_open = true;
        demand(rises, "I-3", || format!("attempt {attempt} of {path} is not the next"))
    }

    /// I-3: what is said of an attempt is said of the current one, and not after its end.
    fn current(&self, path: &StepPath, attempt: u32) -> Checked {
        demand(self.attempt_open && self.attempt == attempt, "I-3", || {
            format!("attempt {attempt} of {path} is not the current one")
        })
    }

    /// I-16: what happens because time has passed happens when it has.
    fn not_early(
        &self,
        path: &StepPath,
        due: Option<(Timestamp, Duration)>,
        at: Timestamp,
    ) -> Checked {
        let due = due.is_none_or(|(from, bound)| at >= from.after(bound));
        demand(due, "I-16", || format!("a timer of {path} is early"))
    }

    fn end(&mut self, status: StepStatus) {
        self.status = Some(status);
        self.attempt_open = false;
    }
}
