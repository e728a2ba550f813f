//! Agents written by hand over the port, which note what they do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use skep_broker::{Broker, RequestError};
use skep_protocol::{
    AgentId, AttemptId, Control, Delivery, Failure, Heartbeat, Held, Lane, Offer, Outcome,
    PartitionCount, Payload, Report, ReportBatch, ReportBody, RollCall, Task, Timestamp, Verdict,
};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// What a handler does with a task.
pub(crate) enum Act {
    Complete(serde_json::Value),
    /// Complete after a while.
    Late(Duration, serde_json::Value),
    Fail(Failure),
    /// Wait until the gate opens, then complete.
    Wait(Arc<Gate>),
    /// Keep the task and never say anything again.
    Keep,
}

/// A gate that starts closed; once open it stays open.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    opened: Notify,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_waiters();
    }

    pub(crate) async fn passed(&self) {
        loop {
            let opened = self.opened.notified();
            if *self.open.lock().unwrap() {
                return;
            }
            opened.await;
        }
    }
}

/// What agents did, seen from outside.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    performed: Mutex<Vec<AttemptId>>,
    verdicts: Mutex<Vec<(AttemptId, Verdict)>>,
    cancelled: Mutex<Vec<AttemptId>>,
    changed: Notify,
}

impl Ledger {
    pub(crate) fn performed(&self) -> Vec<AttemptId> {
        self.performed.lock().unwrap().clone()
    }

    pub(crate) fn verdicts(&self) -> Vec<(AttemptId, Verdict)> {
        self.verdicts.lock().unwrap().clone()
    }

    pub(crate) fn cancelled(&self) -> Vec<AttemptId> {
        self.cancelled.lock().unwrap().clone()
    }

    /// Waits until what agents did satisfies `enough`.
    pub(crate) async fn until(&self, enough: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if enough(self) {
                return;
            }
            changed.await;
        }
    }

    fn note<T>(&self, list: &Mutex<Vec<T>>, entry: T) {
        list.lock().unwrap().push(entry);
        self.changed.notify_waiters();
    }
}

type Handler = Arc<dyn Fn(&Task) -> Act + Send + Sync>;

/// An agent; dropping it kills its process.
pub(crate) struct FakeAgent {
    task: JoinHandle<()>,
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct AgentState<B> {
    broker: B,
    count: PartitionCount,
    agent: AgentId,
    offers: Vec<Offer>,
    handler: Handler,
    held: Mutex<BTreeMap<AttemptId, ()>>,
    seq: AtomicU64,
    journal: Arc<Ledger>,
}

impl FakeAgent {
    /// Starts an agent of the direct lane with so many slots for each capability; it is there once
    /// this returns.
    pub(crate) async fn start<B: Broker>(
        broker: &B,
        name: &str,
        offers: &[(&str, u32)],
        journal: &Arc<Ledger>,
        handler: impl Fn(&Task) -> Act + Send + Sync + 'static,
    ) -> Self {
        let agent = AgentId::new(name).unwrap();
        let offers = offers
            .iter()
            .map(|(name, slots)| Offer { capability: (*name).to_owned(), slots: *slots })
            .collect();
        let state = Arc::new(AgentState {
            broker: broker.clone(),
            count: PartitionCount::DEFAULT,
            agent: agent.clone(),
            offers,
            handler: Arc::new(handler),
            held: Mutex::default(),
            seq: AtomicU64::new(0),
            journal: Arc::clone(journal),
        });
        let mut tasks = broker.serve_tasks(&agent).await.unwrap();
        let mut controls = broker.controls(&agent).await.unwrap();
        state.beat(None).await;
        let task = tokio::spawn(async move {
            let mut work = JoinSet::new();
            let mut beats = tokio::time::interval(Duration::from_millis(500));
            loop {
                tokio::select! {
                    biased;
                    Some(request) = tasks.next() => {
                        for task in request.message.tasks {
                            state.held.lock().unwrap().insert(task.id(), ());
                            work.spawn(Arc::clone(&state).perform(task));
                        }
                        request.responder.send(Delivery::default());
                    }
                    Some(control) = controls.next() => match control {
                        Control::Cancel { attempts } => for id in attempts {
                            state.held.lock().unwrap().remove(&id);
                            state.journal.note(&state.journal.cancelled, id);
                        },
                        Control::RollCall { call } => state.beat(call).await,
                        Control::Ration(_) | Control::Drain {} => {}
                    },
                    _ = beats.tick() => state.beat(None).await,
                    Some(_) = work.join_next() => {}
                }
            }
        });
        Self { task }
    }
}

impl<B: Broker> AgentState<B> {
    async fn beat(&self, answers: Option<RollCall>) {
        let held: Vec<AttemptId> = self.held.lock().unwrap().keys().cloned().collect();
        let held = held
            .into_iter()
            .map(|attempt| Held {
                attempt,
                since: Timestamp::EPOCH,
                progress: None,
                finished: false,
            })
            .collect();
        let heartbeat = Heartbeat {
            v: 1,
            agent: self.agent.clone(),
            seq: self.seq.fetch_add(1, Ordering::Relaxed) + 1,
            lane: Lane::Direct,
            offers: self.offers.clone(),
            labels: BTreeMap::new(),
            held,
            draining: false,
            leaving: false,
            software: String::new(),
            answers: answers.into_iter().collect(),
            ration: None,
        };
        self.broker.beat(heartbeat).await.unwrap();
    }

    async fn perform(self: Arc<Self>, task: Task) {
        let id = task.id();
        self.journal.note(&self.journal.performed, id.clone());
        let outcome = match (self.handler)(&task) {
            Act::Complete(value) => completed(&value),
            Act::Late(wait, value) => {
                tokio::time::sleep(wait).await;
                completed(&value)
            }
            Act::Fail(failure) => Outcome::Failed { failure, duration_ms: 0 },
            Act::Wait(gate) => {
                gate.passed().await;
                completed(&serde_json::json!("late"))
            }
            Act::Keep => return,
        };
        let verdict = report(&self.broker, self.count, &self.agent, &id, outcome).await;
        self.held.lock().unwrap().remove(&id);
        if let Some(verdict) = verdict {
            self.journal.note(&self.journal.verdicts, (id, verdict));
        }
    }
}

pub(crate) fn completed(output: &serde_json::Value) -> Outcome {
    Outcome::Completed { output: Payload::from(output), duration_ms: 1 }
}

/// Reports as an agent does: again until there is an answer, durably if nobody listens.
pub(crate) async fn report<B: Broker>(
    broker: &B,
    count: PartitionCount,
    agent: &AgentId,
    id: &AttemptId,
    outcome: Outcome,
) -> Option<Verdict> {
    let partition = count.of(id.run);
    let batch = ReportBatch {
        v: 1,
        agent: agent.clone(),
        reports: vec![Report {
            run: id.run,
            step: id.step.clone(),
            attempt: id.attempt,
            body: ReportBody::Outcome(outcome),
        }],
    };
    loop {
        match broker.report(partition, batch.clone()).await {
            Ok(reply) => return reply.verdicts.into_iter().next(),
            Err(RequestError::NoResponders { .. }) => {
                broker.report_durably(partition, batch).await.unwrap();
                return None;
            }
            Err(_) => {}
        }
    }
}
