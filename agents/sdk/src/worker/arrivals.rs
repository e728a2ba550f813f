//! Tasks that come in, and handlers that end.

use std::time::Duration;

use futures::FutureExt as _;
use skep_broker::{AgentBroker, Delivered, Request, Settle, Unavailable};
use skep_protocol::{AttemptId, Delivery, Outcome, Refusal, Report, ReportBody, Task, TaskBatch};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Worker;
use crate::backoff::Backoff;
use crate::clock;
use crate::context::Received;
use crate::failure::Failure;
use crate::lease::{Arrival, Phase};
use crate::queue::{self, Pulled};

impl<B: AgentBroker> Worker<B> {
    /// Takes the tasks that a coordinator sent, or says why not.
    pub(super) fn delivered(&mut self, request: Request<TaskBatch, Delivery>) {
        let (at, since) = (Instant::now(), clock::now());
        let mut refused = Vec::new();
        let mut taken = Vec::with_capacity(request.message.tasks.len());
        for task in request.message.tasks {
            let phase = if task.ask { Phase::Asking } else { Phase::Working };
            match self.leases.arrived(&task, phase, since) {
                Arrival::New if task.ask => self.ask(Received { task, at }),
                Arrival::New => taken.push(Received { task, at }),
                Arrival::Held => {}
                Arrival::Finished(report) => self.outbox.push(task.partition, report),
                Arrival::Refused(refusal) => refused.push((task.id(), refusal)),
            }
        }
        self.answers.owe(request.responder, Delivery::from(refused));
        taken.into_iter().for_each(|received| self.begin(received));
    }

    /// Stops an attempt that nobody wants any more. Whatever comes next at its step waits for the
    /// heartbeat that shows that it has stopped.
    pub(super) fn cancel(&mut self, attempt: &AttemptId) {
        match self.leases.phase(attempt) {
            Some(Phase::Asking) => {
                if let Some(Received { task, .. }) = self.asked.remove(attempt) {
                    self.outbox.withdraw_question(task.partition, attempt);
                    self.drop_unbegun(&task, Settle::Ack);
                }
            }
            Some(Phase::Working | Phase::GivingBack | Phase::Cancelled) => {
                if let Some(handler) = self.leases.cancel(attempt) {
                    self.handlers.stop(handler, Instant::now());
                }
                return;
            }
            // It is told of as finished, for which nobody waits.
            Some(Phase::Reporting) => return,
            None => {}
        }
        self.beat_soon();
    }

    /// Lets go of a task whose handler was never started.
    pub(super) fn drop_unbegun(&mut self, task: &Task, settle: Settle) {
        let id = task.id();
        self.leases.forget(&id);
        self.leases.free_slots(&task.capability, 1);
        self.settle(&id, settle);
    }

    /// Pulls for every capability with free slots that has no pull under way.
    pub(super) fn pull_tasks(&mut self) {
        for _ in 0..self.to_pull.len() {
            let Some(capability) = self.to_pull.pop_front() else { return };
            let share = self.leases.share(&capability);
            if share == 0 {
                self.to_pull.push_back(capability);
                continue;
            }
            self.leases.use_slots(&capability, share);
            let (broker, backoff) = (self.broker.clone(), self.pull_backoff);
            self.pulls.push(queue::pull(broker, capability, share, backoff).boxed());
        }
    }

    /// Takes what a pull brought: each task is kept, and the coordinator asked whether to begin.
    pub(super) fn pulled(&mut self, pulled: Pulled, result: Result<(), Unavailable>) {
        let Pulled { capability, reserved, delivered } = pulled;
        self.leases.free_slots(&capability, reserved);
        self.to_pull.push_back(capability);
        match result {
            Ok(()) => self.pull_backoff = Backoff::default(),
            Err(error) => {
                self.pull_backoff.next_delay();
                tracing::debug!(agent_id = %self.id, %error, "cannot pull");
            }
        }
        delivered.into_iter().for_each(|delivered| self.arrived(delivered));
    }

    fn arrived(&mut self, delivered: Delivered) {
        let Delivered { task, unread, hold, .. } = delivered;
        let id = task.id();
        let (settle, told) = oneshot::channel();
        self.keepers.push(queue::keep(id.clone(), hold, told).boxed());
        self.pulled.entry(id.clone()).or_default().push(settle);
        match self.leases.arrived(&task, Phase::Asking, clock::now()) {
            Arrival::New => match unread {
                None => self.ask(Received { task, at: Instant::now() }),
                Some(cause) => self.fail_unread(&task, &cause),
            },
            Arrival::Held => {}
            Arrival::Finished(report) => self.outbox.push(task.partition, report),
            Arrival::Refused(Refusal::Busy | Refusal::Draining | Refusal::UnknownCapability) => {
                self.settle(&id, Settle::Return(Duration::ZERO));
            }
        }
    }

    /// Reports that a task cannot be read: in the queue it would be offered again and again.
    fn fail_unread(&mut self, task: &Task, cause: &str) {
        self.leases.free_slots(&task.capability, 1);
        let message = format!("agent {} cannot read the task: {cause}", self.id);
        let failure = Failure::new("task_unreadable", message).only_here().into_protocol();
        let outcome = Outcome::Failed { failure, duration_ms: 0 };
        self.report_last(task.id(), ReportBody::Outcome(outcome));
    }

    /// Asks the coordinator whether to begin.
    fn ask(&mut self, received: Received) {
        let (id, partition) = (received.task.id(), received.task.partition);
        let AttemptId { run, step, attempt } = id.clone();
        let report = Report { run, step, attempt, body: ReportBody::Taken {} };
        self.outbox.push(partition, report);
        self.asked.insert(id, received);
    }

    /// Tells the queue what becomes of a pulled task. Nothing for one that was sent directly.
    pub(super) fn settle(&mut self, attempt: &AttemptId, how: Settle) {
        for settle in self.pulled.remove(attempt).unwrap_or_default() {
            // Without a receiver the task has been settled.
            let _ = settle.send(how);
        }
    }
}
