//! Reports: taken in as batches, answered when everything that follows is durable.

use skep_broker::{DurableReport, Responder};
use skep_engine::Input;
use skep_engine::fleet::FleetInput;
use skep_protocol::{AgentId, AttemptId, Report, ReportBatch, ReportBody, ReportReply, Verdict};

use super::commit::Release;

/// Who wants to know the verdicts.
pub(crate) enum Asker {
    /// An agent that waits for them.
    Live(Responder<ReportReply>),
    /// Nobody: the reports lie where they were left, until they are confirmed.
    Durable(DurableReport),
}

/// A batch of reports of which some were not decided yet.
pub(crate) struct Ticket {
    verdicts: Vec<Option<Verdict>>,
    missing: usize,
    asker: Asker,
}

impl Ticket {
    pub(crate) fn new(reports: usize, asker: Asker) -> Self {
        Self { verdicts: vec![None; reports], missing: reports, asker }
    }

    /// Notes a verdict; returns whether it was the last one.
    pub(crate) fn decided(&mut self, index: usize, verdict: Verdict) -> bool {
        if let Some(slot) = self.verdicts.get_mut(index)
            && slot.replace(verdict).is_none()
        {
            self.missing -= 1;
        }
        self.missing == 0
    }

    pub(crate) fn into_release(self) -> Release {
        match self.asker {
            Asker::Live(responder) => {
                let verdicts: Vec<_> = self.verdicts.into_iter().flatten().collect();
                Release::Reports(responder, ReportReply::from(verdicts))
            }
            Asker::Durable(report) => Release::Confirm(report),
        }
    }
}

/// One report on its way to the engine.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) ticket: u64,
    pub(crate) index: usize,
    pub(crate) agent: AgentId,
    pub(crate) attempt: AttemptId,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Taken,
    Released,
    Other,
}

impl Incoming {
    /// Remembers what has to be known of a report once it is decided.
    pub(crate) fn new(ticket: u64, index: usize, agent: &AgentId, report: Report) -> (Self, Input) {
        let kind = match report.body {
            ReportBody::Taken {} => Kind::Taken,
            ReportBody::Released { begun: false } => Kind::Released,
            ReportBody::Released { begun: true }
            | ReportBody::Checkpoint(_)
            | ReportBody::Outcome(_) => Kind::Other,
        };
        let (agent, attempt) = (agent.clone(), report.id());
        let input = Input::Report { agent: agent.clone(), report };
        (Self { ticket, index, agent, attempt, kind }, input)
    }

    /// Returns what the fleet is told.
    pub(crate) fn conclude(&self, verdict: &Verdict) -> Option<FleetInput> {
        let applied = *verdict == Verdict::Applied;
        let (agent, attempt) = (self.agent.clone(), self.attempt.clone());
        match self.kind {
            Kind::Taken if applied => Some(FleetInput::Taken { agent, attempt }),
            Kind::Released if applied => Some(FleetInput::Released { agent, attempt }),
            Kind::Taken | Kind::Released | Kind::Other => None,
        }
    }
}

/// Splits a batch into its reports.
pub(crate) fn incoming(ticket: u64, batch: ReportBatch) -> impl Iterator<Item = (Incoming, Input)> {
    let agent = batch.agent;
    batch
        .reports
        .into_iter()
        .enumerate()
        .map(move |(index, report)| Incoming::new(ticket, index, &agent, report))
}
