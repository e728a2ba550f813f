//! Commands about a run that is there.

use skep_protocol::limits::{MAX_COMMAND_TEXT, MAX_NAME_LEN};
use skep_protocol::{Event, Payload, Rejection, RunId, RunStatus, Signal, StepPath, unbearable};

use super::{Decision, live};
use crate::desk::Desk;
use crate::partition::Partition;
use crate::run::Run;

pub(super) fn cancel(
    partition: &Partition,
    run: RunId,
    reason: String,
    desk: &Desk<'_>,
) -> Decision {
    match live(partition, run) {
        Err(Rejection::RunAlreadyFinished { status: RunStatus::Cancelled, .. }) => Decision::done(),
        Err(rejection) => Decision::rejected(rejection),
        Ok(live) if live.state.cancelling.is_some() => Decision::done(),
        Ok(_) => {
            let event = Event::CancelRequested { reason: cut(reason) };
            Decision::done().event(run, event, desk)
        }
    }
}

pub(super) fn pause(partition: &Partition, run: RunId, by: String, desk: &Desk<'_>) -> Decision {
    match live(partition, run) {
        Err(rejection) => Decision::rejected(rejection),
        Ok(live) if live.state.paused => Decision::done(),
        Ok(_) => Decision::done().event(run, Event::RunPaused { by: cut(by) }, desk),
    }
}

pub(super) fn resume(partition: &Partition, run: RunId, by: String, desk: &Desk<'_>) -> Decision {
    match live(partition, run) {
        Err(rejection) => Decision::rejected(rejection),
        Ok(live) if !live.state.paused && !live.soft.unwinding.is_stuck() => Decision::done(),
        Ok(_) => Decision::done().event(run, Event::RunResumed { by: cut(by) }, desk),
    }
}

pub(super) fn skip(
    partition: &Partition,
    (run, step): (RunId, StepPath),
    by: String,
    desk: &Desk<'_>,
) -> Decision {
    match live(partition, run).map(|live| live.find_stuck(&step).map(|stuck| live.path(stuck))) {
        Err(rejection) => Decision::rejected(rejection),
        Ok(None) => {
            let step = StepPath::new(&cut(step.to_string()));
            Decision::rejected(Rejection::NotStuck { run, step })
        }
        Ok(Some(step)) => {
            let event = Event::CompensationSkipped { step, by: cut(by) };
            Decision::done().event(run, event, desk)
        }
    }
}

pub(super) fn drop(
    partition: &Partition,
    (run, steps): (RunId, Vec<StepPath>),
    by: String,
    desk: &Desk<'_>,
) -> Decision {
    if let (Some(_), Some(step)) = (partition.run(run), steps.first().cloned()) {
        return Decision::rejected(Rejection::NoDeadLetter { run, step });
    }
    let by = cut(by);
    steps.into_iter().fold(Decision::done(), |decision, step| {
        decision.event(run, Event::DeadLetterDropped { step, by: by.clone() }, desk)
    })
}

pub(super) fn signal(partition: &Partition, signal: Signal, desk: &Desk<'_>) -> Decision {
    let run = match live(partition, signal.run) {
        Ok(run) => run,
        Err(rejection) => return Decision::rejected(rejection),
    };
    let Signal { run: id, name, id: signal, payload } = signal;
    if run.state.signals.seen.contains(&signal) {
        return Decision::done();
    }
    if let Some(message) = refusal(run, &name, &payload) {
        return Decision::rejected(Rejection::LimitExceeded { message });
    }
    let payload = desk.bounded(payload);
    Decision::done().event(id, Event::SignalReceived { name, id: signal, payload }, desk)
}

/// Returns why a signal is not taken, if that is so.
fn refusal(run: &Run, name: &str, payload: &Payload) -> Option<String> {
    if name.is_empty() || name.len() > MAX_NAME_LEN {
        return Some(format!("the name of a signal has 1 to {MAX_NAME_LEN} bytes"));
    }
    if !run.has_room_for(name) {
        let early = run.state.signals.early.len();
        return Some(format!("the run keeps {early} signals that no step has asked for"));
    }
    unbearable("signal", payload)
}

pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_COMMAND_TEXT));
    text
}
