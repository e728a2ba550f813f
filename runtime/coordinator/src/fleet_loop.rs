//! The loop that owns the fleet: heartbeats in, deliveries and queue traffic out.

mod board;
mod deliver;
mod desk;
mod handle;
mod leaving;
mod orders;
mod queues;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use skep_broker::Broker;
use skep_engine::fleet::{Fleet, FleetEffect, FleetInput, Link};
use skep_protocol::limits::BOARD_EVERY;
use skep_protocol::{
    AgentId, AttemptId, Control, CoordinatorId, Heartbeat, PartitionCount, PartitionId, Ration,
    RollCall, Task, Timestamp,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::observe;
use board::{Item, Known, Seen};
pub(crate) use desk::{Desk, Feedback, Inbox};
use handle::{Answer, Calm, Message, send_all};
pub(crate) use handle::{FleetHandle, Place};

/// How often the link to the broker is looked at.
const LINK_CHECK: Duration = Duration::from_millis(200);
/// Inputs that may wait for the loop.
const INPUTS: usize = 4_096;
/// Effects for which room is kept.
const EFFECTS: usize = 256;
/// Inputs that are taken in before effects are performed again.
const AT_ONCE: usize = 256;

/// The loop and everything in its hands.
pub(crate) struct FleetLoop<B> {
    broker: B,
    me: CoordinatorId,
    clock: Arc<Clock>,
    fleet: Fleet,
    desks: Arc<[Desk]>,
    messages: mpsc::Receiver<Message>,
    jobs: JoinSet<Option<FleetInput>>,
    effects: Vec<FleetEffect>,
    /// Tasks about to be put into their queues.
    queued: Vec<(Task, u32)>,
    /// What agents hear of their reports once the effects are performed.
    answers: Vec<Answer>,
    calm: Calm,
    /// Tasks of partitions that may have another owner: they leave once it is sure that not.
    doubtful: Vec<FleetEffect>,
    /// What is to be put on the board, and the look at it that is under way.
    items: Vec<Item>,
    keeping: JoinSet<Seen>,
    /// When the board was looked at last, and in which state it was.
    looked: Option<(Timestamp, Known)>,
}

impl<B: Broker> FleetLoop<B> {
    pub(crate) fn new(
        broker: B,
        me: CoordinatorId,
        clock: Arc<Clock>,
        count: PartitionCount,
        desks: Arc<[Desk]>,
    ) -> (Self, FleetHandle) {
        let (sender, messages) = mpsc::channel(INPUTS);
        let (fleet, jobs, calm) = (Fleet::new(count), JoinSet::new(), Calm::default());
        let (effects, queued, answers, doubtful) = Default::default();
        let (items, keeping, looked) = Default::default();
        let handle = FleetHandle::new(sender, calm.clone());
        let this = Self {
            broker,
            me,
            clock,
            fleet,
            desks,
            messages,
            jobs,
            effects,
            queued,
            answers,
            calm,
            doubtful,
            items,
            keeping,
            looked,
        };
        (this, handle)
    }

    /// Runs until `closing`. What is on its way to agents by then is left to its fate: the next
    /// coordinator asks them what they hold.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let mut beats = listen(self.broker.clone()).await;
        let mut link = tokio::time::interval(LINK_CHECK);
        link.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut up = true;
        loop {
            let wake = self.fleet.next_wake();
            let sleep = wake.map_or(LINK_CHECK, |at| self.clock.until(at));
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                Some(done) = self.jobs.join_next() => match done {
                    Ok(Some(input)) => {
                        self.came_back(&input);
                        self.handle(input);
                    }
                    Ok(None) => {}
                    Err(error) => observe::task_died("job of the fleet", &error),
                },
                Some(seen) = self.keeping.join_next() => match seen {
                    Ok(seen) => self.seen(seen),
                    Err(error) => observe::task_died("board of the fleet", &error),
                },
                beat = beats.next() => match beat {
                    Some(mut beat) => {
                        self.hear_of_others(&beat);
                        beat.answers.retain(|call| call.coordinator == self.me);
                        self.handle(FleetInput::Beat(Box::new(beat)));
                    }
                    None => beats = listen(self.broker.clone()).await,
                },
                message = self.messages.recv() => match message {
                    Some(message) => self.messages(message),
                    None => return,
                },
                _ = link.tick() => {
                    let connected = self.broker.is_connected();
                    if connected != up {
                        up = connected;
                        observe::link(up);
                        // While it was gone, somebody else may have taken over.
                        self.desks.iter().for_each(|desk| desk.ownership.doubted());
                        let link = if up { Link::Up } else { Link::Down };
                        self.handle(FleetInput::Link(link));
                    }
                    self.handle(FleetInput::Wake);
                }
                () = tokio::time::sleep(sleep), if wake.is_some() => self.handle(FleetInput::Wake),
            }
            // A flood of heartbeats keeps the partitions waiting no longer than one of them takes.
            if let Ok(message) = self.messages.try_recv() {
                self.messages(message);
            }
            self.perform();
            send_all(self.answers.drain(..));
            self.calm.set(self.jobs.is_empty());
            self.keep_board();
        }
    }

    /// Agents tell who took partitions over: should one of them be owned here, it may not be any
    /// more.
    fn hear_of_others(&self, beat: &Heartbeat) {
        for call in beat.answers.iter().filter(|call| call.coordinator != self.me) {
            if let Some(desk) = self.desk(call.partition) {
                desk.ownership.doubted();
            }
        }
    }

    fn handle(&mut self, input: FleetInput) {
        self.fleet.handle(input, self.clock.now(), &mut self.effects);
    }

    /// Takes in what waits, up to a bound; what is received is handled.
    fn messages(&mut self, first: Message) {
        let (mut next, mut taken) = (Some(first), 0);
        let (mut happened, mut dropped) = (Vec::new(), Vec::new());
        while let Some(message) = next {
            self.message(message, &mut happened, &mut dropped);
            taken += 1;
            let is_enough = taken >= AT_ONCE || happened.len() >= AT_ONCE;
            next = if is_enough { None } else { self.messages.try_recv().ok() };
        }
        self.fleet.handle_all(self.settled(happened), self.clock.now(), &mut self.effects);
        if !dropped.is_empty() {
            // Nothing leaves once the next owner may be there.
            send_all(self.answers.drain(..));
        }
        for (partition, forgotten) in dropped {
            let is_other = |task: &Task, _: Option<&AgentId>| task.partition != partition;
            desk::keep_tasks(&mut self.effects, is_other);
            desk::keep_tasks(&mut self.doubtful, is_other);
            if let Some(desk) = self.desk(partition) {
                desk.untouched.dropped();
            }
            let _ = forgotten.send(());
        }
    }

    fn message(
        &mut self,
        message: Message,
        happened: &mut Vec<FleetInput>,
        dropped: &mut Vec<(PartitionId, oneshot::Sender<()>)>,
    ) {
        match message {
            Message::Inputs { mut inputs, mut answers } => {
                happened.append(&mut inputs);
                self.answers.append(&mut answers);
            }
            Message::Dropped { partition, forgotten } => {
                happened.push(FleetInput::Dropped { partition });
                dropped.push((partition, forgotten));
            }
            Message::Agents { answer } => {
                let _ = answer.send(self.fleet.agents(self.clock.now()));
            }
            Message::Breakers { answer } => {
                let _ = answer.send(self.fleet.breakers(self.clock.now()));
            }
            Message::Order { order, capability, answer } => {
                self.order((order, capability), answer);
            }
            Message::CapabilityOf { breaker, answer } => {
                let _ = answer.send(self.fleet.capability_of_breaker(&breaker));
            }
            Message::Place { attempts, answer } => {
                let _ = answer.send(attempts.iter().map(|id| self.place(id)).collect());
            }
        }
    }

    fn place(&self, id: &AttemptId) -> Place {
        let now = self.clock.now();
        if let Some(agent) = self.fleet.holder(id).cloned() {
            return match self.fleet.stalling(id, now) {
                Some(why) => Place::Stalling(agent, why),
                None => Place::With(agent),
            };
        }
        self.fleet.explain(id, now).map_or(Place::Unknown, Place::Waits)
    }

    fn perform(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        effects.splice(..0, self.doubtful.drain(..));
        while !effects.is_empty() {
            // Meanwhile an attempt may have been settled, lost, or given to somebody else.
            desk::keep_tasks(&mut effects, |task, agent| self.fleet.is_to_go(&task.id(), agent));
            let mut told = Vec::new();
            for effect in effects.drain(..) {
                self.perform_one(effect, &mut told);
            }
            // What could not leave may make room for something else.
            told.into_iter().for_each(|input| self.handle(input));
            std::mem::swap(&mut effects, &mut self.effects);
        }
        self.fill_queues();
        // Its room is used again.
        effects.shrink_to(EFFECTS);
        self.effects = effects;
    }

    fn perform_one(&mut self, effect: FleetEffect, told: &mut Vec<FleetInput>) {
        let Some(effect) = self.if_sure(effect) else { return };
        match effect {
            FleetEffect::Deliver { agent, tasks } => match self.that_leave(tasks, told) {
                tasks if tasks.is_empty() => {}
                tasks => told.extend(self.deliver(agent, tasks)),
            },
            FleetEffect::Look { agent } => told.extend(self.deliver(agent, Vec::new())),
            FleetEffect::Enqueue { task, .. } if !self.may_lie_there(&task) => {}
            FleetEffect::Enqueue { task, sending } => self.enqueue(task, sending),
            FleetEffect::ClearQueue { capability } => self.clear_queue(capability),
            FleetEffect::AskDepth { capability } => self.ask_depth(capability),
            FleetEffect::CancelAttempts { agent, attempts } => {
                self.control(Some(agent), Control::Cancel { attempts });
            }
            FleetEffect::Ration { agent, ration } => self.ration(agent, ration),
            FleetEffect::AskAll => self.call_roll(None),
            FleetEffect::RollCall { number, partition } => {
                self.call_roll(Some((number, partition)));
            }
            FleetEffect::Strays { agent, attempts } => self.strays(&agent, attempts),
            FleetEffect::Held { partition, agent, attempt } => {
                self.feed(partition, Feedback::Held { agent, attempt });
            }
            FleetEffect::Failed { partition, attempt, agent, failure } => {
                self.feed(partition, Feedback::Failed { attempt, agent, failure });
            }
            FleetEffect::Stalling { attempt, agent, silent_for } => {
                observe::stalling(&attempt, &agent, silent_for);
            }
            FleetEffect::Post { number, post } => {
                observe::posted(&post);
                self.items.push(Item { number, post, done: None });
            }
            FleetEffect::Lost { partition, attempt, agent, cause } => {
                self.feed(partition, Feedback::Lost { attempt, agent, cause });
            }
        }
    }

    /// Puts what is to be put on the board, or looks at it now and then; one at a time, so that
    /// what is seen is never older than what was seen before.
    fn keep_board(&mut self) {
        let now = self.clock.now();
        let due = self.looked.as_ref().is_none_or(|(at, _)| now.since(*at) >= BOARD_EVERY);
        if !self.keeping.is_empty() || (self.items.is_empty() && !due) {
            return;
        }
        let (broker, me, clock) = (self.broker.clone(), self.me.clone(), Arc::clone(&self.clock));
        let known = self.looked.as_ref().map(|(_, known)| known.clone());
        let todo = (std::mem::take(&mut self.items), known);
        self.keeping.spawn(board::keep(broker, me, todo, move || clock.now()));
    }

    fn seen(&mut self, seen: Seen) {
        let Seen { known, posted, done } = seen;
        let (revision, board) = (known.revision, known.board.clone());
        let before = self.looked.replace((self.clock.now(), known));
        if before.is_none_or(|(_, known)| known.revision != revision) || posted.is_some() {
            let (me, posted) = (self.me.clone(), posted.unwrap_or_default());
            self.handle(FleetInput::Board { board, me, posted });
        }
        for (done, outcome) in done {
            let _ = done.send(outcome);
        }
    }

    fn ration(&mut self, agent: AgentId, ration: Ration) {
        observe::rationed(&agent, ration);
        self.control(Some(agent), Control::Ration(ration));
    }

    fn call_roll(&mut self, question: Option<(u64, PartitionId)>) {
        let call = question.map(|(number, partition)| {
            let coordinator = self.me.clone();
            RollCall { coordinator, number, partition }
        });
        self.control(None, Control::RollCall { call });
    }

    fn control(&mut self, agent: Option<AgentId>, control: Control) {
        let broker = self.broker.clone();
        self.jobs.spawn(async move {
            if let Err(error) = broker.control(agent.as_ref(), control).await {
                observe::given_up("tell agents something", &error);
            }
            None
        });
    }

    fn strays(&self, agent: &AgentId, attempts: Vec<AttemptId>) {
        let count = PartitionCount::new(u16::try_from(self.desks.len()).unwrap_or(u16::MAX));
        let Some(count) = count else { return };
        for attempt in attempts {
            let agent = agent.clone();
            self.feed(count.of(attempt.run), Feedback::Stray { agent, attempt });
        }
    }

    fn feed(&self, partition: PartitionId, feedback: Feedback) {
        if let Some(desk) = self.desk(partition) {
            desk.inbox.put(feedback);
        }
    }
}

async fn listen<B: Broker>(broker: B) -> BoxStream<'static, Heartbeat> {
    let mut pause = Duration::from_millis(50);
    loop {
        match broker.beats().await {
            Ok(beats) => return beats,
            Err(error) => observe::trying_again("listen to heartbeats", &error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
