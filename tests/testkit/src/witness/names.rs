//! Records in the words of coverage and traces.

use skep_protocol::{BreakerPhase, BreakerRecord, Event, FailureKind, IgnoreReason, Record};

/// Returns the name of a record: a point that some simulation has to reach.
pub(super) fn of(record: &Record) -> &'static str {
    match record {
        Record::OwnerChanged(changed) if changed.epoch > 1 => "partition taken over",
        Record::OwnerChanged(_) => "partition owned first",
        Record::WorkflowAdded(_) => "definition added",
        Record::Run(record) => event(&record.event),
    }
}

/// Returns the name of what became of a breaker.
pub(super) const fn of_breaker(breaker: &BreakerRecord) -> &'static str {
    match breaker.phase {
        BreakerPhase::Closed => "breaker closed",
        BreakerPhase::Open => "breaker open",
        BreakerPhase::HalfOpen => "breaker half-open",
        BreakerPhase::Closing => "breaker closing",
    }
}

fn event(event: &Event) -> &'static str {
    match event {
        Event::RunStarted(started) if started.parent.is_some() => "child run started",
        Event::RunStarted(started) if started.retry.is_some() => "run retried",
        Event::RunStarted(_) => "run started",
        Event::RunPaused { .. } => "run paused",
        Event::RunResumed { .. } => "run resumed",
        Event::CancelRequested { .. } => "cancel requested",
        Event::RunCompleted { .. } => "run completed",
        Event::RunFailed { .. } => "run failed",
        Event::RunCancelled {} => "run cancelled",
        Event::UnwindStarted { .. } => "unwinding started",
        Event::RunCompensated { .. } => "run compensated",
        Event::RunStuck { .. } => "run stuck",
        Event::CompensationSkipped { .. } => "compensation skipped",
        Event::RestartDecided { .. } => "restart decided",
        Event::StepRestarted { .. } => "step restarted",
        Event::RestartsExhausted { .. } => "restarts exhausted",
        Event::DeadLetterDropped { .. } => "dead letter dropped",
        Event::ParentNotified {} => "parent notified",
        Event::SignalReceived { .. } => "signal received",
        Event::StepKept(kept) if kept.status.is_final() => "step kept",
        Event::StepKept(_) => "step to run again",
        Event::StepSkipped { .. } => "step skipped",
        Event::StepExpanded(_) => "step expanded",
        Event::GroupStarted { .. } => "group started",
        Event::GroupRestarted { .. } => "group restarted",
        Event::WaitStarted(_) => "wait started",
        Event::ChildStarted(_) => "child started",
        Event::AttemptScheduled(scheduled) if scheduled.fallback => "fallback scheduled",
        Event::AttemptScheduled(scheduled) if scheduled.attempt > 1 => "attempt scheduled again",
        Event::AttemptScheduled(_) => "attempt scheduled",
        Event::AttemptTaken { .. } => "attempt taken",
        Event::AttemptReleased { .. } => "attempt released",
        Event::CheckpointSaved { .. } => "checkpoint saved",
        Event::AttemptCompleted(_) => "attempt completed",
        Event::AttemptFailed(failed) if failed.failure.kind == FailureKind::Stalled => {
            "attempt stalled"
        }
        Event::AttemptFailed(failed) if failed.failure.kind == FailureKind::BreakerOpen => {
            "attempt refused by a breaker"
        }
        Event::AttemptFailed(failed) if failed.in_doubt => "attempt failed in doubt",
        Event::AttemptFailed(_) => "attempt failed",
        Event::AttemptLost { .. } => "attempt lost",
        Event::ReportIgnored(ignored) => match ignored.reason {
            IgnoreReason::Stale => "report stale",
            IgnoreReason::Duplicate => "report duplicate",
            IgnoreReason::Unknown => "report unknown",
        },
        Event::StepCompleted { .. } => "step completed",
        Event::StepStopping { .. } => "step stopping",
        Event::StepFailed { untouched: true, .. }
        | Event::StepCancelled { untouched: true, .. } => "step ended untouched",
        Event::StepFailed { .. } => "step failed",
        Event::StepCancelled { .. } => "step cancelled",
    }
}

/// Returns a record as a line for people.
pub(super) fn line(record: &Record) -> String {
    match record {
        Record::OwnerChanged(changed) => {
            format!("owner {} epoch {}", changed.coordinator, changed.epoch)
        }
        Record::WorkflowAdded(added) => format!("definition {}", added.digest),
        Record::Run(record) => {
            let json = serde_json::to_string(&record.event).unwrap_or_default();
            format!("{} {}", record.run, json)
        }
    }
}
