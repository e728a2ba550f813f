//! Records, replies and effects as short lines.

use skep_engine::{Change, Effect, EffectKey, Handled, Reply};
use skep_protocol::{
    CancelReason, ChildOutcome, CommandReply, Event, Failure, Payload, Record, SkipReason,
    StepKept, Timestamp, Verdict, WaitingFor, WaitingView,
};

use crate::world::START;

pub(crate) fn time(at: Timestamp) -> String {
    if at < START {
        return "at once".to_owned();
    }
    match at.since(START).as_millis() {
        ms if ms % 1000 == 0 => format!("t+{}s", ms / 1000),
        ms => format!("t+{ms}ms"),
    }
}

fn failure(failure: &Failure) -> String {
    let Failure { kind, code, message, retryable, only_here, retry_after_ms, details } = failure;
    let mut text = format!("{kind:?} {code}: {message}");
    if !retryable {
        text.push_str(" (final)");
    }
    if *only_here {
        text.push_str(" (only here)");
    }
    if let Some(ms) = retry_after_ms {
        text.push_str(&format!(" (retry after {ms}ms)"));
    }
    if let Some(details) = details {
        text.push_str(&format!(" {details:?}"));
    }
    text
}

pub(crate) fn reply(handled: &Handled) -> Option<String> {
    Some(match handled.reply.as_ref()? {
        Reply::Command(CommandReply::Done {}) => "done".to_owned(),
        Reply::Command(CommandReply::Started { existing: false, .. }) => "started".to_owned(),
        Reply::Command(CommandReply::Started { existing: true, .. }) => "exists".to_owned(),
        Reply::Command(CommandReply::Rejected(rejection)) => format!("rejected: {rejection}"),
        Reply::Command(reply) => format!("{reply:?}"),
        Reply::Verdict(Verdict::Applied) => "applied".to_owned(),
        Reply::Verdict(Verdict::Ignored(reason)) => format!("ignored: {reason:?}").to_lowercase(),
        Reply::Verdict(Verdict::Rejected(problem)) => format!("rejected: {problem}"),
        Reply::NeedsBlob(blob) => format!("needs a value of {} bytes", blob.size),
    })
}

pub(crate) fn record(record: &Record) -> String {
    match record {
        Record::OwnerChanged(changed) => format!("OwnerChanged epoch {}", changed.epoch),
        Record::WorkflowAdded(_) => "WorkflowAdded".to_owned(),
        Record::Run(record) => event(&record.event),
    }
}

fn skip(reason: &SkipReason) -> String {
    match reason {
        SkipReason::Condition => "its condition is false".to_owned(),
        SkipReason::Upstream(step) => format!("{step} did not complete"),
        SkipReason::Join => "too few of its needs completed".to_owned(),
        SkipReason::SignalTimeout => "no signal came".to_owned(),
        SkipReason::Stopping => "stopping".to_owned(),
    }
}

fn cancel(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::RunCancelled => "the run is cancelled",
        CancelReason::Stopping => "stopping",
        CancelReason::Deadline => "deadline",
        CancelReason::Timeout => "timeout",
        CancelReason::Restart => "restart",
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::StepKept(e) => kept(e),
        Event::RunStarted(e) => format!("RunStarted {} {:?}", e.workflow, e.inputs),
        Event::RunPaused { by } => format!("RunPaused by {by}"),
        Event::RunResumed { by } => format!("RunResumed by {by}"),
        Event::CancelRequested { reason } => format!("CancelRequested: {reason}"),
        Event::RunCompleted { outputs } => format!("RunCompleted {outputs:?}"),
        Event::RunFailed { failure: f } => format!("RunFailed {}", failure(f)),
        Event::RunCancelled {} => "RunCancelled".to_owned(),
        Event::UnwindStarted { failure: f } => {
            let why = f.as_ref().map_or_else(String::new, |f| format!(" {}", failure(f)));
            format!("UnwindStarted{why}")
        }
        Event::RunCompensated { failure: f } => format!("RunCompensated {}", failure(f)),
        Event::RunStuck { step, failure: f } => format!("RunStuck {step} {}", failure(f)),
        Event::CompensationSkipped { step, by } => format!("CompensationSkipped {step} by {by}"),
        Event::DeadLetterDropped { step, by } => format!("DeadLetterDropped {step} by {by}"),
        Event::ParentNotified {} => "ParentNotified".to_owned(),
        Event::SignalReceived { name, id, payload } => {
            format!("SignalReceived {name} {id} {payload:?}")
        }
        Event::StepSkipped { step, reason } => format!("StepSkipped {step}: {}", skip(reason)),
        Event::StepExpanded(e) => {
            format!("StepExpanded {} {}/{} {:?}", e.step, e.offset, e.total, e.items)
        }
        Event::GroupStarted { step } => format!("GroupStarted {step}"),
        Event::RestartDecided { step, failed } => format!("RestartDecided {step}: {failed} failed"),
        Event::StepRestarted { step, not_before } => {
            let not_before = not_before.map(|at| format!(" {}", time(at)));
            format!("StepRestarted {step}{}", not_before.unwrap_or_default())
        }
        Event::RestartsExhausted { step, failed } => {
            format!("RestartsExhausted {step}: {failed} failed")
        }
        Event::GroupRestarted { step, round, not_before } => {
            format!("GroupRestarted {step} round {round} {}", time(*not_before))
        }
        Event::WaitStarted(e) => {
            let what = match &e.waiting_for {
                WaitingFor::Time => "time".to_owned(),
                WaitingFor::Signal(name) => format!("signal {name}"),
            };
            let until = e.until.map(|until| format!(" until {}", time(until)));
            format!("WaitStarted {} for {what}{}", e.step, until.unwrap_or_default())
        }
        Event::ChildStarted(e) => {
            format!("ChildStarted {}#{} {} {:?}", e.step, e.attempt, time(e.not_before), e.inputs)
        }
        Event::AttemptScheduled(_)
        | Event::AttemptTaken { .. }
        | Event::AttemptReleased { .. }
        | Event::CheckpointSaved { .. }
        | Event::AttemptCompleted(_)
        | Event::AttemptFailed(_)
        | Event::AttemptLost { .. }
        | Event::ReportIgnored(_) => of_attempt(event),
        _ => of_step_end(event),
    }
}

fn kept(event: &StepKept) -> String {
    let StepKept { step, status, attempt, deed, origin, output, item, items } = event;
    let mut text = format!("StepKept {step}#{attempt} {status}");
    for (name, value) in [("output", output), ("item", item)] {
        text.push_str(&value.as_ref().map(|v| format!(" {name} {v:?}")).unwrap_or_default());
    }
    text.push_str(&items.map(|items| format!(" {items} items")).unwrap_or_default());
    text.push_str(if *deed { " did something" } else { "" });
    text.push_str(if origin.is_some() { " under its key" } else { "" });
    text
}

fn of_attempt(event: &Event) -> String {
    match event {
        Event::AttemptScheduled(e) => {
            let input = e.input.as_ref().map(|input| format!(" {input:?}"));
            let input = input.unwrap_or_default();
            {
                let fallback = if e.fallback { " by the fallback" } else { "" };
                let at = time(e.not_before);
                format!("AttemptScheduled {}#{} {at}{input}{fallback}", e.step, e.attempt)
            }
        }
        Event::AttemptTaken { step, attempt, agent } => {
            format!("AttemptTaken {step}#{attempt} {agent}")
        }
        Event::AttemptReleased { step, attempt, agent } => {
            format!("AttemptReleased {step}#{attempt} {agent}")
        }
        Event::CheckpointSaved { step, attempt, checkpoint } => {
            format!("CheckpointSaved {step}#{attempt} {checkpoint:?}")
        }
        Event::AttemptCompleted(e) => {
            format!("AttemptCompleted {}#{} {} {:?}", e.step, e.attempt, e.agent, e.output)
        }
        Event::AttemptFailed(e) => {
            let took = e.duration_ms.filter(|ms| *ms > 0);
            let took = took.map_or_else(String::new, |ms| format!(" after {ms} ms:"));
            let doubt = if e.in_doubt { " (in doubt)" } else { "" };
            format!("AttemptFailed {}#{}{took} {}{doubt}", e.step, e.attempt, failure(&e.failure))
        }
        Event::AttemptLost { step, attempt, cause, .. } => {
            format!("AttemptLost {step}#{attempt}: {cause}")
        }
        Event::ReportIgnored(e) => {
            format!("ReportIgnored {}#{} {} {:?}", e.step, e.attempt, e.agent, e.reason)
        }
        _ => unreachable!("{event:?}"),
    }
}

fn of_step_end(event: &Event) -> String {
    match event {
        Event::StepCompleted { step, output, signal } => {
            let output = output.as_ref().map(|output: &Payload| format!(" {output:?}"));
            let signal = signal.as_ref().map(|signal| format!(" by signal {signal}"));
            let (output, signal) = (output.unwrap_or_default(), signal.unwrap_or_default());
            format!("StepCompleted {step}{output}{signal}")
        }
        Event::StepStopping { step, reason } => format!("StepStopping {step}: {}", cancel(*reason)),
        Event::StepFailed { step, failure: f, .. } => {
            format!("StepFailed {step} {}{}", failure(f), untouched(event))
        }
        Event::StepCancelled { step, reason, .. } => {
            format!("StepCancelled {step}: {}{}", cancel(*reason), untouched(event))
        }
        _ => unreachable!("{event:?}"),
    }
}

fn untouched(event: &Event) -> &'static str {
    if event.leaves_untouched() { ", untouched" } else { "" }
}

pub(crate) fn change(change: &Change) -> String {
    match change {
        Change::Owed(effect) => format!("+ {}", owed(effect)),
        Change::Settled(key) => format!("- {}", settled(key)),
        Change::Withheld(attempt) => format!("~ withhold {}#{}", attempt.step, attempt.attempt),
    }
}

fn owed(effect: &Effect) -> String {
    match effect {
        Effect::OfferTask(offer) => {
            let task = offer.task();
            let mut text = format!("offer {}#{} to {}", task.step, task.attempt, task.capability);
            let mut more = |what: String| text.push_str(&format!(", {what}"));
            if offer.not_before > START {
                more(format!("from {}", time(offer.not_before)));
            }
            if let Some(agent) = &offer.terms.taken_by {
                more(format!("taken by {agent}"));
            }
            if task.priority != 5 {
                more(format!("priority {}", task.priority));
            }
            if let Some(deadline) = task.deadline {
                more(format!("deadline {}", time(deadline)));
            }
            if let Some(checkpoint) = &task.checkpoint {
                more(format!("checkpoint {checkpoint:?}"));
            }
            if !task.labels.is_empty() || !offer.spec.prefer.is_empty() {
                more(format!("labels {:?} {:?}", task.labels, offer.spec.prefer));
            }
            text
        }
        Effect::StartChild { start, not_before } => {
            let parent = start.parent.as_ref().unwrap();
            let at = time(*not_before);
            format!("start child of {}#{} {at} {:?}", parent.step, parent.attempt, start.inputs)
        }
        Effect::CancelChild { reason, .. } => format!("cancel child: {reason}"),
        Effect::NotifyParent { parent, outcome, .. } => {
            let outcome = match &**outcome {
                ChildOutcome::Completed(outputs) => format!("completed {outputs:?}"),
                ChildOutcome::Failed(f) => format!("failed {}", failure(f)),
                ChildOutcome::Compensated(f) => format!("compensated {}", failure(f)),
                ChildOutcome::Cancelled { left: false } => "cancelled".to_owned(),
                ChildOutcome::Cancelled { left: true } => "cancelled left".to_owned(),
            };
            format!("notify {}#{}: {outcome}", parent.step, parent.attempt)
        }
        Effect::FetchBlob { blob } => format!("fetch {} bytes", blob.size),
    }
}

fn settled(key: &EffectKey) -> String {
    match key {
        EffectKey::Attempt(attempt) => format!("offer {}#{}", attempt.step, attempt.attempt),
        EffectKey::StartChild(_) => "start child".to_owned(),
        EffectKey::CancelChild(_) => "cancel child".to_owned(),
        EffectKey::Parent(_) => "notify".to_owned(),
        EffectKey::Blob(_) => "fetch".to_owned(),
    }
}

/// Returns what a step waits for.
pub(crate) fn waiting(view: &WaitingView) -> String {
    let mut text = format!("{}: {}", view.step, view.reason);
    if view.alike > 0 {
        text.push_str(&format!(", as do {} more", view.alike));
    }
    if let Some(step) = &view.waits_for {
        text.push_str(&format!(" <- {step}"));
    }
    view.and_for.iter().for_each(|step| text.push_str(&format!(", {step}")));
    if let Some(signal) = &view.signal {
        text.push_str(&format!(" [signal {signal}]"));
    }
    if let Some(cause) = &view.cause {
        text.push_str(&format!(" [{cause:?}]"));
    }
    text
}
