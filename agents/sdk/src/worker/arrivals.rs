//! Tasks that come in, and handlers that end.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use skep_broker::{AgentBroker, Delivered, Request, Settle, Unavailable};
use skep_protocol::{AttemptId, Delivery, Outcome, Refusal, Report, ReportBody, Task, TaskBatch};
use tokio::sync::oneshot;

use super::Worker;
use crate::attempt::{Attempt, Ended};
use crate::backoff::Backoff;
use crate::clock;
use crate::context::Received;
use crate::failure::Failure;
use crate::lease::{Arrival, Phase};
use crate::queue::{self, Pulled};

impl<B: AgentBroker> Worker<B> {
    /// Takes the tasks that a coordinator sent, or says why not.
    pub(super) fn delivered(&mut self, request: Request<TaskBatch, Delivery>) {
        let mut refused = Vec::new();
        let mut taken = Vec::new();
        for task in request.message.tasks {
            let phase = if task.ask { Phase::Asking } else { Phase::Working };
            match self.leases.arrived(&task, phase, clock::now()) {
                Arrival::New if task.ask => self.ask(task),
                Arrival::New => taken.push(task),
                Arrival::Held => {}
                Arrival::Finished(report) => self.outbox.push(task.partition, report),
                Arrival::Refused(refusal) => refused.push((task.id(), refusal)),
            }
        }
        request.responder.send(Delivery::from(refused));
        taken.into_iter().for_each(|task| self.begin(Received::now(task)));
    }

    /// Starts the handler of a task that has its slot.
    pub(super) fn begin(&mut self, received: Received) {
        let id = received.task.id();
        let (Some(lease), Some(offered)) =
            (self.leases.lease(&id), self.agent.offers.get(&received.task.capability))
        else {
            return;
        };
        let attempt = Attempt {
            received,
            agent: self.id.clone(),
            handler: offered.handler.clone(),
            signs: lease.signs.clone(),
            store: Arc::clone(&self.store),
            checkpoints: self.checkpoint_sender.clone(),
            grace: self.agent.grace,
        };
        self.leases.begin(&id);
        self.attempts.push(attempt.perform().boxed());
    }

    /// Reports an attempt that is over, if anybody wants to hear of it.
    pub(super) fn ended(&mut self, ended: Ended) {
        let Ended { attempt, capability, outcome, blocked } = ended;
        match blocked {
            None => self.leases.free_slots(&capability, 1),
            Some(running) => {
                tracing::warn!(%attempt, "the handler blocks its thread and keeps its slot");
                self.blocked.push(running.map(|_| capability).boxed());
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
        let Some(partition) = self.leases.lease(&id).map(|lease| lease.partition) else { return };
        self.leases.report(&id);
        let AttemptId { run, step, attempt } = id;
        self.outbox.push(partition, Report { run, step, attempt, body });
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
                return self.leases.cancel(attempt);
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
        let (task, unread) = (delivered.task.clone(), delivered.unread.clone());
        let id = task.id();
        let (settle, told) = oneshot::channel();
        self.keepers.push(queue::keep(delivered, told).boxed());
        self.pulled.entry(id.clone()).or_default().push(settle);
        match self.leases.arrived(&task, Phase::Asking, clock::now()) {
            Arrival::New => match unread {
                None => self.ask(task),
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
    fn ask(&mut self, task: Task) {
        let id = task.id();
        let AttemptId { run, step, attempt } = id.clone();
        let report = Report { run, step, attempt, body: ReportBody::Taken {} };
        self.outbox.push(task.partition, report);
        self.asked.insert(id, Received::now(task));
    }

    /// Tells the queue what becomes of a pulled task. Nothing for one that was sent directly.
    pub(super) fn settle(&mut self, attempt: &AttemptId, how: Settle) {
        for settle in self.pulled.remove(attempt).unwrap_or_default() {
            // Without a receiver the task has been settled.
            let _ = settle.send(how);
        }
    }
}
