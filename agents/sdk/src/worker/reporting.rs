//! Reports that leave, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use skep_broker::{AgentBroker, RequestError, Settle};
use skep_protocol::{
    AgentId, AttemptId, Failure as Reported, FailureKind, Outcome, PartitionId, Report,
    ReportBatch, ReportBody, ReportReply, Verdict,
};
use tokio::time::Instant;

use super::Worker;
use crate::context::{Received, SaveCheckpoint, no_longer_wanted};
use crate::failure::Failure;
use crate::lease::Phase;

/// A message with reports that left, and its answer.
pub(super) struct Sent {
    partition: PartitionId,
    reports: Vec<Report>,
    answer: Answer,
}

/// What became of a message with reports.
enum Answer {
    /// The owner answered.
    Verdicts(Vec<Verdict>),
    /// Nobody was there; all but questions lies where the next owner finds it.
    Left,
    /// It may or may not have arrived.
    Unknown(RequestError),
    /// Whoever took it is probably gone, for there is a new coordinator.
    Overtaken,
    /// Nobody takes the message as it is, however often it is sent.
    Refused {
        /// The word for it, should it be what becomes of an attempt.
        code: &'static str,
        /// Why.
        cause: String,
    },
}

impl<B: AgentBroker> Worker<B> {
    /// Sends what is due.
    pub(super) fn send_reports(&mut self) {
        for (partition, reports) in self.outbox.take(Instant::now()) {
            let (broker, agent) = (self.broker.clone(), self.id.clone());
            // Those from here on count, not only those from when it is first looked at.
            let roll_calls = Arc::clone(&self.roll_calls);
            let known = roll_calls.so_far(partition);
            let send = async move {
                let answer = tokio::select! {
                    biased;
                    answer = send(&broker, &agent, partition, &reports) => answer,
                    () = roll_calls.overtake(partition, known) => Answer::Overtaken,
                };
                Sent { partition, reports, answer }
            };
            self.sending.push(send.boxed());
        }
    }

    /// Learns what became of a message.
    pub(super) fn sent(&mut self, sent: Sent) {
        let Sent { partition, reports, answer } = sent;
        match answer {
            Answer::Verdicts(verdicts) => {
                self.outbox.answered(partition);
                let unanswered = reports.len().saturating_sub(verdicts.len());
                let again = reports[reports.len() - unanswered..].to_vec();
                for (report, verdict) in reports.into_iter().zip(verdicts) {
                    self.confirmed(partition, report, verdict);
                }
                if !again.is_empty() {
                    tracing::warn!(
                        %partition, unanswered,
                        "reports without a verdict are sent again"
                    );
                    self.again(partition, again);
                }
            }
            Answer::Left => {
                let (questions, left): (Vec<_>, Vec<_>) =
                    reports.into_iter().partition(is_question);
                if !left.is_empty() {
                    self.outbox.answered(partition);
                }
                for report in left {
                    self.confirmed(partition, report, Verdict::Applied);
                }
                if !questions.is_empty() {
                    self.again(partition, questions);
                }
            }
            Answer::Unknown(error) => {
                tracing::debug!(%partition, %error, "reports are sent again");
                self.again(partition, reports);
            }
            Answer::Overtaken => {
                tracing::debug!(%partition, "reports are sent again, to a new coordinator");
                self.again(partition, reports);
                self.outbox.at_once(partition);
            }
            Answer::Refused { code, cause } => self.refused(partition, reports, (code, cause)),
        }
    }

    /// Has reports sent once more, but not the questions of an agent that drains.
    fn again(&mut self, partition: PartitionId, mut reports: Vec<Report>) {
        if self.drain.has_begun() {
            let (questions, rest): (Vec<_>, Vec<_>) = reports.into_iter().partition(is_question);
            for question in questions {
                self.give_back_unbegun(&question.id());
            }
            reports = rest;
        }
        self.outbox.unconfirmed(partition, reports, Instant::now());
    }

    /// Splits a message that nobody takes. A report that stands alone leaves as one that says so,
    /// if it is an outcome; if it is not, or if that is not taken either, it is given up.
    fn refused(
        &mut self,
        partition: PartitionId,
        mut reports: Vec<Report>,
        (code, cause): (&str, String),
    ) {
        let [only] = reports.as_mut_slice() else {
            self.outbox.refused(partition, reports);
            return;
        };
        tracing::warn!(attempt = %only.id(), cause, "nobody takes a report");
        if let ReportBody::Outcome(outcome) = &only.body
            && let Some(instead) = instead_of(outcome, code, &cause)
        {
            only.body = ReportBody::Outcome(instead);
            self.again(partition, reports);
            return;
        }
        self.outbox.answered(partition);
        for report in reports {
            self.confirmed(partition, report, Verdict::Rejected(cause.clone()));
        }
    }

    /// Acts on the verdict about one report.
    fn confirmed(&mut self, partition: PartitionId, report: Report, verdict: Verdict) {
        let id = report.id();
        match &verdict {
            Verdict::Applied => {}
            Verdict::Ignored(reason) => tracing::debug!(attempt = %id, ?reason, "report ignored"),
            Verdict::Rejected(cause) => {
                tracing::warn!(attempt = %id, cause, "the coordinator rejected a report");
            }
        }
        match &report.body {
            ReportBody::Taken {} => self.answered_question(&id, &verdict),
            ReportBody::Checkpoint(_) => self.answered_checkpoint(&id, verdict),
            ReportBody::Released { .. } | ReportBody::Outcome(_) => {
                debug_assert_eq!(
                    self.leases.lease(&id).map(|lease| lease.partition),
                    Some(partition),
                    "a last report belongs to a lease"
                );
                self.leases.confirmed(report);
                self.settle(&id, Settle::Ack);
            }
        }
    }

    /// Begins an attempt, or lets it be.
    fn answered_question(&mut self, id: &AttemptId, verdict: &Verdict) {
        let Some(received) = self.asked.remove(id) else { return };
        let task = &received.task;
        match verdict {
            Verdict::Applied if self.drain.has_begun() || !self.leases.may_begin() => {
                self.leases.free_slots(&task.capability, 1);
                self.report_last(id.clone(), ReportBody::Released { begun: false });
            }
            Verdict::Applied => self.begin(received),
            Verdict::Ignored(_) | Verdict::Rejected(_) => {
                self.drop_unbegun(&received.task, Settle::Ack);
            }
        }
    }

    /// Tells a handler that its checkpoint is durable, or stops it because nobody wants it.
    fn answered_checkpoint(&mut self, id: &AttemptId, verdict: Verdict) {
        let saved = self.saving.get_mut(id).and_then(|waiting| waiting.pop_front());
        let answer = match verdict {
            Verdict::Applied => Ok(()),
            Verdict::Ignored(_) => {
                self.cancel(id);
                Err(no_longer_wanted())
            }
            Verdict::Rejected(cause) => Err(Failure::fatal("invalid_checkpoint", cause)),
        };
        if let Some(saved) = saved {
            // A handler that dropped its call does not want to know.
            let _ = saved.send(answer);
        }
    }

    /// Sends a checkpoint on its way.
    pub(super) fn save(&mut self, request: SaveCheckpoint) {
        let SaveCheckpoint { attempt: id, payload, saved } = request;
        let lease = self.leases.lease(&id).map(|lease| lease.partition);
        let (Some(partition), Some(Phase::Working | Phase::GivingBack)) =
            (lease, self.leases.phase(&id))
        else {
            // The handler is being dropped and does not want to know.
            let _ = saved.send(Err(no_longer_wanted()));
            return;
        };
        self.saving.entry(id.clone()).or_default().push_back(saved);
        let AttemptId { run, step, attempt } = id;
        let body = ReportBody::Checkpoint(payload);
        self.outbox.push(partition, Report { run, step, attempt, body });
    }

    /// Gives back what the coordinator was not asked about yet.
    pub(super) fn withdraw_questions(&mut self) {
        for attempt in self.leases.asking() {
            let partition = self.leases.lease(&attempt).map(|lease| lease.partition);
            if partition.is_some_and(|at| self.outbox.withdraw_question(at, &attempt)) {
                self.give_back_unbegun(&attempt);
            }
        }
    }

    fn give_back_unbegun(&mut self, attempt: &AttemptId) {
        let Some(Received { task, .. }) = self.asked.remove(attempt) else { return };
        if self.pulled.contains_key(attempt) {
            self.drop_unbegun(&task, Settle::Return(Duration::ZERO));
        } else {
            self.leases.free_slots(&task.capability, 1);
            self.report_last(attempt.clone(), ReportBody::Released { begun: false });
        }
    }
}

fn is_question(report: &Report) -> bool {
    matches!(report.body, ReportBody::Taken {})
}

/// Returns what is reported in place of an outcome that nobody takes, unless it is just that.
fn instead_of(outcome: &Outcome, code: &str, cause: &str) -> Option<Outcome> {
    let duration_ms = match outcome {
        Outcome::Failed { failure, .. } if failure.code == code => return None,
        Outcome::Completed { duration_ms, .. } | Outcome::Failed { duration_ms, .. } => {
            *duration_ms
        }
    };
    let failure = Reported::new(FailureKind::Limit, code, cause).fatal();
    Some(Outcome::Failed { failure, duration_ms })
}

/// Sends reports to the owner of their partition, or leaves them for the next one if there is none.
/// Questions whether to begin are not left: only an owner can answer.
async fn send<B: AgentBroker>(
    broker: &B,
    agent: &AgentId,
    partition: PartitionId,
    reports: &[Report],
) -> Answer {
    let batch = |reports| ReportBatch { v: ReportBatch::VERSION, agent: agent.clone(), reports };
    match broker.report(partition, batch(reports.to_vec())).await {
        Ok(ReportReply { unreadable: Some(cause), .. }) => Answer::Refused {
            code: "report_unreadable",
            cause: format!("the coordinator cannot read the report: {cause}"),
        },
        Ok(ReportReply { verdicts, unreadable: None }) => Answer::Verdicts(verdicts),
        Err(RequestError::NoResponders { .. }) => {
            let left: Vec<_> = reports.iter().filter(|r| !is_question(r)).cloned().collect();
            if left.is_empty() {
                return Answer::Left;
            }
            match broker.report_durably(partition, batch(left)).await {
                Ok(()) => Answer::Left,
                Err(error) => Answer::of(error),
            }
        }
        Err(error) => Answer::of(error),
    }
}

impl Answer {
    fn of(error: RequestError) -> Self {
        if matches!(error, RequestError::TooLarge { .. }) {
            let cause = format!("the broker does not take the report: {error}");
            Self::Refused { code: "output_too_large", cause }
        } else {
            Self::Unknown(error)
        }
    }
}
