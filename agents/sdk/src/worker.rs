//! The loop of a running agent: one place where everything that happens meets.

mod arrivals;
mod heartbeat;
mod performing;
mod rationing;
mod reporting;
mod roll_calls;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _};
use skep_broker::{AgentBroker, Request, Settle, Unavailable};
use skep_protocol::limits::{HEARTBEAT_INTERVAL, MAX_ANSWERED_CALLS, MAX_SHARED};
use skep_protocol::{AgentId, AttemptId, Control, Delivery, Lane, RollCall, TaskBatch};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::agent::{Agent, RunError};
use crate::answers::Answers;
use crate::attempt::Carried;
use crate::backoff::Backoff;
use crate::clock;
use crate::context::{Common, Received, SaveCheckpoint};
use crate::drain::Drain;
use crate::failure::Failure;
use crate::handlers::Handlers;
use crate::lease::Leases;
use crate::listen;
use crate::news::{News, Told};
use crate::outbox::Outbox;
use crate::queue::Pulled;
use rationing::Rations;
use reporting::Sent;
use roll_calls::RollCalls;

/// Checkpoints under way from handlers to the loop.
const CHECKPOINT_QUEUE: usize = 64;

/// How long an agent that leaves tries to say so.
const LAST_BEAT_WITHIN: Duration = Duration::from_secs(1);

type Controls = BoxStream<'static, Control>;
type Deliveries = BoxStream<'static, Request<TaskBatch, Delivery>>;

/// A running agent.
pub(crate) struct Worker<B> {
    agent: Agent,
    id: AgentId,
    broker: B,
    common: Arc<Common>,

    leases: Leases,
    outbox: Outbox,
    drain: Drain,
    /// Tasks whose handler waits for the coordinator's word.
    asked: HashMap<AttemptId, Received>,
    /// Checkpoints whose handler waits for the coordinator's word.
    saving: BTreeMap<AttemptId, VecDeque<oneshot::Sender<Result<(), Failure>>>>,
    /// Pulled tasks that want to know what becomes of them.
    pulled: HashMap<AttemptId, Vec<oneshot::Sender<Settle>>>,

    deliveries: Deliveries,
    /// What coordinators are to hear of what they delivered.
    answers: Answers,
    controls: Controls,
    checkpoints: mpsc::Receiver<SaveCheckpoint>,
    handlers: Handlers,
    /// What is on its way from the blob store, or to it.
    carrying: FuturesUnordered<BoxFuture<'static, Carried>>,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    roll_calls: Arc<RollCalls>,
    /// The roll calls that the next heartbeat answers.
    called: Vec<RollCall>,
    rations: Rations,
    pulls: FuturesUnordered<BoxFuture<'static, (Pulled, Result<(), Unavailable>)>>,
    /// Capabilities without a pull under way; the first goes first.
    to_pull: VecDeque<String>,
    pull_backoff: Backoff,
    keepers: FuturesUnordered<BoxFuture<'static, ()>>,
    beating: FuturesUnordered<BoxFuture<'static, Result<(), Unavailable>>>,
    /// The number of the last heartbeat.
    beats: u64,
    next_beat: Instant,
    /// It may fire before something is due, and is set anew then.
    timer: Pin<Box<Sleep>>,
    link_is_up: bool,
}

/// Everything that can happen to a running agent.
enum Input {
    Stop,
    Control(Control),
    Delivered(Request<TaskBatch, Delivery>),
    Answer,
    Told(Vec<Told>),
    Carried(Carried),
    Sent(Sent),
    Checkpoint(SaveCheckpoint),
    Pulled(Pulled, Result<(), Unavailable>),
    Settled,
    Beaten(Result<(), Unavailable>),
    Wake,
}

/// What ends an agent from outside.
pub(crate) type Stop<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send)>;

impl<B: AgentBroker> Worker<B> {
    /// Starts to listen. Returns none if the agent was stopped before it could.
    pub(crate) async fn start(agent: Agent, broker: B, stop: &mut Stop<'_>) -> Option<Self> {
        let id = agent.mint_id();
        let (controls, deliveries) = tokio::select! {
            biased;
            () = stop => return None,
            ears = Self::listen(&broker, &id) => ears,
        };
        let (sender, checkpoints) = mpsc::channel(CHECKPOINT_QUEUE);
        let (store, news) = (Arc::new(broker.clone()), News::default());
        let common = Common { agent: id.clone(), store, checkpoints: sender, news };
        let offers = agent.offers.iter().map(|(name, offered)| (name.as_str(), offered.slots));
        let to_pull = match agent.lane {
            Lane::Direct => VecDeque::new(),
            Lane::Queue => agent.offers.keys().cloned().collect(),
        };
        tracing::info!(agent_id = %id, software = agent.software, "the agent is there");
        Some(Self {
            leases: Leases::new(offers, agent.total_slots),
            outbox: Outbox::default(),
            drain: Drain::default(),
            asked: HashMap::default(),
            saving: BTreeMap::new(),
            pulled: HashMap::default(),
            common: Arc::new(common),
            handlers: Handlers::new(agent.grace),
            agent,
            id,
            broker,
            deliveries,
            answers: Answers::default(),
            controls,
            checkpoints,
            carrying: FuturesUnordered::new(),
            sending: FuturesUnordered::new(),
            roll_calls: Arc::default(),
            called: Vec::new(),
            rations: Rations::FULL,
            pulls: FuturesUnordered::new(),
            to_pull,
            pull_backoff: Backoff::default(),
            keepers: FuturesUnordered::new(),
            beating: FuturesUnordered::new(),
            // Of two processes that had the same id, the later one is heard.
            beats: clock::now().as_millis(),
            next_beat: Instant::now(),
            timer: Box::pin(sleep(Duration::ZERO)),
            link_is_up: true,
        })
    }

    async fn listen(broker: &B, id: &AgentId) -> (Controls, Deliveries) {
        let (direct, listener) = (broker.clone(), id.clone());
        let controls = listen::keep_open("control", move || {
            let (direct, listener) = (direct.clone(), listener.clone());
            async move { direct.controls(&listener).await }
        });
        let (direct, listener) = (broker.clone(), id.clone());
        let deliveries = listen::keep_open("tasks", move || {
            let (direct, listener) = (direct.clone(), listener.clone());
            async move { direct.serve_tasks(&listener).await }
        });
        (controls.await, deliveries.await)
    }

    /// Runs until the agent has left.
    pub(crate) async fn run(mut self, mut stop: Stop<'_>) -> Result<(), RunError> {
        while !self.has_left() {
            self.flush();
            let input = self.next(&mut stop).await;
            self.handle(input);
            // What is ready at the same moment shares messages.
            for _ in 1..MAX_SHARED {
                let Some(input) = self.next(&mut stop).now_or_never() else { break };
                self.handle(input);
            }
        }
        self.leave().await
    }

    /// Waits for the next thing to happen. Nothing is lost if it is dropped.
    async fn next(&mut self, stop: &mut Stop<'_>) -> Input {
        let wake = self.next_wake();
        if let Some(at) = wake
            && (at < self.timer.deadline() || self.timer.is_elapsed())
        {
            self.timer.as_mut().reset(at);
        }
        tokio::select! {
            biased;
            () = stop.as_mut(), if !self.drain.has_begun() => Input::Stop,
            () = self.answers.are_due() => Input::Answer,
            Some(control) = self.controls.next() => Input::Control(control),
            Some(request) = self.deliveries.next() => Input::Delivered(request),
            told = self.common.news.hear() => Input::Told(told),
            Some(carried) = self.carrying.next() => Input::Carried(carried),
            Some(sent) = self.sending.next() => Input::Sent(sent),
            Some(request) = self.checkpoints.recv() => Input::Checkpoint(request),
            Some((pulled, result)) = self.pulls.next() => Input::Pulled(pulled, result),
            Some(()) = self.keepers.next() => Input::Settled,
            Some(result) = self.beating.next() => Input::Beaten(result),
            () = &mut self.timer, if wake.is_some() => Input::Wake,
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Stop | Input::Control(Control::Drain {}) => self.begin_drain(),
            Input::Control(Control::RollCall { call }) => self.called(call),
            Input::Control(Control::Ration(ration)) => self.rationed(ration),
            Input::Control(Control::Cancel { attempts }) => {
                attempts.iter().for_each(|attempt| self.cancel(attempt));
            }
            Input::Delivered(request) => self.delivered(request),
            Input::Answer => self.answers.send(),
            Input::Told(told) => self.told(told),
            Input::Carried(carried) => self.carried(carried),
            Input::Sent(sent) => self.sent(sent),
            Input::Checkpoint(request) => self.save(request),
            Input::Pulled(pulled, result) => self.pulled(pulled, result),
            Input::Settled => {}
            Input::Beaten(result) => self.beaten(result),
            Input::Wake => self.wake(),
        }
    }

    /// Starts whatever is due: reports, pulls.
    fn flush(&mut self) {
        self.send_reports();
        self.pull_tasks();
    }

    fn next_wake(&mut self) -> Option<Instant> {
        // One heartbeat at a time: the next one is due once this one has left.
        let beat = self.beating.is_empty().then_some(self.next_beat);
        let handlers = self.handlers.next_wake();
        let timers = [beat, handlers, self.outbox.next_wake(), self.drain.next_wake()];
        timers.into_iter().flatten().min()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        if self.next_beat <= now && self.beating.is_empty() {
            self.next_beat = now + HEARTBEAT_INTERVAL;
            self.beat();
        }
        if self.drain.gives_up(now, self.agent.grace) {
            let held = self.leases.len();
            tracing::warn!(agent_id = %self.id, held, "giving back what is held");
            for handler in self.leases.give_back_all() {
                self.handlers.stop(handler, now);
            }
        }
        let finished = self.handlers.wake(now);
        finished.into_iter().for_each(|finished| self.finished(finished));
    }

    fn beat(&mut self) {
        let beat = self.heartbeat();
        let broker = self.broker.clone();
        self.beating.push(async move { broker.beat(beat).await }.boxed());
    }

    /// Has a heartbeat leave as soon as all that has arrived is taken in.
    fn beat_soon(&mut self) {
        self.next_beat = Instant::now();
    }

    /// A coordinator wants to know what is held.
    fn called(&mut self, call: Option<RollCall>) {
        self.beat_soon();
        self.roll_calls.count(call.as_ref().map(|call| call.partition));
        if self.called.len() < MAX_ANSWERED_CALLS {
            self.called.extend(call);
        }
    }

    fn beaten(&mut self, result: Result<(), Unavailable>) {
        if result.is_ok() {
            self.said_ration();
        }
        match result {
            Ok(()) if !self.link_is_up => {
                tracing::info!(agent_id = %self.id, "the broker can be reached again");
                self.link_is_up = true;
            }
            Err(error) if self.link_is_up => {
                tracing::warn!(agent_id = %self.id, %error, "the broker cannot be reached");
                self.link_is_up = false;
            }
            Ok(()) | Err(_) => {}
        }
    }

    fn begin_drain(&mut self) {
        if self.drain.has_begun() {
            return;
        }
        let held = self.leases.len();
        tracing::info!(agent_id = %self.id, held, "the agent drains");
        self.drain.begin(Instant::now(), self.agent.drain);
        self.leases.drain();
        self.withdraw_questions();
        self.beat_soon();
    }

    fn has_left(&self) -> bool {
        let nothing_held =
            self.leases.is_empty() && self.pulls.is_empty() && self.keepers.is_empty();
        self.drain.has_begun() && (nothing_held || self.drain.is_over(Instant::now()))
    }

    async fn leave(mut self) -> Result<(), RunError> {
        self.answers.send();
        let mut beat = self.heartbeat();
        beat.leaving = true;
        match timeout(LAST_BEAT_WITHIN, self.broker.beat(beat)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(agent_id = %self.id, %error, "the last heartbeat was lost");
            }
            Err(_) => tracing::debug!(agent_id = %self.id, "the last heartbeat was given up"),
        }
        let reports = self.outbox.len();
        tracing::info!(agent_id = %self.id, unconfirmed = reports, "the agent has left");
        if reports > 0 {
            return Err(RunError::Unconfirmed { agent: self.id, reports });
        }
        Ok(())
    }
}
