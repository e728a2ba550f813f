//! Random histories of a small swarm: nothing is lost, no slot is used twice, none leaks.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use skep_protocol::{
    AgentId, AttemptId, Board, CoordinatorId, Heartbeat, Held, Lane, Offer, PartitionCount,
    Refusal, Task, Timestamp,
};

use super::super::agent::Room;
use super::super::breaker::Breaker;
use super::super::{CallEnd, CallOutcome, Fleet, FleetEffect, FleetInput, Link, Post};
use super::{agent, failed, id, offer, offer_as, task};
use crate::{OfferTask, Round, TaskSpec};

#[derive(Debug, Clone)]
enum Step {
    Owe(u8),
    Settle(u8),
    /// An attempt ends at some agent, and is settled.
    End {
        agent: u8,
        number: u8,
        well: bool,
    },
    Release(u8),
    Take {
        agent: u8,
        number: u8,
    },
    /// From here on the partition takes note of losses, or of none.
    Note(bool),
    Beat {
        agent: u8,
        forgets: u8,
    },
    Leave(u8),
    Answer {
        refuse: bool,
    },
    NoAgent,
    NoAnswer,
    Link(bool),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_u8).prop_map(Step::Owe),
        2 => (0..40_u8).prop_map(Step::Settle),
        6 => (0..4_u8, 0..40_u8, prop::bool::weighted(0.3))
            .prop_map(|(agent, number, well)| Step::End { agent, number, well }),
        1 => (0..40_u8).prop_map(Step::Release),
        1 => (0..4_u8, 0..40_u8).prop_map(|(agent, number)| Step::Take { agent, number }),
        1 => any::<bool>().prop_map(Step::Note),
        4 => (0..4_u8, 0..8_u8).prop_map(|(agent, forgets)| Step::Beat { agent, forgets }),
        1 => (0..4_u8).prop_map(Step::Leave),
        6 => any::<bool>().prop_map(|refuse| Step::Answer { refuse }),
        1 => Just(Step::NoAgent),
        1 => Just(Step::NoAnswer),
        1 => any::<bool>().prop_map(Step::Link),
        3 => (0..4_000_u16).prop_map(Step::Pass),
    ]
}

/// The world around a fleet, seen from outside.
#[derive(Default)]
struct World {
    board: Board,
    posts: Vec<(u64, Post)>,
    owed: BTreeSet<AttemptId>,
    deliveries: Vec<(AgentId, Vec<AttemptId>)>,
    lost: Vec<AttemptId>,
    deaf: bool,
}

impl World {
    fn step(&mut self, fleet: &mut Fleet, input: FleetInput, now: u64) {
        let mut effects = Vec::new();
        fleet.handle(input, Timestamp::from_millis(now), &mut effects);
        fleet.assert_consistent();
        for effect in effects {
            match effect {
                FleetEffect::Deliver { agent, tasks } => {
                    let ids: Vec<AttemptId> = tasks.iter().map(Task::id).collect();
                    for id in &ids {
                        assert!(self.owed.contains(id), "{id} is sent but not owed");
                    }
                    let known = &fleet.agents[&agent];
                    let within = |room: &Room| room.used <= room.slots;
                    assert!(known.offers.values().all(within), "{agent} is over its slots");
                    self.deliveries.push((agent, ids));
                }
                FleetEffect::Look { agent } => self.deliveries.push((agent, Vec::new())),
                FleetEffect::Enqueue { task, .. } => {
                    assert!(self.owed.contains(&task.id()), "{} is queued, not owed", task.step);
                }
                FleetEffect::Lost { .. } if self.deaf => {}
                FleetEffect::Lost { attempt, .. } => self.lost.push(attempt),
                FleetEffect::ClearQueue { .. }
                | FleetEffect::AskDepth { .. }
                | FleetEffect::CancelAttempts { .. }
                | FleetEffect::Ration { .. }
                | FleetEffect::Strays { .. }
                | FleetEffect::AskAll
                | FleetEffect::RollCall { .. }
                | FleetEffect::Held { .. }
                | FleetEffect::Stalling { .. } => {}
                FleetEffect::Failed { attempt, .. } => self.lost.push(attempt),
                FleetEffect::Post { number, post } => self.posts.push((number, post)),
            }
        }
        assert_eq!(fleet.len(), self.owed.len(), "owed and not tracked, or the other way round");
        self.keep_board(fleet, now);
    }

    fn keep_board(&mut self, fleet: &mut Fleet, now: u64) {
        let me = CoordinatorId::new("me").unwrap();
        let Some(posted) = self.posts.last().map(|(number, _)| *number) else { return };
        for (_, post) in std::mem::take(&mut self.posts) {
            post.onto(&mut self.board, &me, Timestamp::from_millis(now));
        }
        let board = self.board.clone();
        self.step(fleet, FleetInput::Board { board, me, posted }, now);
    }

    fn end(&mut self, fleet: &mut Fleet, ended: (AttemptId, AgentId), end: CallEnd, now: u64) {
        let (attempt, by) = ended;
        let (agent, reported_by) = (Some(by.clone()), Some(by));
        let ended = FleetInput::Ended { attempt: attempt.clone(), agent, end };
        self.step(fleet, ended, now);
        self.owed.remove(&attempt);
        self.step(fleet, FleetInput::Settled { attempt, reported_by }, now);
    }
}

impl World {
    /// Returns what became of the last delivery, if there was one.
    fn answered(
        &mut self,
        answer: impl FnOnce(AgentId, Vec<AttemptId>) -> FleetInput,
    ) -> FleetInput {
        let delivery = self.deliveries.pop();
        delivery.map_or(FleetInput::Wake, |(agent, attempts)| answer(agent, attempts))
    }

    fn settle_lost(&mut self, fleet: &mut Fleet, now: u64) {
        for attempt in std::mem::take(&mut self.lost) {
            self.owed.remove(&attempt);
            self.step(fleet, FleetInput::Settled { attempt, reported_by: None }, now);
        }
    }
}

/// Returns what an agent has in its hands as far as the fleet knows.
fn held_by(fleet: &Fleet, name: &AgentId) -> BTreeSet<AttemptId> {
    let slots = fleet.agents.get(name).into_iter().flat_map(|agent| &agent.attempts);
    slots.filter_map(|slot| Some(fleet.attempts.at(*slot)?.id().clone())).collect()
}

fn beat_of(fleet: &Fleet, name: &AgentId, seq: u64, forgets: u8) -> Heartbeat {
    let agent = fleet.agents.get(name);
    let held = held_by(fleet, name);
    let stopping = agent.filter(|_| forgets % 4 < 2).map(|agent| agent.stopping.clone());
    let held = held.into_iter().skip(usize::from(forgets / 4));
    let held = held.chain(stopping.into_iter().flatten());
    Heartbeat {
        v: 1,
        agent: name.clone(),
        seq,
        lane: Lane::Direct,
        offers: vec![Offer { capability: "c".to_owned(), slots: 3 }],
        labels: BTreeMap::new(),
        held: held
            .map(|attempt| Held {
                attempt,
                since: Timestamp::EPOCH,
                progress: None,
                finished: false,
            })
            .collect(),
        draining: false,
        leaving: false,
        software: String::new(),
        answers: Vec::new(),
        ration: None,
    }
}

fn no_agent(agent: AgentId, attempts: Vec<AttemptId>) -> FleetInput {
    let sent = attempts.len().is_multiple_of(2);
    FleetInput::NoAgent { agent, attempts, sent }
}

fn no_answer(agent: AgentId, attempts: Vec<AttemptId>) -> FleetInput {
    FleetInput::DeliveryUnknown { agent, attempts }
}

/// Two attempts at each step, so that one may have to wait for the other to stop.
fn attempt(number: u8) -> AttemptId {
    let step = number / 2;
    let step = if step.is_multiple_of(3) { format!("g/s{step}") } else { format!("s{step}") };
    AttemptId { attempt: 1 + u32::from(number % 2), ..id(&step) }
}

/// Some repeat others, some have a breaker of their own, some are of a later round.
fn random_offer(number: u8) -> OfferTask {
    let policy = skep_workflow::Breaker { min_calls: 3, ..Breaker::usual() };
    let breaker = number.is_multiple_of(3).then(|| ("w/own".into(), policy));
    let spec = TaskSpec { breaker, ..TaskSpec::default() };
    let AttemptId { step, attempt, .. } = attempt(number);
    let inside = step.around().filter(|_| attempt == 2);
    let rounds = inside.map(|group| Round { inside: Some(group), number: 1 });
    let rounds = rounds.into_iter().collect();
    let task = Task { attempt, ..task(step.as_str(), "c", number % 10) };
    let mut offer = offer_as(task, spec);
    (offer.is_retry, offer.terms.rounds) = (number.is_multiple_of(2), rounds);
    offer
}

fn run_world(steps: Vec<Step>) {
    let mut fleet = Fleet::new(PartitionCount::DEFAULT);
    let mut world = World::default();
    let (mut now, mut seq) = (100_000, 0);
    let name = |number: u8| agent(&format!("a{number}"));
    for step in steps {
        seq += 1;
        let input = match step {
            Step::Owe(number) => {
                let offer = random_offer(number);
                world.owed.insert(offer.id.clone());
                FleetInput::Owed(Box::new(offer))
            }
            Step::Settle(number) => {
                let attempt = attempt(number);
                world.owed.remove(&attempt);
                FleetInput::Settled { attempt, reported_by: None }
            }
            Step::End { agent, number, well } => {
                let ended = (attempt(number), name(agent));
                let outcome = if well { CallOutcome::Completed } else { failed() };
                world.end(&mut fleet, ended, CallEnd { outcome, took: None }, now);
                continue;
            }
            Step::Release(number) => {
                FleetInput::Released { agent: name(number % 4), attempt: attempt(number) }
            }
            Step::Take { agent, number } => {
                FleetInput::Taken { agent: name(agent), attempt: attempt(number) }
            }
            Step::Note(noted) => {
                world.deaf = !noted;
                FleetInput::Wake
            }
            Step::Beat { agent, forgets } => {
                FleetInput::Beat(Box::new(beat_of(&fleet, &name(agent), seq, forgets)))
            }
            Step::Leave(number) => {
                let heartbeat = beat_of(&fleet, &name(number), seq, 0);
                FleetInput::Beat(Box::new(Heartbeat { leaving: true, ..heartbeat }))
            }
            Step::Answer { refuse } => world.answered(|agent, attempts| {
                let refused = attempts.iter().filter(|_| refuse).cloned();
                let refused = refused.map(|id| (id, Refusal::Busy)).collect();
                FleetInput::Delivered { agent, attempts, refused, unread: Vec::new() }
            }),
            Step::NoAgent => world.answered(no_agent),
            Step::NoAnswer => world.answered(no_answer),
            Step::Link(up) => FleetInput::Link(if up { Link::Up } else { Link::Down }),
            Step::Pass(ms) => {
                now += u64::from(ms);
                FleetInput::Wake
            }
        };
        world.step(&mut fleet, input, now);
        world.settle_lost(&mut fleet, now);
    }
    heal(fleet, world, now, seq);
}

/// Once faults stop, everything owed gets into somebody's hands and is done.
fn heal(mut fleet: Fleet, mut world: World, mut now: u64, mut seq: u64) {
    world.deaf = false;
    world.step(&mut fleet, FleetInput::Link(Link::Up), now);
    for _ in 0..300 {
        now += 1_000;
        seq += 1;
        let beat = FleetInput::Beat(Box::new(beat_of(&fleet, &agent("a0"), seq, 2)));
        world.step(&mut fleet, beat, now);
        while let Some((to, attempts)) = world.deliveries.pop() {
            for attempt in attempts {
                let end = CallEnd { outcome: CallOutcome::Completed, took: None };
                world.end(&mut fleet, (attempt, to.clone()), end, now);
            }
        }
        world.settle_lost(&mut fleet, now);
        // What the agent holds from before is done as well.
        for attempt in held_by(&fleet, &agent("a0")) {
            world.owed.remove(&attempt);
            world.step(&mut fleet, FleetInput::Settled { attempt, reported_by: None }, now);
        }
    }
    assert!(world.owed.is_empty(), "never done: {:?}", fleet.attempts);
    assert!(fleet.timers.len() <= 12, "timers leak: {:?}", fleet.timers);
    assert!(fleet.due.is_empty(), "timers leak: {:?}", fleet.due);
}

proptest! {
    #[test]
    fn nothing_is_lost_no_slot_leaks(steps in prop::collection::vec(step(), 1..120)) {
        run_world(steps);
    }

    /// Slots are used again; an id leads to its own, also if it shares a shelf and a tag with
    /// others, and if its shelf was divided.
    #[test]
    fn what_is_tracked_is_found(
        picks in prop::collection::vec((0..40_u64, 1..4_u32, "[ab]"), 0..300),
    ) {
        let mut fleet = Fleet::new(PartitionCount::DEFAULT);
        let mut tracked = BTreeSet::new();
        for (run, attempt, step) in picks {
            let run = format!("{run:032x}").parse().unwrap();
            let task = Task { run, attempt, ..task(&step, "c", 5) };
            let id = task.id();
            match fleet.attempts.slot(&id) {
                Some(slot) => {
                    fleet.forget(slot);
                    prop_assert!(tracked.remove(&id));
                }
                None => {
                    let slot = fleet.track(Box::new(offer(task)));
                    prop_assert_eq!(fleet.attempts.find(&id), Some(slot));
                    prop_assert!(tracked.insert(id.clone()));
                }
            }
            let id_at = |slot| fleet.attempts.at(slot).unwrap().id().clone();
            let found: Vec<AttemptId> =
                fleet.attempts.those(|_| true).into_iter().map(id_at).collect();
            prop_assert!(found.iter().eq(&tracked), "in the order of their ids");
            prop_assert_eq!(fleet.attempts.len(), tracked.len());
            let later = |other: &&AttemptId| {
                (other.run, &other.step) == (id.run, &id.step) && other.attempt > id.attempt
            };
            let next = fleet.attempts.next_of(&id).map(|(_, attempt)| attempt.id());
            prop_assert!(next.eq(tracked.iter().filter(later)));
        }
    }
}
