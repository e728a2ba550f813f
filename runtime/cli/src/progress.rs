//! The progress of one run as people follow it: a pure fold of its history, and two drawings of it.
//!
//! A row stands for a step of the definition. All items of a `for_each`, and all copies of a step
//! inside a group that is repeated, share one row and are counted.

mod lines;
mod render;
mod row;
mod rows;
mod unwinding;

use std::collections::{BTreeMap, BTreeSet};

use skep_protocol::{
    Event, Failure, Heartbeat, HistoryEntry, RunDetail, RunId, RunStatus, StepPath, StepStatus,
    Timestamp, WaitStarted, WaitingFor, WaitingView,
};
use skep_workflow::{StepIndex, Workflow};

pub(crate) use lines::{LineFilter, line};
pub(crate) use render::{Counted, Failures, Frame, Motion, draw, left, summary};
use rows::{Instance, Rows};
use unwinding::Unwinding;

use crate::human;

/// What is known of a run.
#[derive(Debug)]
pub(crate) struct Progress {
    run: RunId,
    workflow: String,
    status: Option<RunStatus>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    failure: Option<Failure>,
    cancelling: bool,
    unwinding: Unwinding,
    rows: Rows,
    waiting: BTreeMap<StepPath, String>,
    /// The codes of the failures that ended steps.
    codes: BTreeSet<String>,
    /// Why the latest step that is no item failed.
    step_failure: Option<Failure>,
    seen: u64,
}

impl Progress {
    /// Starts with nothing known.
    pub(crate) fn new(run: RunId) -> Self {
        Self {
            run,
            workflow: String::new(),
            status: None,
            started: None,
            ended: None,
            failure: None,
            cancelling: false,
            unwinding: Unwinding::default(),
            rows: Rows::default(),
            waiting: BTreeMap::new(),
            codes: BTreeSet::new(),
            step_failure: None,
            seen: 0,
        }
    }

    /// Adds the steps of the definition, so that those to come are seen too.
    pub(crate) fn with_workflow(mut self, workflow: &Workflow) -> Self {
        self.workflow = workflow.name().to_string();
        for step in workflow.steps() {
            self.rows.declare(&path(workflow, step.index()));
        }
        self
    }

    /// Tells whether no steps are known.
    pub(crate) fn is_bare(&self) -> bool {
        self.rows.all().is_empty()
    }

    /// Adds the steps that a coordinator tells of, those to come included.
    pub(crate) fn declare(&mut self, detail: &RunDetail) {
        for view in &detail.steps {
            self.rows.declare(&rows::without_items(view.step.as_str()));
        }
    }

    /// Returns the run.
    pub(crate) const fn run(&self) -> RunId {
        self.run
    }

    /// Returns the number of the last entry that was taken in.
    pub(crate) const fn seen(&self) -> u64 {
        self.seen
    }

    /// Returns how the run ended, once it did; a stuck run counts as soon as nothing goes on in it
    /// without a person.
    pub(crate) fn outcome(&self) -> Option<RunStatus> {
        let needs_help = |status| status == RunStatus::Stuck && !self.unwinding.goes_on();
        self.status.filter(|status| status.is_final() || needs_help(*status))
    }

    /// Returns the steps that could not be made good.
    pub(crate) fn stuck(&self) -> impl Iterator<Item = StepPath> {
        self.unwinding.stuck()
    }

    /// Tells whether a failure of the run says no more than that of a step did.
    fn is_told(&self, failure: &Failure) -> bool {
        self.step_failure.as_ref().is_some_and(|told| failure.message.contains(&told.message))
    }

    /// Returns what could be done about the failures, where the command line can do something.
    pub(crate) fn advice(&self) -> impl Iterator<Item = &'static str> {
        let known = [
            (
                "command_not_allowed",
                "whoever starts the exec agent allows it: --allow-command NAME",
            ),
            ("address_refused", "whoever starts the http agent allows it: --allow-address NETWORK"),
            ("outside_root", "whoever starts the corpus agent allows it: --root DIR"),
        ];
        let is_seen = |code: &str| self.codes.contains(code);
        known.into_iter().filter(move |(code, _)| is_seen(code)).map(|(_, advice)| advice)
    }

    /// Takes in who works on which step, and what the others wait for, as the coordinator says.
    pub(crate) fn look(&mut self, detail: &RunDetail) {
        for view in detail.steps.iter().filter(|view| view.status == StepStatus::Running) {
            let last = view.attempts.last();
            if let Some((attempt, agent)) =
                last.and_then(|one| Some((one.attempt, one.agent.as_ref()?)))
            {
                self.rows.hold(&view.step, attempt, agent);
            }
        }
        self.set_waiting(&detail.waiting);
    }

    /// Takes in what is waiting and why, as the coordinator says; steps that wait for other steps
    /// are nothing special, and those that wait for time or a signal have said so in the history.
    pub(crate) fn set_waiting(&mut self, waiting: &[WaitingView]) {
        let begun = |view: &&WaitingView| {
            let status = self.rows.status(&view.step);
            matches!(status, Some(StepStatus::Scheduled | StepStatus::Running))
        };
        let waiting = waiting.iter().filter(begun);
        let pairs = waiting.map(|view| (view.step.clone(), human::reason(&view.reason)));
        self.waiting = pairs.collect();
    }

    /// Takes in what an agent says of the attempts it holds.
    pub(crate) fn hear(&mut self, heartbeat: &Heartbeat) {
        let ours = heartbeat.held.iter().filter(|held| held.attempt.run == self.run);
        for held in ours {
            let (step, attempt) = (&held.attempt.step, held.attempt.attempt);
            self.rows.hold(step, attempt, &heartbeat.agent);
            let note = held.progress.as_ref().and_then(|progress| progress.note.as_deref());
            if let Some(note) = note {
                self.rows.set_progress(&held.attempt.step, &heartbeat.agent, note);
            }
        }
    }

    /// Returns what waits and why.
    pub(crate) const fn waiting(&self) -> &BTreeMap<StepPath, String> {
        &self.waiting
    }

    /// Takes in the next fact; one that was seen before changes nothing.
    pub(crate) fn apply(&mut self, entry: &HistoryEntry) {
        if entry.number <= self.seen {
            return;
        }
        self.seen = entry.number;
        let at = entry.record.at;
        let event = &entry.record.event;
        self.unwinding.follow(event);
        match event.step().filter(|_| !matches!(event, Event::DeadLetterDropped { .. })) {
            Some(step) => self.apply_to_step(step, event, at),
            None => self.apply_to_run(event, at),
        }
    }

    fn apply_to_run(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::RunStarted(started) => {
                self.workflow.clone_from(&started.workflow);
                (self.started, self.status) = (Some(at), Some(RunStatus::Running));
            }
            Event::RunPaused { .. } => self.status = Some(RunStatus::Paused),
            Event::RunResumed { .. } | Event::UnwindStarted { .. } => {
                self.status = Some(self.unwinding.status());
            }
            Event::CancelRequested { .. } => self.cancelling = true,
            Event::RunCompleted { .. } => self.end(RunStatus::Completed, at),
            Event::RunFailed { failure } => {
                self.failure = Some(failure.clone());
                self.end(RunStatus::Failed, at);
            }
            Event::RunCancelled {} => self.end(RunStatus::Cancelled, at),
            Event::RunCompensated { failure } => {
                self.failure = Some(failure.clone());
                self.end(RunStatus::Compensated, at);
            }
            Event::ParentNotified {} | Event::SignalReceived { .. } => {}
            Event::StepKept(_)
            | Event::StepSkipped { .. }
            | Event::StepExpanded(_)
            | Event::GroupStarted { .. }
            | Event::GroupRestarted { .. }
            | Event::RestartDecided { .. }
            | Event::StepRestarted { .. }
            | Event::RestartsExhausted { .. }
            | Event::WaitStarted(_)
            | Event::ChildStarted(_)
            | Event::AttemptScheduled(_)
            | Event::AttemptTaken { .. }
            | Event::AttemptReleased { .. }
            | Event::CheckpointSaved { .. }
            | Event::AttemptCompleted(_)
            | Event::AttemptFailed(_)
            | Event::AttemptLost { .. }
            | Event::ReportIgnored(_)
            | Event::RunStuck { .. }
            | Event::CompensationSkipped { .. }
            | Event::DeadLetterDropped { .. }
            | Event::StepCompleted { .. }
            | Event::StepStopping { .. }
            | Event::StepFailed { .. }
            | Event::StepCancelled { .. } => {}
        }
    }

    fn apply_to_step(&mut self, step: &StepPath, event: &Event, at: Timestamp) {
        if let Event::StepFailed { failure, .. } = event {
            self.codes.insert(failure.code.clone());
            if !step.as_str().contains('[') {
                self.step_failure = Some(failure.clone());
            }
        } else if let Event::StepExpanded(event) = event {
            return self.rows.expand(step, event.total, at);
        } else if let Event::StepKept(kept) = event {
            if let Some(items) = kept.items {
                self.rows.expand(step, items, at);
            }
        } else if let Event::GroupRestarted { .. } = event {
            self.rows.restart(step);
        } else if let Event::StepRestarted { .. } = event {
            self.rows.restart_step(step);
        } else if let Event::RunStuck { failure, .. } = event {
            (self.status, self.failure) = (Some(RunStatus::Stuck), Some(failure.clone()));
        } else if let Event::CompensationSkipped { .. } = event {
            self.status = Some(self.unwinding.status());
        }
        self.step(step, at, |one| follow(one, event, at));
        if self.rows.status(step).is_some_and(StepStatus::is_final) {
            self.waiting.remove(step);
        }
    }

    fn step(&mut self, step: &StepPath, at: Timestamp, change: impl FnOnce(&mut Instance)) {
        self.rows.change(step, at, change);
    }

    fn end(&mut self, status: RunStatus, at: Timestamp) {
        (self.status, self.ended) = (Some(status), Some(at));
        self.waiting.clear();
    }
}

/// Moves one step on.
#[expect(clippy::too_many_lines, reason = "a table with a line for each kind of event")]
fn follow(one: &mut Instance, event: &Event, at: Timestamp) {
    match event {
        Event::GroupStarted { .. } => one.enter(StepStatus::Running, at).forget(),
        Event::StepKept(kept) => {
            one.attempt = kept.attempt;
            if kept.status.is_final() {
                one.enter(kept.status, at).tell("kept from the run before".to_owned());
            }
        }
        Event::StepSkipped { reason, .. } => {
            one.enter(StepStatus::Skipped, at).tell(human::skipped(reason));
        }
        Event::RestartDecided { failed, .. } => one.tell(format!("{failed} failed: starts again")),
        Event::StepRestarted { .. } => {
            one.fallback = false;
            one.enter(StepStatus::Pending, at).tell("starts again".into())
        }
        Event::RestartsExhausted { failed, .. } => {
            one.tell(format!("{failed} failed once too often"));
        }
        Event::GroupRestarted { round, .. } => {
            one.enter(StepStatus::Running, at).tell(format!("started again, round {round}"));
        }
        Event::WaitStarted(wait) => one.enter(StepStatus::Waiting, at).tell(waits(wait)),
        Event::ChildStarted(child) => {
            one.attempt = child.attempt;
            one.enter(StepStatus::Running, at).tell(format!("run {}", child.child));
        }
        Event::AttemptScheduled(attempt) => {
            (one.attempt, one.not_before) = (attempt.attempt, Some(attempt.not_before));
            one.fallback |= attempt.fallback;
            one.enter(StepStatus::Scheduled, at);
        }
        Event::AttemptTaken { agent, .. } => {
            one.enter(StepStatus::Running, at);
            one.agent = Some(agent.clone());
        }
        Event::AttemptCompleted(done) => {
            one.attempt = done.attempt;
            one.enter(StepStatus::Completed, at).forget();
        }
        Event::AttemptFailed(failed) => {
            let failure = failed.failure.to_string();
            one.failed_alike = one.attempt_failure.as_ref() == Some(&failure);
            one.attempt_failure = Some(failure.clone());
            one.enter(StepStatus::Pending, at).tell(failure);
        }
        Event::AttemptLost { cause, .. } => {
            one.enter(StepStatus::Pending, at).tell(format!("lost: {cause}"));
        }
        Event::AttemptReleased { agent, .. } => {
            one.enter(StepStatus::Scheduled, at).tell(format!("given back by {agent}"));
        }
        Event::StepStopping { .. } => one.tell("stopping".to_owned()),
        Event::StepCompleted { .. } => one.enter(StepStatus::Completed, at).forget(),
        Event::StepFailed { failure, .. } => {
            one.enter(StepStatus::Failed, at).tell(failure.to_string());
        }
        Event::CompensationSkipped { by, .. } => {
            one.enter(StepStatus::Skipped, at).tell(format!("taken as done, says {by}"));
        }
        Event::StepCancelled { reason, .. } => {
            one.enter(StepStatus::Cancelled, at).tell(human::cancelled(*reason).to_owned());
        }
        Event::RunStarted(_)
        | Event::RunPaused { .. }
        | Event::RunResumed { .. }
        | Event::CancelRequested { .. }
        | Event::RunCompleted { .. }
        | Event::RunFailed { .. }
        | Event::RunCancelled {}
        | Event::UnwindStarted { .. }
        | Event::RunCompensated { .. }
        | Event::RunStuck { .. }
        | Event::DeadLetterDropped { .. }
        | Event::ParentNotified {}
        | Event::SignalReceived { .. }
        | Event::StepExpanded(_)
        | Event::CheckpointSaved { .. }
        | Event::ReportIgnored(_) => {}
    }
}

/// Says what a step waits for.
fn waits(wait: &WaitStarted) -> String {
    match (&wait.waiting_for, wait.until) {
        (WaitingFor::Signal(name), _) => format!("waits for the signal `{name}`"),
        (WaitingFor::Time, Some(until)) => format!("waits until {}", human::time_of_day(until)),
        (WaitingFor::Time, None) => "waits".to_owned(),
    }
}

/// Returns the path of a step of the definition.
fn path(workflow: &Workflow, index: StepIndex) -> String {
    let step = workflow.step(index);
    match step.parent() {
        Some(parent) => format!("{}/{}", path(workflow, parent), step.id()),
        None => step.id().to_string(),
    }
}

#[cfg(test)]
mod tests;
