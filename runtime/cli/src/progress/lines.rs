//! The history of a run as lines: for pipes, for `skep logs`.

use std::time::Duration;

use skep_protocol::{
    AttemptCompleted, Event, Failure, HistoryEntry, Payload, StepExpanded, StepKept, StepPath,
    Timestamp, WaitStarted, WaitingFor,
};

use super::Progress;
use crate::human;
use crate::output::{CYAN, DIM, GREEN, RED, YELLOW, paint};

/// Which facts become a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineFilter {
    /// All that happened.
    All,
    /// What matters while a run is followed: items of a `for_each` are counted, not told, unless
    /// they fail.
    Brief,
}

/// Returns the line for a fact that was just applied to `progress`, if it is worth one.
pub(crate) fn line(
    progress: &Progress,
    entry: &HistoryEntry,
    filter: LineFilter,
) -> Option<String> {
    let event = &entry.record.event;
    let step = event.step();
    if let Event::RunCompensated { failure } = event {
        return Some(placed(entry.record.at, None, &compensated(progress, failure)));
    }
    let text = match (filter, step) {
        (LineFilter::Brief, Some(step)) if is_told(progress, step, event) => {
            format!("{} for good", paint(RED, "failed"))
        }
        (LineFilter::Brief, Some(step)) if fails_alike(progress, step, event) => again(event)?,
        (LineFilter::Brief, Some(step)) if fan_ended(progress, step, event).is_some() => {
            fan_ended(progress, step, event)?
        }
        (LineFilter::Brief, None) if is_run_told(progress, event) => {
            format!("run {}", paint(RED, "failed"))
        }
        (LineFilter::Brief, Some(step)) if is_item(step) => match odd(event) {
            Some(text) => text,
            None => {
                let counted = counted(progress, step, event)?;
                return Some(placed(entry.record.at, Some(counted.0), &counted.1));
            }
        },
        (LineFilter::Brief, _) => brief(event)?,
        (LineFilter::All, _) => full(event),
    };
    Some(placed(entry.record.at, step.map(ToString::to_string), &text))
}

fn placed(at: Timestamp, step: Option<String>, text: &str) -> String {
    let time = paint(DIM, human::time_of_day(at));
    let text = text.trim_end().replace('\n', "\n            ");
    match step {
        Some(step) => format!("{time}  {step}: {text}"),
        None => format!("{time}  {text}"),
    }
}

/// Whether why a step failed was told when its last attempt did.
fn is_told(progress: &Progress, step: &StepPath, event: &Event) -> bool {
    let Event::StepFailed { failure, .. } = event else { return false };
    let one = progress.rows.instance(step);
    one.is_some_and(|one| one.attempt_failure.as_ref() == Some(&failure.to_string()))
}

/// Whether an attempt failed just as the one before it.
fn fails_alike(progress: &Progress, step: &StepPath, event: &Event) -> bool {
    let failed = matches!(event, Event::AttemptFailed(_));
    failed && progress.rows.instance(step).is_some_and(|one| one.failed_alike)
}

fn again(event: &Event) -> Option<String> {
    let Event::AttemptFailed(failed) = event else { return None };
    let words = format!("attempt {} failed", failed.attempt);
    Some(format!("{} in the same way: {}", paint(YELLOW, words), failed.failure.code))
}

/// Whether why a run failed was told when its step did.
fn is_run_told(progress: &Progress, event: &Event) -> bool {
    matches!(event, Event::RunFailed { failure } if progress.is_told(failure))
}

/// What a `for_each` ends with although some of its items failed.
fn fan_ended(progress: &Progress, step: &StepPath, event: &Event) -> Option<String> {
    let row = progress.rows.of(step).filter(|row| row.own.contains_key(step))?;
    let counts = row.counts;
    if !matches!(event, Event::StepCompleted { .. }) || is_item(step) || counts.failed == 0 {
        return None;
    }
    let failed = paint(YELLOW, format!("{} failed (tolerated)", counts.failed));
    Some(format!("{} of {} done, {failed}", counts.done(), row.total()))
}

fn is_item(step: &StepPath) -> bool {
    step.as_str().contains('[')
}

/// A line for each tenth of the items that are over, or made good, and one for the last.
fn counted(progress: &Progress, step: &StepPath, event: &Event) -> Option<(String, String)> {
    let over = matches!(event, Event::AttemptCompleted(_) | Event::StepCompleted { .. });
    let made_good = step.compensated().is_some();
    let row = progress.rows.of(step).filter(|row| over && (row.is_fan() || made_good))?;
    let done = if made_good { row.counts.completed } else { row.counts.done() };
    let (total, tenth) = (row.total(), (row.total() / 10).max(1));
    // The last line of items that did not all end well comes when their step ends; what makes good
    // has no such end.
    let last = done == total && row.counts.failed > 0 && !made_good;
    if last || (total > 10 && done % tenth != 0 && done != total) {
        return None;
    }
    let failed = match row.counts.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let word = if made_good { "made good" } else { "done" };
    Some((row.key.clone(), format!("{done} of {total} {word}{failed}")))
}

fn brief(event: &Event) -> Option<String> {
    let untold = matches!(event, Event::AttemptScheduled(attempt) if attempt.attempt == 1)
        || matches!(event, Event::StepKept(kept) if is_untold(kept))
        || matches!(event, Event::StepExpanded(expanded) if expanded.offset > 0)
        || matches!(
            event,
            Event::AttemptTaken { .. }
                | Event::AttemptReleased { .. }
                | Event::StepStopping { .. }
                | Event::CheckpointSaved { .. }
                | Event::ParentNotified {}
                | Event::ReportIgnored(_)
        );
    (!untold).then(|| full(event))
}

fn is_untold(kept: &StepKept) -> bool {
    !kept.status.is_final() || kept.step.as_str().contains(['/', '['])
}

/// What is told of an item by itself: what went wrong with it, and what is done about that.
fn odd(event: &Event) -> Option<String> {
    let takes_over = matches!(event, Event::AttemptScheduled(attempt) if attempt.fallback);
    let odd = matches!(
        event,
        Event::AttemptFailed(_)
            | Event::AttemptLost { .. }
            | Event::StepFailed { .. }
            | Event::RunStuck { .. }
            | Event::CompensationSkipped { .. }
    );
    (odd || takes_over).then(|| full(event))
}

fn full(event: &Event) -> String {
    if event.step().is_some() { step_text(event) } else { run_text(event) }
}

fn run_text(event: &Event) -> String {
    match event {
        Event::RunStarted(run) => {
            let before = run.retry.as_ref().map(|retry| format!(", does over run {}", retry.run));
            let (digest, before) = (run.digest.short(), before.unwrap_or_default());
            format!("run of {} started (definition {digest}){before}", run.workflow)
        }
        Event::RunPaused { by } => paint(YELLOW, format!("paused by {by}")),
        Event::RunResumed { by } => format!("resumed by {by}"),
        Event::CancelRequested { reason } => paint(YELLOW, format!("cancelling: {reason}")),
        Event::RunCompleted { .. } => format!("run {}", paint(GREEN, "completed")),
        Event::RunFailed { failure } => {
            format!("run {}: {}", paint(RED, "failed"), why(failure))
        }
        Event::RunCancelled {} => format!("run {}", paint(YELLOW, "cancelled")),
        Event::UnwindStarted { failure: Some(failure) } => {
            format!("{} what was done: {}", paint(YELLOW, "making good"), why(failure))
        }
        Event::UnwindStarted { failure: None } => {
            format!("{} what was done", paint(YELLOW, "making good"))
        }
        Event::ParentNotified {} => "the parent run was told".to_owned(),
        Event::SignalReceived { name, payload, .. } => {
            format!("signal `{name}` received: {}", shown(payload))
        }
        Event::RunCompensated { .. }
        | Event::RunStuck { .. }
        | Event::CompensationSkipped { .. }
        | Event::DeadLetterDropped { .. }
        | Event::StepKept(_)
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
        | Event::StepCompleted { .. }
        | Event::StepStopping { .. }
        | Event::StepFailed { .. }
        | Event::StepCancelled { .. } => String::new(),
    }
}

#[expect(clippy::too_many_lines, reason = "a table with a line for each kind of event")]
fn step_text(event: &Event) -> String {
    match event {
        Event::StepKept(kept) => kept_text(kept),
        Event::StepSkipped { reason, .. } => {
            paint(DIM, format!("skipped: {}", human::skipped(reason)))
        }
        Event::StepExpanded(event) => expanded(event),
        Event::GroupStarted { .. } => "group started".to_owned(),
        Event::RestartDecided { failed, .. } => {
            paint(YELLOW, format!("{failed} failed: starts it again"))
        }
        Event::StepRestarted { .. } => paint(YELLOW, "starts again"),
        Event::RestartsExhausted { failed, .. } => {
            paint(RED, format!("{failed} failed once too often: the group stops"))
        }
        Event::GroupRestarted { round, .. } => {
            paint(YELLOW, format!("group starts over, round {round}"))
        }
        Event::WaitStarted(wait) => waiting(wait),
        Event::ChildStarted(child) => format!("starts run {}", child.child),
        Event::AttemptScheduled(attempt) if attempt.fallback => {
            let number = attempt.attempt;
            format!("{}: attempt {number} scheduled", paint(YELLOW, "the fallback takes over"))
        }
        Event::AttemptScheduled(attempt) => format!("attempt {} scheduled", attempt.attempt),
        Event::AttemptTaken { attempt, agent, .. } => {
            format!("attempt {attempt} is in the hands of {}", paint(CYAN, agent))
        }
        Event::AttemptReleased { attempt, agent, .. } => {
            format!("attempt {attempt} was given back by {agent}")
        }
        Event::CheckpointSaved { attempt, .. } => format!("attempt {attempt} left a checkpoint"),
        Event::AttemptCompleted(done) => completed(done),
        Event::AttemptFailed(failed) => {
            let by = failed.agent.as_ref().map(|agent| format!(" at {agent}")).unwrap_or_default();
            let words = format!("attempt {} failed{by}", failed.attempt);
            let doubt = if failed.in_doubt { "; somebody may have begun it" } else { "" };
            format!("{}: {}{doubt}", paint(YELLOW, words), why(&failed.failure))
        }
        Event::AttemptLost { attempt, cause, .. } => {
            paint(YELLOW, format!("attempt {attempt} was lost: {cause}"))
        }
        Event::ReportIgnored(report) => {
            let why = format!("{:?}", report.reason).to_lowercase();
            format!("a {why} report of attempt {} by {} was ignored", report.attempt, report.agent)
        }
        Event::RunStuck { failure, .. } => {
            format!("{}: {}", paint(RED, "the run is stuck"), why(failure))
        }
        Event::CompensationSkipped { by, .. } => format!("taken as done, says {by}"),
        Event::DeadLetterDropped { by, .. } => format!("dead letter dropped by {by}"),
        Event::StepCompleted { .. } => paint(GREEN, "completed"),
        Event::StepStopping { .. } => paint(YELLOW, "stopping"),
        Event::StepFailed { failure, .. } => {
            format!("{}: {}{}", paint(RED, "failed"), why(failure), human::untouched(event))
        }
        Event::StepCancelled { reason, .. } => {
            let why = human::cancelled(*reason);
            paint(YELLOW, format!("stopped: {why}{}", human::untouched(event)))
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
        | Event::ParentNotified {}
        | Event::SignalReceived { .. } => String::new(),
    }
}

/// Says how a run ended that makes good what it did when it fails: some have done nothing.
fn compensated(progress: &Progress, failure: &Failure) -> String {
    let how = match (progress.unwinding.has_begun(), progress.unwinding.by_other_means()) {
        (false, _) => ", there was nothing to make good".to_owned(),
        (true, 0) => " and was made good".to_owned(),
        (true, steps) => {
            format!(" and was made good, {} by other means", human::count(steps, "step"))
        }
    };
    format!("run {}{how}: {}", paint(RED, "failed"), why(failure))
}

fn kept_text(kept: &StepKept) -> String {
    let attempt = kept.attempt;
    match kept.status.is_final() {
        true => paint(DIM, format!("{}, kept from the run before", kept.status)),
        false => paint(DIM, format!("runs again, after attempt {attempt} in the run before")),
    }
}

fn why(failure: &Failure) -> String {
    human::short_lines(&failure.to_string())
}

fn expanded(event: &StepExpanded) -> String {
    if event.offset > 0 {
        let last = event.offset as usize + event.items.len();
        return format!("items {} to {last}", event.offset);
    }
    format!("fans out to {}", human::count(event.total as usize, "item"))
}

fn waiting(wait: &WaitStarted) -> String {
    let until = wait.until.map(|at| format!(" until {}", human::date_and_time(at)));
    let until = until.unwrap_or_default();
    match &wait.waiting_for {
        WaitingFor::Time => format!("waits{until}"),
        WaitingFor::Signal(name) => format!("waits for the signal `{name}`{until}"),
    }
}

fn completed(done: &AttemptCompleted) -> String {
    let took = human::duration(Duration::from_millis(done.duration_ms));
    let again = match done.attempt {
        1 => String::new(),
        number => format!(", attempt {number}"),
    };
    format!("{} in {took} by {}{again}", paint(GREEN, "completed"), done.agent)
}

fn shown(payload: &Payload) -> String {
    match payload.text() {
        Some(text) => human::first_line(text, 80),
        None => format!("{} bytes", payload.size()),
    }
}
