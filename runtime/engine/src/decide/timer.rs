//! The time of a timer has come.

use skep_protocol::{CancelReason, Event, Failure, FailureKind, SkipReason};
use skep_workflow::{OnTimeout, StepKind};

use super::attempt::given_up;
use crate::desk::Desk;
use crate::frontier::deadline_passed;
use crate::run::step::Phase;
use crate::run::{NodeId, Run};
use crate::wake::TimerReason;

/// Decides what follows from a timer that is due.
pub(crate) fn timer(run: &Run, id: NodeId, reason: TimerReason, desk: &Desk<'_>) -> Event {
    let step = run.path(id);
    match reason {
        TimerReason::Timeout => match run.node(id).phase {
            Phase::Child { .. } => Event::StepStopping { step, reason: CancelReason::Timeout },
            Phase::Pending
            | Phase::Scheduled { .. }
            | Phase::Taken { .. }
            | Phase::Retrying(_)
            | Phase::Waiting { .. }
            | Phase::Expanded(_)
            | Phase::Group { .. }
            | Phase::Completed
            | Phase::Failed
            | Phase::Skipped { .. }
            | Phase::Cancelled => attempt_failed(run, id, timed_out(run, id), desk),
        },
        TimerReason::QueueTimeout => {
            let bound = run.work(id).queue_timeout.unwrap_or_default();
            let message = format!("no agent took the task within {bound:?}");
            let failure = Failure::new(FailureKind::QueueTimeout, "queue_timeout", message);
            // Another attempt would only join the same queue.
            attempt_failed(run, id, failure.fatal(), desk)
        }
        TimerReason::RetryWithin => attempt_failed(run, id, not_within(run, id), desk),
        TimerReason::Deadline if run.is_to_come(id, desk.now) => {
            Event::StepFailed { step, failure: deadline_passed(run, id), untouched: false }
        }
        TimerReason::Deadline => match run.node(id).phase {
            Phase::Child { .. } | Phase::Expanded(_) | Phase::Group { .. } => {
                Event::StepStopping { step, reason: CancelReason::Deadline }
            }
            Phase::Pending
            | Phase::Scheduled { .. }
            | Phase::Taken { .. }
            | Phase::Retrying(_)
            | Phase::Waiting { .. }
            | Phase::Completed
            | Phase::Failed
            | Phase::Skipped { .. }
            | Phase::Cancelled => {
                let (failure, untouched) = (deadline_passed(run, id), desk.is_untouched(run, id));
                Event::StepFailed { step, failure, untouched }
            }
        },
        TimerReason::Wait => Event::StepCompleted { step, output: None, signal: None },
        TimerReason::SignalTimeout => signal_timeout(run, id),
    }
}

/// Returns the failure of an attempt that took too long.
pub(super) fn timed_out(run: &Run, id: NodeId) -> Failure {
    let bound = run.work(id).timeout.unwrap_or_default();
    let message = format!("the attempt took longer than its timeout of {bound:?}");
    Failure::new(FailureKind::Timeout, "timeout", message)
}

/// Returns the failure of an attempt that nobody took before the time for attempts was over.
fn not_within(run: &Run, id: NodeId) -> Failure {
    let bound = run.work(id).retry.within.unwrap_or_default();
    let before = run.node(id).failure.as_deref();
    let before = before.map(|before| format!("; before: {}: {}", before.code, before.message));
    let message = format!(
        "no agent took the attempt within {bound:?} of the first one, as `retry` wants{}",
        before.unwrap_or_default()
    );
    Failure::new(FailureKind::QueueTimeout, "retry_within", message).fatal().bounded()
}

fn attempt_failed(run: &Run, id: NodeId, failure: Failure, desk: &Desk<'_>) -> Event {
    let agent = run.node(id).phase.taker().cloned();
    given_up(run, id, (agent, failure), desk)
}

fn signal_timeout(run: &Run, id: NodeId) -> Event {
    let step = run.path(id);
    let (name, on_timeout) = match run.definition(id).kind() {
        StepKind::Signal { name, on_timeout, .. } => (name.as_str(), *on_timeout),
        StepKind::Agent { .. }
        | StepKind::Workflow { .. }
        | StepKind::Wait(_)
        | StepKind::Group => ("", OnTimeout::Fail),
    };
    match on_timeout {
        OnTimeout::Fail => {
            let message = match run.kept_signals(name) {
                0 => format!("no signal `{name}` came in time"),
                1 => format!("the `if` did not hold for the signal `{name}` that came"),
                many => format!("the `if` held for none of the {many} signals `{name}` that came"),
            };
            let failure = Failure::new(FailureKind::SignalTimeout, "signal_timeout", message);
            Event::StepFailed { step, failure: failure.fatal(), untouched: false }
        }
        OnTimeout::Skip => Event::StepSkipped { step, reason: SkipReason::SignalTimeout },
        OnTimeout::Continue => Event::StepCompleted { step, output: None, signal: None },
    }
}
