//! What is told to the outside: every span and every event of the log, by name.
//!
//! Each event of a journal is logged once, by its writer, when it is durable. Payloads never are.

use std::time::Duration;

use skep_engine::fleet::Post;
use skep_protocol::{
    AgentId, AttemptId, CoordinatorId, Event, PartitionId, Ration, Record, RunId, RunRecord, Seq,
    Verdict,
};
use tokio::task::JoinError;
use tracing::{Span, debug, error, info, info_span, trace, warn};

/// The span of everything that is done about one partition.
pub(crate) fn partition_span(partition: PartitionId, coordinator: &CoordinatorId) -> Span {
    info_span!("partition", partition = partition.get(), coordinator = %coordinator)
}

/// Another coordinator has the same name.
pub(crate) fn namesake(name: &str) {
    warn!(coordinator = name, "another coordinator has, or had until now, this name");
}

/// The owner of a partition says nothing any more.
pub(crate) fn hung(partition: PartitionId) {
    warn!(partition = partition.get(), "the owner of the partition hangs, or is cut off");
}

/// A partition is to be taken over.
pub(crate) fn vacant(partition: PartitionId) {
    debug!(partition = partition.get(), "nobody serves the partition");
}

/// The owner of a partition sends and answers nothing any more.
pub(crate) fn let_go(partition: PartitionId) {
    debug!(partition = partition.get(), "the partition can be taken over");
}

/// The new owner of a partition can be asked.
pub(crate) fn listens(partition: PartitionId) {
    debug!(partition = partition.get(), "listening as the owner of the partition");
}

/// What agents left while nobody owned a partition was decided.
pub(crate) fn backlog_decided(partition: PartitionId) {
    debug!(partition = partition.get(), "what was left for the owner of the partition is decided");
}

/// Another coordinator is to have a partition.
pub(crate) fn handed_over(partition: PartitionId) {
    info!(partition = partition.get(), "partition handed over");
}

/// A journal that was followed is known to its end.
pub(crate) fn caught_up(partition: PartitionId, seq: Seq) {
    debug!(partition = partition.get(), seq = seq.get(), "partition was followed to its end");
}

/// A message of the journal is durable.
pub(crate) fn committed(partition: PartitionId, seq: Seq, records: &[Record]) {
    debug!(
        partition = partition.get(),
        seq = seq.get(),
        records = records.len(),
        "journal message durable"
    );
    for record in records {
        match record {
            Record::OwnerChanged(changed) => info!(
                partition = partition.get(),
                seq = seq.get(),
                epoch = changed.epoch,
                coordinator = %changed.coordinator,
                "partition taken over"
            ),
            Record::WorkflowAdded(added) => debug!(
                partition = partition.get(),
                seq = seq.get(),
                digest = %added.digest,
                "definition added"
            ),
            Record::Run(record) => run_event(seq, record),
        }
    }
}

/// What goes well is told for who asks for it: at thousands of runs a second, two lines for each
/// would take a tenth of the time and hide all others.
fn run_event(seq: Seq, record: &RunRecord) {
    let (run_id, seq) = (record.run, seq.get());
    match &record.event {
        Event::RunStarted(started) => {
            debug!(%run_id, seq, workflow = started.workflow, "run started");
        }
        Event::RunCompleted { .. } => debug!(%run_id, seq, "run completed"),
        Event::RunFailed { failure } => info!(%run_id, seq, code = failure.code, "run failed"),
        Event::RunCancelled {} => info!(%run_id, seq, "run cancelled"),
        Event::UnwindStarted { .. } => info!(%run_id, seq, "run makes good what it did"),
        Event::RunCompensated { failure } => {
            info!(%run_id, seq, code = failure.code, "run compensated");
        }
        Event::RunStuck { step, failure } => {
            error!(%run_id, %step, seq, code = failure.code, "run stuck: it needs an operator");
        }
        Event::AttemptLost { step, attempt, cause, .. } => {
            warn!(%run_id, %step, attempt, seq, cause, "attempt lost");
        }
        Event::AttemptFailed(failed) => debug!(
            %run_id,
            step = %failed.step,
            attempt = failed.attempt,
            seq,
            code = failed.failure.code,
            "attempt failed"
        ),
        Event::RunPaused { .. }
        | Event::RunResumed { .. }
        | Event::CancelRequested { .. }
        | Event::CompensationSkipped { .. }
        | Event::ParentNotified {}
        | Event::DeadLetterDropped { .. }
        | Event::SignalReceived { .. }
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
        | Event::ReportIgnored(_)
        | Event::StepCompleted { .. }
        | Event::StepStopping { .. }
        | Event::StepFailed { .. }
        | Event::StepCancelled { .. } => match record.event.step() {
            Some(step) => debug!(%run_id, %step, seq, event = name(&record.event), "step event"),
            None => debug!(%run_id, seq, event = name(&record.event), "run event"),
        },
    }
}

/// A report is answered; of those that change nothing, not all leave a record.
pub(crate) fn answered(agent: &AgentId, attempt: &AttemptId, verdict: &Verdict) {
    trace!(agent_id = %agent, %attempt, ?verdict, "report answered");
}

/// The name of an event, as it is stored.
pub(crate) const fn name(event: &Event) -> &'static str {
    match event {
        Event::RunStarted(_) => "run_started",
        Event::RunPaused { .. } => "run_paused",
        Event::RunResumed { .. } => "run_resumed",
        Event::CancelRequested { .. } => "cancel_requested",
        Event::RunCompleted { .. } => "run_completed",
        Event::RunFailed { .. } => "run_failed",
        Event::RunCancelled {} => "run_cancelled",
        Event::UnwindStarted { .. } => "unwind_started",
        Event::RunCompensated { .. } => "run_compensated",
        Event::RunStuck { .. } => "run_stuck",
        Event::CompensationSkipped { .. } => "compensation_skipped",
        Event::ParentNotified {} => "parent_notified",
        Event::DeadLetterDropped { .. } => "dead_letter_dropped",
        Event::SignalReceived { .. } => "signal_received",
        Event::StepKept(_) => "step_kept",
        Event::StepSkipped { .. } => "step_skipped",
        Event::StepExpanded(_) => "step_expanded",
        Event::GroupStarted { .. } => "group_started",
        Event::GroupRestarted { .. } => "group_restarted",
        Event::RestartDecided { .. } => "restart_decided",
        Event::StepRestarted { .. } => "step_restarted",
        Event::RestartsExhausted { .. } => "restarts_exhausted",
        Event::WaitStarted(_) => "wait_started",
        Event::ChildStarted(_) => "child_started",
        Event::AttemptScheduled(_) => "attempt_scheduled",
        Event::AttemptTaken { .. } => "attempt_taken",
        Event::AttemptReleased { .. } => "attempt_released",
        Event::CheckpointSaved { .. } => "checkpoint_saved",
        Event::AttemptCompleted(_) => "attempt_completed",
        Event::AttemptFailed(_) => "attempt_failed",
        Event::AttemptLost { .. } => "attempt_lost",
        Event::ReportIgnored(_) => "report_ignored",
        Event::StepCompleted { .. } => "step_completed",
        Event::StepStopping { .. } => "step_stopping",
        Event::StepFailed { .. } => "step_failed",
        Event::StepCancelled { .. } => "step_cancelled",
    }
}

/// A partition was loaded from its journal.
pub(crate) fn loaded(partition: PartitionId, seq: Seq, snapshot: Option<Seq>, runs: usize) {
    let from = snapshot.map_or(0, Seq::get);
    info!(partition = partition.get(), seq = seq.get(), from, runs, "partition loaded");
}

/// Somebody else writes the journal of this partition.
pub(crate) fn replaced(partition: PartitionId, pause: Duration) {
    let (partition, pause_ms) = (partition.get(), pause.as_millis());
    warn!(partition, pause_ms, "partition taken over by somebody else, dropped");
}

/// A partition has an owner; this coordinator waits.
pub(crate) fn standing_by(partition: PartitionId) {
    debug!(partition = partition.get(), "partition has an owner, standing by");
}

/// What was decided cannot be stored; the partition is loaded again as it was before.
pub(crate) fn refused(partition: PartitionId, cause: &str) {
    error!(partition = partition.get(), cause, "append refused, partition loaded again");
}

/// The journal of a partition takes nothing in, or cannot be read.
pub(crate) fn stuck(partition: PartitionId, cause: &str) {
    error!(partition = partition.get(), cause, "journal stuck, partition waits for it");
}

/// A partition cannot go on.
pub(crate) fn stopped(partition: PartitionId, cause: &str) {
    error!(partition = partition.get(), cause, "partition stopped");
}

/// An append got no answer.
pub(crate) fn append_unknown(partition: PartitionId, expected: Seq, reason: &str) {
    warn!(partition = partition.get(), seq = expected.get(), reason, "append without an answer");
}

/// Something that is tried again did not work.
pub(crate) fn trying_again(what: &'static str, reason: &dyn std::fmt::Display) {
    warn!(what, %reason, "trying again");
}

/// Something did not work, and what is done later makes up for it.
pub(crate) fn given_up(what: &'static str, reason: &dyn std::fmt::Display) {
    warn!(what, %reason, "given up");
}

/// A snapshot that is there cannot be used.
pub(crate) fn bad_snapshot(partition: PartitionId, seq: Seq, reason: &str) {
    warn!(partition = partition.get(), seq = seq.get(), reason, "snapshot skipped");
}

/// A snapshot that was taken cannot be used: the journal is kept as it is.
pub(crate) fn unusable_snapshot(partition: PartitionId, seq: Seq, reason: &str) {
    error!(partition = partition.get(), seq = seq.get(), reason, "snapshot not kept");
}

/// A snapshot is kept.
pub(crate) fn snapshot_kept(partition: PartitionId, seq: Seq) {
    debug!(partition = partition.get(), seq = seq.get(), "snapshot kept");
}

/// The link to the broker came or went.
pub(crate) fn link(up: bool) {
    if up {
        info!("broker reachable");
    } else {
        warn!("broker unreachable: the silence of agents does not count");
    }
}

/// An agent answered a delivery in a way that nothing can be made of.
pub(crate) fn delivery_failed(agent: &AgentId, reason: &dyn std::fmt::Display) {
    debug!(agent_id = %agent, %reason, "delivery failed");
}

/// An agent cannot read what it was sent.
pub(crate) fn delivery_unread(agent: &AgentId, tasks: usize, cause: &str) {
    warn!(agent_id = %agent, tasks, cause, "an agent cannot read its tasks");
}

/// The read model cannot follow a journal.
pub(crate) fn read_model_stopped(partition: PartitionId, reason: &dyn std::fmt::Display) {
    error!(partition = partition.get(), %reason, "read model cannot follow the journal");
}

/// Messages of a journal were trimmed before the read model read them.
pub(crate) fn read_model_overtaken(partition: PartitionId, read: Seq, first: Seq) {
    let (partition, read, first) = (partition.get(), read.get(), first.get());
    warn!(partition, read, first, "journal trimmed beyond the read model");
}

/// A part of a run cannot be stored in the read model, or read, which goes on without it.
pub(crate) fn left_out(run_id: RunId, what: &'static str, reason: &dyn std::fmt::Display) {
    error!(%run_id, what, %reason, "left out of the read model");
}

/// The read model of this coordinator is in memory from now on, however large it gets.
pub(crate) fn no_temporary_file(reason: &dyn std::fmt::Display) {
    warn!(%reason, "no room for a temporary file: the read model is in memory");
}

/// A task of the coordinator ended in a way that no task should, unless all of them end with the
/// process.
pub(crate) fn task_died(what: &'static str, error: &JoinError) {
    if !error.is_cancelled() {
        error!(what, reason = %error, "task died");
    }
}

/// Work of the coordinator panicked.
pub(crate) fn panicked(what: &'static str) {
    error!(what, "it panicked");
}

/// An attempt makes no progress, and will be failed for that.
pub(crate) fn stalling(attempt: &AttemptId, agent: &AgentId, silent_for: Duration) {
    warn!(
        run_id = %attempt.run,
        step = %attempt.step,
        attempt = attempt.attempt,
        agent_id = %agent,
        silent_for_ms = silent_for.as_millis() as u64,
        "attempt makes no progress"
    );
}

/// An agent that pulls is told how much it may hold.
pub(crate) fn rationed(agent: &AgentId, ration: Ration) {
    debug!(agent_id = %agent, ?ration, "agent told how much to pull");
}

/// A breaker or the standing of an agent changes.
pub(crate) fn posted(post: &Post) {
    match post {
        Post::Opened { name, record } => {
            let (capability, cause) = (&record.capability, &record.cause);
            warn!(breaker = name, capability, cause, trips = record.trips, "circuit breaker open");
        }
        Post::Probe { name, .. } => debug!(breaker = name, "circuit breaker to be probed"),
        Post::Healed { name } => info!(breaker = name, "circuit breaker closing"),
        Post::Reset { name } => info!(breaker = name, "circuit breaker reset"),
        Post::Quarantined { agent, record, .. } => {
            let (cause, times) = (&record.cause, record.times);
            warn!(agent_id = %agent, cause, times, "agent in quarantine");
        }
        Post::Paroled { agent } => info!(agent_id = %agent, "agent did well on parole"),
        Post::Released { agent } => info!(agent_id = %agent, "agent released"),
    }
}
