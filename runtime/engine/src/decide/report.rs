//! Reports of agents: at most one outcome of each attempt is applied.

use skep_protocol::limits::MAX_RELEASES_PER_STEP;
use skep_protocol::{
    AgentId, AttemptCompleted, AttemptFailed, Event, Failure, FailureKind, IgnoreReason, Outcome,
    Payload, Report, ReportBody, ReportIgnored, StepPath, Verdict, unbearable,
};

use super::Decision;
use crate::desk::{Desk, Obstacle};
use crate::partition::Partition;
use crate::planted::{self, Bug};
use crate::run::step::Phase;
use crate::run::{NodeId, Run};

/// Reports recorded as ignored for one step; more are ignored without a record, or an agent that
/// repeats itself would fill the journal.
const MAX_IGNORED_RECORDED: u8 = 4;

pub(super) fn report(
    partition: &Partition,
    agent: AgentId,
    mut report: Report,
    desk: &Desk<'_>,
) -> Result<Decision, Obstacle> {
    let ignored = |reason| Ok(Decision::verdict(Verdict::Ignored(reason)));
    let Some(run) = partition.run(report.run) else {
        return Ok(late(partition, agent, report, desk));
    };
    let Some(id) = run.find(&report.step) else { return ignored(IgnoreReason::Unknown) };
    if planted::is(Bug::ApplyStaleReport) && report.attempt < run.node(id).attempt {
        report.attempt = run.node(id).attempt;
    }
    match refusal(run, id, &agent, &report) {
        // Its task lay in a queue when the run was paused; it is offered again later.
        None if begins(run, id, &report) && run.state.paused => ignored(IgnoreReason::Stale),
        None => apply(run, id, agent, report, desk),
        Some(reason) => Ok(ignore(run, id, (agent, report, reason), desk)),
    }
}

/// Ignores a report about a run that is over, or that never was.
fn late(partition: &Partition, agent: AgentId, report: Report, desk: &Desk<'_>) -> Decision {
    if partition.ended(report.run).is_none() {
        return Decision::verdict(Verdict::Ignored(IgnoreReason::Unknown));
    }
    let reason = IgnoreReason::Stale;
    let decision = Decision::verdict(Verdict::Ignored(reason));
    let Report { run, step, attempt, body } = report;
    let attempts = partition.late(run, &step);
    let is_news = attempts.is_some_and(|attempts| attempts.is_news(attempt, &agent));
    // Who asks whether to begin has done nothing yet.
    if !is_news || matches!(body, ReportBody::Taken {}) {
        return decision;
    }
    let event = Event::ReportIgnored(ReportIgnored { step, attempt, agent, reason });
    decision.event(run, event, desk)
}

/// Returns whether a report asks whether to begin.
fn begins(run: &Run, id: NodeId, report: &Report) -> bool {
    matches!(report.body, ReportBody::Taken {})
        && matches!(run.node(id).phase, Phase::Scheduled { .. })
}

/// Returns why a report changes nothing, if that is so.
fn refusal(run: &Run, id: NodeId, agent: &AgentId, report: &Report) -> Option<IgnoreReason> {
    let node = run.node(id);
    if report.attempt == 0 || report.attempt > node.attempt {
        return Some(IgnoreReason::Unknown);
    }
    if report.attempt < node.attempt {
        return Some(IgnoreReason::Stale);
    }
    match &node.phase {
        Phase::Scheduled { .. } => None,
        Phase::Taken { agent: taker, .. } => (taker != agent).then_some(IgnoreReason::Stale),
        Phase::Pending
        | Phase::Retrying(_)
        | Phase::Child { .. }
        | Phase::Waiting { .. }
        | Phase::Expanded(_)
        | Phase::Group { .. }
        | Phase::Completed
        | Phase::Failed
        | Phase::Skipped { .. }
        | Phase::Cancelled => {
            let reporter = node.reporter.as_ref();
            let same = reporter.is_some_and(|(who, n)| who == agent && *n == report.attempt);
            Some(if same { IgnoreReason::Duplicate } else { IgnoreReason::Stale })
        }
    }
}

fn ignore(
    run: &Run,
    id: NodeId,
    (agent, report, reason): (AgentId, Report, IgnoreReason),
    desk: &Desk<'_>,
) -> Decision {
    let decision = Decision::verdict(Verdict::Ignored(reason));
    let worth_a_record = match reason {
        IgnoreReason::Duplicate => false,
        IgnoreReason::Stale | IgnoreReason::Unknown => run.node(id).ignored < MAX_IGNORED_RECORDED,
    };
    if !worth_a_record {
        return decision;
    }
    let Report { run, step, attempt, .. } = report;
    let event = Event::ReportIgnored(ReportIgnored { step, attempt, agent, reason });
    decision.event(run, event, desk)
}

fn apply(
    run: &Run,
    id: NodeId,
    agent: AgentId,
    report: Report,
    desk: &Desk<'_>,
) -> Result<Decision, Obstacle> {
    let Report { step, attempt, body, .. } = report;
    let applied = Decision::verdict(Verdict::Applied);
    let taken = matches!(run.node(id).phase, Phase::Taken { .. });
    let event = match body {
        ReportBody::Taken {} if taken => return Ok(applied),
        ReportBody::Taken {} => Event::AttemptTaken { step, attempt, agent },
        ReportBody::Released { begun: true } => {
            let cause = format!("agent {agent} left and gave it back unfinished");
            Event::AttemptLost { step, attempt, agent: Some(agent), cause }
        }
        ReportBody::Released { begun: false } if run.node(id).releases >= MAX_RELEASES_PER_STEP => {
            let cause = "the task was given back untouched time and again".to_owned();
            Event::AttemptLost { step, attempt, agent: Some(agent), cause }
        }
        ReportBody::Released { begun: false } => Event::AttemptReleased { step, attempt, agent },
        ReportBody::Checkpoint(checkpoint) => match unbearable("checkpoint", &checkpoint) {
            Some(problem) => return Ok(Decision::verdict(Verdict::Rejected(problem))),
            None => {
                let checkpoint = desk.bounded(checkpoint);
                Event::CheckpointSaved { step, attempt, checkpoint }
            }
        },
        ReportBody::Outcome(Outcome::Failed { failure, duration_ms }) => {
            failed((step, attempt), agent, bounded(failure, desk), duration_ms)
        }
        ReportBody::Outcome(Outcome::Completed { output, duration_ms }) => {
            if let Some(problem) = unbearable("output", &output) {
                let failure = Failure::new(FailureKind::Limit, "output", problem.clone());
                let rejected = Decision::verdict(Verdict::Rejected(problem));
                let failed = failed((step, attempt), agent, failure, duration_ms);
                return Ok(rejected.event(run.id(), failed, desk));
            }
            match mismatch(run, id, &output, desk)? {
                Some(failure) => failed((step, attempt), agent, failure, duration_ms),
                None => {
                    let output = desk.bounded(output);
                    let completed = AttemptCompleted { step, attempt, agent, output, duration_ms };
                    Event::AttemptCompleted(completed)
                }
            }
        }
    };
    Ok(applied.event(run.id(), event, desk))
}

/// Returns the failure of an attempt, as its agent has it.
fn failed(
    (step, attempt): (StepPath, u32),
    agent: AgentId,
    failure: Failure,
    duration_ms: u64,
) -> Event {
    let (agent, duration_ms, in_doubt) = (Some(agent), Some(duration_ms), false);
    Event::AttemptFailed(AttemptFailed { step, attempt, agent, failure, in_doubt, duration_ms })
}

/// Holds an output against the `expect` of its step: done is a claim, and it is checked.
pub(super) fn mismatch(
    run: &Run,
    id: NodeId,
    output: &Payload,
    desk: &Desk<'_>,
) -> Result<Option<Failure>, Obstacle> {
    let Some(schema) = run.work(id).expect else { return Ok(None) };
    let value = match desk.value(output) {
        Ok(value) => value,
        Err(Obstacle::Missing) => return Err(Obstacle::Missing),
        Err(Obstacle::Failure(failure)) => return Ok(Some(*failure)),
    };
    let Err(violations) = schema.check(&value) else { return Ok(None) };
    let mut message = String::from("the output does not match `expect`");
    for violation in violations {
        let path = if violation.path.is_empty() { "output" } else { &violation.path };
        message.push_str(&format!("; {path}: {}", violation.message));
    }
    Ok(Some(Failure::new(FailureKind::Expect, "expect", message)))
}

fn bounded(failure: Failure, desk: &Desk<'_>) -> Failure {
    let mut failure = failure.bounded();
    let details = failure.details.take();
    let details = details.filter(|details| unbearable("details", details).is_none());
    failure.details = details.map(|details| desk.bounded(details));
    failure
}
