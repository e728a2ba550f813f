//! How large records are in a journal: one that no message takes must not come into being.

use skep_protocol::limits::MAX_RECORD_BYTES;
use skep_protocol::{
    AttemptFailed, ChildStarted, Event, Failure, FailureKind, Payload, Record, RunStarted,
    SkipReason, StepKept, StoredText, WaitStarted, WaitingFor, encode,
};

/// What ids, numbers and the names of fields take at most.
const FIXED: usize = 1024;
/// The reference to a large value.
const REFERENCE: usize = 160;
/// A byte of a text may become six.
const ESCAPED: usize = 6;

/// Returns the size of a record if it is too large for a journal.
pub(crate) fn excess(record: &Record) -> Option<usize> {
    if at_most(record) <= MAX_RECORD_BYTES {
        return None;
    }
    let size = encode(record).len();
    (size > MAX_RECORD_BYTES).then_some(size)
}

/// Lets events pass if each of them fits into a journal; else all of them give way to the failure
/// of whatever they are about.
pub(crate) fn bounded(events: Vec<Event>, failed: impl FnOnce(Failure) -> Event) -> Vec<Event> {
    let Some(size) = events.iter().map(of).find(|size| *size > MAX_RECORD_BYTES) else {
        return events;
    };
    let message = format!("a record of {size} bytes is needed, {MAX_RECORD_BYTES} is the limit");
    vec![failed(Failure::new(FailureKind::Limit, "record_size", message).fatal())]
}

/// Returns a size that the JSON of a record does not exceed; the work does not grow with it.
fn at_most(record: &Record) -> usize {
    match record {
        Record::OwnerChanged(_) => FIXED,
        Record::WorkflowAdded(added) => FIXED + stored(&added.source),
        Record::Run(record) => of(&record.event),
    }
}

/// Returns a size that the JSON of an event does not exceed.
pub(crate) fn of(event: &Event) -> usize {
    FIXED + carried(event)
}

/// Returns the same for what an event carries beside ids and numbers.
pub(crate) fn carried(event: &Event) -> usize {
    let path = event.step().map_or(0, |step| text(step.as_str()));
    let more = match event {
        Event::RunStarted(started) => of_start(started),
        Event::RunPaused { by }
        | Event::RunResumed { by }
        | Event::DeadLetterDropped { by, .. }
        | Event::CompensationSkipped { by, .. } => text(by),
        Event::CancelRequested { reason } => text(reason),
        Event::RunCompleted { outputs } => payload(outputs),
        Event::RunFailed { failure: of }
        | Event::RunCompensated { failure: of }
        | Event::RunStuck { failure: of, .. }
        | Event::StepFailed { failure: of, .. } => failure(of),
        Event::UnwindStarted { failure: of } => of.as_ref().map_or(0, failure),
        Event::SignalReceived { name, payload: with, .. } => text(name) + payload(with),
        Event::StepSkipped { reason: SkipReason::Upstream(step), .. }
        | Event::RestartDecided { failed: step, .. }
        | Event::RestartsExhausted { failed: step, .. } => text(step.as_str()),
        Event::StepKept(kept) => {
            let StepKept { output, item, .. } = &**kept;
            output.iter().chain(item).map(payload).sum()
        }
        Event::StepExpanded(expanded) => expanded.items.iter().map(payload).sum(),
        Event::WaitStarted(WaitStarted { waiting_for: WaitingFor::Signal(name), .. }) => text(name),
        Event::ChildStarted(started) => {
            let ChildStarted { inputs, .. } = &**started;
            payload(inputs)
        }
        Event::AttemptScheduled(scheduled) => scheduled.input.as_ref().map_or(0, payload),
        Event::CheckpointSaved { checkpoint, .. } => payload(checkpoint),
        Event::AttemptCompleted(completed) => payload(&completed.output),
        Event::AttemptFailed(AttemptFailed { failure: of, .. }) => failure(of),
        Event::AttemptLost { cause, .. } => text(cause),
        Event::StepCompleted { output, .. } => output.as_ref().map_or(0, payload),
        Event::RunCancelled {}
        | Event::ParentNotified {}
        | Event::StepSkipped { .. }
        | Event::GroupStarted { .. }
        | Event::GroupRestarted { .. }
        | Event::StepRestarted { .. }
        | Event::WaitStarted(_)
        | Event::AttemptTaken { .. }
        | Event::AttemptReleased { .. }
        | Event::ReportIgnored(_)
        | Event::StepStopping { .. }
        | Event::StepCancelled { .. } => 0,
    };
    path + more
}

fn of_start(started: &RunStarted) -> usize {
    let RunStarted { workflow, version, inputs, pinned, parent, labels, retry, .. } = started;
    let pinned: usize = pinned.keys().map(|name| text(name) + 80).sum();
    let labels: usize = labels.iter().map(|(name, value)| text(name) + text(value) + 8).sum();
    let parent = parent.as_ref().map_or(0, |parent| text(parent.step.as_str()));
    let version = version.as_deref().map_or(0, text);
    let retry = retry.as_ref().map_or(0, |retry| {
        let from = retry.from.as_ref().map_or(0, |from| text(from.as_str()));
        from + text(&retry.by) + retry.kept.as_ref().map_or(0, payload)
    });
    text(workflow) + version + payload(inputs) + pinned + parent + labels + retry
}

fn failure(failure: &Failure) -> usize {
    text(&failure.code) + text(&failure.message) + failure.details.as_ref().map_or(0, payload)
}

fn stored(source: &StoredText) -> usize {
    text(source.as_str())
}

fn text(text: &str) -> usize {
    text.len().saturating_mul(ESCAPED)
}

pub(crate) fn payload(payload: &Payload) -> usize {
    payload.text().map_or(REFERENCE, str::len) + 32
}

#[cfg(test)]
mod tests {
    use skep_protocol::{
        AgentId, Parent, Record, RetryOf, RunId, RunRecord, StepPath, StepStatus, Timestamp,
        WorkflowAdded,
    };

    use super::*;

    fn check(event: Event) {
        let run = RunId::from_key("w", "k");
        let (most, at) = (of(&event), Timestamp::from_millis(u64::MAX));
        let size = encode(&Record::Run(RunRecord { run, at, event })).len();
        assert!(size <= most, "{size} bytes, not {most}");
    }

    #[test]
    fn no_record_is_larger_than_is_said() {
        let control = "\u{1}".repeat(5_000);
        let agent = AgentId::new(&"a".repeat(64)).unwrap();
        let failure = Failure::new(FailureKind::Agent, &control, control.clone());
        let step = StepPath::new(&control);
        let payload = Payload::encode(&control).unwrap();
        let (attempt, agent) = (u32::MAX, agent);
        check(Event::CancelRequested { reason: control.clone() });
        check(Event::RunFailed { failure: failure.clone() });
        check(Event::SignalReceived {
            name: control.clone(),
            id: "s".parse().unwrap(),
            payload: payload.clone(),
        });
        check(Event::AttemptTaken { step: step.clone(), attempt, agent: agent.clone() });
        let (of, agent, duration_ms) = (step.clone(), Some(agent), Some(u64::MAX));
        let failed =
            AttemptFailed { step: of, attempt, agent, failure, in_doubt: false, duration_ms };
        check(Event::AttemptFailed(failed));
        check(Event::StepSkipped {
            step: step.clone(),
            reason: SkipReason::Upstream(step.clone()),
        });
        let names = || (0..50).map(|number| format!("{control}{number}"));
        check(Event::RunStarted(Box::new(RunStarted {
            workflow: control.clone(),
            version: Some(control.clone()),
            digest: skep_protocol::Hash::ZERO,
            inputs: payload.clone(),
            pinned: names().map(|name| (name, skep_protocol::Hash::ZERO)).collect(),
            parent: Some(Parent { run: RunId::from_key("w", "k"), step: step.clone(), attempt }),
            depth: 7,
            labels: names().map(|name| (name.clone(), name)).collect(),
            steps: Some(u32::MAX),
            retry: Some(Box::new(RetryOf {
                run: RunId::from_key("w", "k"),
                from: Some(step.clone()),
                only: true,
                by: control.clone(),
                kept: Some(payload.clone()),
                facts: u32::MAX,
            })),
        })));
        check(Event::StepKept(Box::new(StepKept {
            step,
            status: StepStatus::Completed,
            attempt,
            deed: true,
            output: Some(payload.clone()),
            item: Some(payload),
            origin: Some(RunId::from_key("w", "k")),
            items: Some(u32::MAX),
        })));
    }

    #[test]
    fn what_would_not_fit_fails_what_it_is_about() {
        let scheduled = |len: usize| {
            let step = StepPath::new("a");
            let not_before = Timestamp::EPOCH;
            let input = Some(Payload::encode(&"x".repeat(len)).unwrap());
            let event = skep_protocol::AttemptScheduled {
                step,
                attempt: 1,
                not_before,
                input,
                fallback: false,
            };
            vec![Event::AttemptScheduled(event)]
        };
        let bounded = |events| {
            bounded(events, |failure| {
                let step = StepPath::new("a");
                Event::StepFailed { step, failure, untouched: false }
            })
        };
        assert_eq!(bounded(scheduled(7)), scheduled(7));
        let Event::StepFailed { failure, .. } = bounded(scheduled(MAX_RECORD_BYTES)).remove(0)
        else {
            panic!("it was let pass");
        };
        assert_eq!((failure.kind, failure.retryable), (FailureKind::Limit, false));
    }

    #[test]
    fn what_fits_is_measured_and_not_guessed() {
        let added = |text: String| {
            let digest = skep_protocol::Hash::ZERO;
            Record::WorkflowAdded(WorkflowAdded { digest, source: StoredText::new(text) })
        };
        // Compressed, the largest definition is small; unless it is noise.
        assert_eq!(excess(&added("x".repeat(1 << 20))), None);
        let mut noise = String::new();
        let mut hash = skep_protocol::Hash::of(b"noise");
        while noise.len() < 1 << 20 {
            hash = skep_protocol::Hash::of(hash.as_bytes());
            noise.extend(hash.as_bytes().iter().map(|byte| char::from(32 + byte % 90)));
        }
        assert!(excess(&added(noise)).is_some());
    }
}
