//! Handlers that start, and how they end.

use std::sync::Arc;

use futures::FutureExt as _;
use skep_broker::{AgentBroker, Settle};
use skep_protocol::{AttemptId, Outcome, Payload, Report, ReportBody, Task};
use tokio::time::Instant;

use super::Worker;
use crate::attempt::{self, Begun, Carried};
use crate::context::Received;
use crate::failure::Failure;
use crate::handlers::{Finished, Over, Slot, Start};
use crate::lease::Phase;
use crate::news::Told;
use crate::payloads::Text;

impl<B: AgentBroker> Worker<B> {
    /// Begins an attempt that has its slot.
    pub(super) fn begin(&mut self, received: Received) {
        let Some(signs) = self.leases.begin(&received.task.id()) else { return };
        let begun = Begun { received, signs, at: Instant::now() };
        if let Some(failure) = attempt::unsupported(&begun.received.task) {
            return self.failed(&begun, failure);
        }
        match &begun.received.task.input {
            Payload::Json(raw) => {
                let input = Text::Inline(Arc::clone(raw));
                self.start_handler(begun, input);
            }
            Payload::Blob(_) => {
                let fetch = attempt::fetch(Arc::clone(&self.common), Box::new(begun));
                self.carrying.push(fetch.boxed());
            }
        }
    }

    fn start_handler(&mut self, Begun { received, signs, at: began }: Begun, input: Text) {
        if let Some(offered) = self.agent.offers.get(&received.task.capability) {
            let start = Start { received, signs, input, began };
            self.handlers.start(&offered.handler, &self.common, start);
        }
    }

    /// Goes on with what the blob store was needed for.
    pub(super) fn carried(&mut self, carried: Carried) {
        match carried {
            Carried::Input(begun, Some(Ok(input))) => self.start_handler(*begun, input),
            Carried::Input(begun, Some(Err(failure))) => self.failed(&begun, failure),
            Carried::Input(begun, None) => self.ended(&begun.received.task, None, Slot::Freed),
            Carried::Outcome(context, outcome, slot) => {
                self.ended(context.task(), outcome.map(|outcome| *outcome), slot);
            }
        }
    }

    /// Reports an attempt whose handler cannot start.
    fn failed(&mut self, begun: &Begun, failure: Failure) {
        let outcome = Outcome::Failed {
            failure: failure.into_protocol(),
            duration_ms: millis_since(begun.at, Instant::now()),
        };
        self.ended(&begun.received.task, Some(outcome), Slot::Freed);
    }

    /// Takes what handlers told.
    pub(super) fn told(&mut self, told: Vec<Told>) {
        let now = Instant::now();
        for told in told {
            match self.handlers.told(told, now) {
                Some(Over::Attempt(finished)) => self.finished(finished),
                Some(Over::Blocking(context)) => {
                    self.leases.free_slots(context.capability(), 1);
                }
                None => {}
            }
        }
    }

    /// Brings what became of an attempt into the form of a report.
    pub(super) fn finished(&mut self, finished: Finished) {
        let Finished { context, began, result, slot } = finished;
        let duration_ms = millis_since(began, Instant::now());
        let outcome = match result.map(|result| attempt::outcome(result, duration_ms)) {
            Some(Ok(outcome)) => Some(outcome),
            Some(Err(large)) => {
                let (common, grace) = (Arc::clone(&self.common), self.agent.grace);
                let stow = attempt::stow(common, context, grace, slot, (large, duration_ms));
                self.carrying.push(stow.boxed());
                return;
            }
            None => None,
        };
        self.ended(context.task(), outcome, slot);
    }

    /// Reports an attempt that is over, if anybody wants to hear of it.
    fn ended(&mut self, task: &Task, outcome: Option<Outcome>, slot: Slot) {
        let attempt = task.id();
        match slot {
            Slot::Freed => self.leases.free_slots(&task.capability, 1),
            Slot::Kept => {
                tracing::warn!(%attempt, "the handler blocks its thread and keeps its slot");
            }
        }
        self.saving.remove(&attempt);
        match (self.leases.phase(&attempt), outcome) {
            (Some(Phase::Working), Some(outcome))
            | (Some(Phase::GivingBack), Some(outcome @ Outcome::Completed { .. })) => {
                self.report_last(attempt, ReportBody::Outcome(outcome));
            }
            (Some(Phase::Working | Phase::GivingBack), _) => {
                self.report_last(attempt, ReportBody::Released { begun: true });
            }
            (Some(Phase::Asking | Phase::Cancelled | Phase::Reporting) | None, _) => {
                self.leases.forget(&attempt);
                self.settle(&attempt, Settle::Ack);
                self.beat_soon();
            }
        }
    }

    /// Queues the last report of an attempt.
    pub(super) fn report_last(&mut self, id: AttemptId, body: ReportBody) {
        let Some(partition) = self.leases.report(&id) else { return };
        let AttemptId { run, step, attempt } = id;
        self.outbox.push(partition, Report { run, step, attempt, body });
    }
}

fn millis_since(began: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(began).as_millis()).unwrap_or(u64::MAX)
}
