//! How large messages are that are passed on without being encoded.

use skep_protocol::Order;
use skep_protocol::{
    ChildOutcome, Command, Failure, Outcome, Payload, Query, ReportBatch, ReportBody, Task,
    TaskBatch,
};

/// A message whose size can be told without encoding it.
pub trait Weigh {
    /// Returns the length of the texts that the message carries, in bytes: at most the length of
    /// its JSON, and close to it for any message that could be too large.
    fn weight(&self) -> usize;
}

impl Weigh for Payload {
    fn weight(&self) -> usize {
        self.text().map_or(0, str::len)
    }
}

impl Weigh for Failure {
    fn weight(&self) -> usize {
        self.message.len() + self.details.as_ref().map_or(0, Weigh::weight)
    }
}

impl Weigh for Task {
    fn weight(&self) -> usize {
        self.input.weight() + self.checkpoint.as_ref().map_or(0, Weigh::weight)
    }
}

impl Weigh for TaskBatch {
    fn weight(&self) -> usize {
        self.tasks.iter().map(Weigh::weight).sum()
    }
}

impl Weigh for ReportBatch {
    fn weight(&self) -> usize {
        self.reports.iter().map(|report| report.body.weight()).sum()
    }
}

impl Weigh for ReportBody {
    fn weight(&self) -> usize {
        match self {
            Self::Taken {} | Self::Released { .. } => 0,
            Self::Checkpoint(payload) => payload.weight(),
            Self::Outcome(Outcome::Completed { output, .. }) => output.weight(),
            Self::Outcome(Outcome::Failed { failure, .. }) => failure.weight(),
        }
    }
}

impl Weigh for Command {
    fn weight(&self) -> usize {
        match self {
            Self::Register(register) => register.source.len(),
            Self::Start(start) => start.inputs.weight(),
            Self::Retry(retry) => {
                let from = retry.from.as_ref().map_or(0, |from| from.as_str().len());
                retry.inputs.as_ref().map_or(0, Payload::weight) + from + retry.by.len()
            }
            Self::Cancel { reason, .. } => reason.len(),
            Self::Pause { by, .. } | Self::Resume { by, .. } => by.len(),
            Self::Skip { step, by, .. } => step.as_str().len() + by.len(),
            Self::Drop { steps, by, .. } => {
                steps.iter().map(|step| step.as_str().len()).sum::<usize>() + by.len()
            }
            Self::Signal(signal) => signal.payload.weight(),
            Self::ChildEnded { outcome, .. } => match outcome {
                ChildOutcome::Completed(payload) => payload.weight(),
                ChildOutcome::Failed(failure) | ChildOutcome::Compensated(failure) => {
                    failure.weight()
                }
                ChildOutcome::Cancelled { .. } => 0,
            },
            Self::Order(order) => match order {
                Order::TripBreaker { name, reason } => name.len() + reason.len(),
                Order::ResetBreaker { name } => name.len(),
                Order::QuarantineAgent { reason, .. } => reason.len(),
                Order::ReleaseAgent { .. } => 0,
            },
            Self::Ask(query) => query.weight(),
        }
    }
}

impl Weigh for Query {
    fn weight(&self) -> usize {
        match self {
            Self::Runs(filter) => filter.workflow.as_ref().map_or(0, String::len),
            Self::Letters(filter) => {
                let texts = [&filter.workflow, &filter.capability, &filter.code];
                let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
                texts + filter.step.as_ref().map_or(0, |step| step.as_str().len())
            }
            Self::Run { .. }
            | Self::History { .. }
            | Self::Agents { .. }
            | Self::Breakers { .. }
            | Self::Workflows {} => 0,
        }
    }
}
