mod board;
mod consistent;
mod guards;
mod health;
mod intake;
mod lanes;
mod presence;
mod property;
mod rations;
mod roll_call;
mod rounds;
mod samples;
mod silence;
mod stopping;
mod takers;
mod timing;
mod unread;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};
use skep_protocol::{
    AgentId, AttemptId, CoordinatorId, FailureKind, Heartbeat, Held, Lane, Offer, PartitionCount,
    Refusal, StepPath, Task, Timestamp,
};

use super::*;
use crate::TaskSpec;
use board::{failed, posted, refused};
use samples::{agent, id, offer, offer_as, taken, task};

/// How often a coordinator looks at its fleet, if nothing happens.
const TICK: u64 = 500;

/// A fleet, a clock and everything that was to be done so far, as text.
struct Scene {
    fleet: Fleet,
    now: u64,
    seq: u64,
    done: String,
    /// What was posted and is not on the board yet.
    posts: Vec<(u64, Post)>,
    board: Board,
    /// Looks for agents that nobody answered yet.
    looks: Vec<AgentId>,
    /// Those in whose names nobody listens; others do not answer a look in time.
    dead: Vec<AgentId>,
}

impl Scene {
    fn new() -> Self {
        let fleet = Fleet::new(PartitionCount::DEFAULT);
        let (done, board) = (String::new(), Board::default());
        let (posts, looks, dead) = (Vec::new(), Vec::new(), Vec::new());
        Self { fleet, now: 100_000, seq: 0, done, posts, board, looks, dead }
    }

    fn input(&mut self, input: FleetInput) -> &mut Self {
        let mut effects = Vec::new();
        self.fleet.handle(input, Timestamp::from_millis(self.now), &mut effects);
        for effect in effects {
            self.write(&effect);
        }
        self.fleet.assert_consistent();
        while let Some(agent) = self.looks.pop() {
            if self.dead.contains(&agent) {
                self.input(FleetInput::NoAgent { agent, attempts: Vec::new(), sent: false });
            }
        }
        self.keep_board()
    }

    fn write(&mut self, effect: &FleetEffect) {
        let steps = |ids: Vec<AttemptId>| {
            let steps: Vec<String> = ids.iter().map(|id| id.step.to_string()).collect();
            steps.join(" ")
        };
        let line = match effect {
            FleetEffect::Deliver { agent, tasks } => {
                format!("deliver to {agent}: {}", steps(tasks.iter().map(Task::id).collect()))
            }
            FleetEffect::Enqueue { task, sending } => {
                format!("enqueue {} (sending {sending})", task.step)
            }
            FleetEffect::Look { agent } => return self.looks.push(agent.clone()),
            FleetEffect::ClearQueue { capability } => format!("clear {capability}"),
            FleetEffect::AskDepth { capability } => format!("ask depth of {capability}"),
            FleetEffect::CancelAttempts { agent, attempts } => {
                format!("cancel at {agent}: {}", steps(attempts.clone()))
            }
            FleetEffect::Ration { agent, ration } => format!("{agent} may hold {ration:?}"),
            FleetEffect::Strays { agent, attempts } => {
                format!("strays at {agent}: {}", steps(attempts.clone()))
            }
            FleetEffect::AskAll => "ask all".to_owned(),
            FleetEffect::RollCall { .. } => "roll call".to_owned(),
            FleetEffect::Failed { attempt, failure, .. } => {
                format!("{} fails: {failure}", attempt.step)
            }
            FleetEffect::Stalling { attempt, agent, silent_for } => {
                format!("{} makes no progress at {agent} for {silent_for:?}", attempt.step)
            }
            FleetEffect::Post { number, post } => {
                self.posts.push((*number, post.clone()));
                posted(post)
            }
            FleetEffect::Held { agent, attempt, .. } => format!("{} held by {agent}", attempt.step),
            FleetEffect::Lost { attempt, cause, .. } => format!("{} lost: {cause}", attempt.step),
        };
        writeln!(self.done, "{}: {line}", self.now - 100_000).unwrap();
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        let end = self.now + ms;
        loop {
            let due = self.fleet.next_wake().map_or(u64::MAX, |at| at.as_millis().max(self.now));
            let next = due.min(self.now + TICK);
            if next > end {
                break;
            }
            self.now = next;
            self.input(FleetInput::Wake);
        }
        self.now = end;
        self
    }

    /// Lets time pass in which this process does nothing.
    fn stall(&mut self, ms: u64) -> &mut Self {
        self.now += ms;
        self
    }

    fn owe(&mut self, step: &str) -> &mut Self {
        self.owe_task(task(step, "c", 5))
    }

    fn owe_task(&mut self, task: Task) -> &mut Self {
        self.input(FleetInput::Owed(Box::new(offer(task))))
    }

    fn beat(&mut self, name: &str, slots: u32, held: &[&str]) -> &mut Self {
        self.beat_with(name, slots, held, |_| {})
    }

    fn beat_with(
        &mut self,
        name: &str,
        slots: u32,
        held: &[&str],
        change: impl FnOnce(&mut Heartbeat),
    ) -> &mut Self {
        self.seq += 1;
        let mut heartbeat = Heartbeat {
            v: 1,
            agent: agent(name),
            seq: self.seq,
            lane: Lane::Direct,
            offers: vec![Offer { capability: "c".to_owned(), slots }],
            labels: BTreeMap::new(),
            held: held
                .iter()
                .map(|step| Held {
                    attempt: id(step),
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
        };
        change(&mut heartbeat);
        self.input(FleetInput::Beat(Box::new(heartbeat)))
    }

    fn delivered(&mut self, name: &str, steps: &[&str]) -> &mut Self {
        let attempts = steps.iter().map(|step| id(step)).collect();
        self.input(FleetInput::Delivered {
            agent: agent(name),
            attempts,
            refused: Vec::new(),
            unread: Vec::new(),
        })
    }

    /// Nobody listens in the name of an agent, and it was seen by sending it this.
    fn dies(&mut self, name: &str, steps: &[&str], sent: bool) -> &mut Self {
        self.dead.push(agent(name));
        let attempts = steps.iter().map(|step| id(step)).collect();
        self.input(FleetInput::NoAgent { agent: agent(name), attempts, sent })
    }

    fn settled(&mut self, step: &str, by: Option<&str>) -> &mut Self {
        self.input(FleetInput::Settled { attempt: id(step), reported_by: by.map(agent) })
    }

    fn recover(&mut self, offers: Vec<OfferTask>) -> &mut Self {
        let partition = task("any", "c", 5).partition;
        self.input(FleetInput::Recovered { partition, owed: offers, withheld: Vec::new() })
    }

    fn caught_up(&mut self) -> &mut Self {
        self.input(FleetInput::CaughtUp { partition: task("any", "c", 5).partition })
    }

    fn explain(&mut self, step: &str) -> &mut Self {
        let now = Timestamp::from_millis(self.now);
        let why = self.fleet.explain(&id(step), now);
        let cause = why.as_ref().and_then(|why| why.cause.clone());
        let cause = cause.map(|cause| format!(" ({cause:?})")).unwrap_or_default();
        let why = why.map_or_else(|| "nothing".to_owned(), |why| why.reason);
        let holder = self.fleet.holder(&id(step)).map(|agent| format!(", {agent} holds it"));
        let holder = holder.unwrap_or_default();
        writeln!(self.done, "{}: {step} waits: {why}{cause}{holder}", self.now - 100_000).unwrap();
        self
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.done);
    }
}

#[test]
fn the_least_loaded_agent_gets_what_is_first_in_order() {
    let mut scene = Scene::new();
    scene.owe("late").owe_task(task("urgent", "c", 9)).owe_task(task("idle", "c", 0));
    scene.beat("a", 1, &[]).beat("b", 4, &[]);
    scene.owe("more").explain("more").check(expect![[r#"
        0: enqueue late (sending 0)
        0: enqueue urgent (sending 0)
        0: enqueue idle (sending 0)
        0: clear c
        0: deliver to a: urgent
        0: deliver to b: late idle
        0: deliver to b: more
        0: more waits: being sent to agent b
    "#]]);
}

#[test]
fn a_busy_agent_is_left_alone_and_its_task_goes_elsewhere() {
    let mut scene = Scene::new();
    scene.beat("a", 2, &[]).owe("x");
    let refused = vec![(id("x"), Refusal::Busy)];
    let attempts = vec![id("x")];
    scene.input(FleetInput::Delivered { agent: agent("a"), attempts, refused, unread: Vec::new() });
    scene.explain("x").beat("b", 1, &[]).delivered("b", &["x"]).settled("x", Some("b"));
    scene.check(expect![[r#"
        0: deliver to a: x
        0: x waits: waiting for a free slot of c (1 agent, 2 slots), number 1 of 1 at its coordinator
        0: deliver to b: x
    "#]]);
}

#[test]
fn a_leaving_agent_gives_everything_back_at_once() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("x").delivered("a", &["x"]).owe("y");
    scene.beat_with("a", 1, &["x"], |heartbeat| heartbeat.leaving = true).check(expect![[r#"
        0: deliver to a: x
        0: x lost: agent a left
        0: enqueue y (sending 0)
    "#]]);
}

#[test]
fn after_a_crash_the_agents_are_asked_before_anything_is_offered_again() {
    let mut scene = Scene::new();
    let taken = |step, by| taken(offer(task(step, "c", 5)), by);
    scene.recover(vec![
        offer(task("in_hand", "c", 5)),
        offer(task("nowhere", "c", 5)),
        taken("kept", "a"),
        taken("dropped", "a"),
        taken("elsewhere", "b"),
        taken("vanished", "z"),
    ]);
    scene.caught_up().explain("nowhere").beat("a", 8, &["in_hand", "kept"]).after(1_000);
    scene.after(2_000).beat("b", 1, &["elsewhere"]).after(5_000).check(expect![[r#"
        0: roll call
        0: nowhere waits: the agents are being asked whether one of them holds it
        0: in_hand held by a
        1000: dropped lost: agent a does not hold it any more
        1000: deliver to a: nowhere
        7000: in_hand lost: agent a was not heard of any more
        7000: kept lost: agent a was not heard of any more
        7000: nowhere lost: agent a was not heard of any more
        8000: dropped lost: the loss of agent a was not noted
        8000: vanished lost: the agent that took it was not heard of again
    "#]]);
}

#[test]
fn what_agents_left_is_read_before_anything_is_offered_again() {
    let mut scene = Scene::new();
    let taken = taken(offer(task("done", "c", 5)), "a");
    scene.recover(vec![taken, offer(task("nowhere", "c", 5))]).beat("a", 8, &[]);
    scene.after(3_000).settled("done", Some("a")).explain("nowhere").caught_up();
    scene.check(expect![[r#"
        0: roll call
        3000: nowhere waits: the agents are being asked whether one of them holds it
        3000: deliver to a: nowhere
    "#]]);
}

#[test]
fn what_is_settled_elsewhere_is_cancelled_where_it_is_held() {
    let mut scene = Scene::new();
    scene.beat("a", 3, &[]).owe("x").owe("y").delivered("a", &["x", "y"]);
    scene.settled("x", Some("a")).settled("y", None).settled("y", None);
    scene.after(100).beat("a", 3, &["y"]).check(expect![[r#"
        0: deliver to a: x
        0: deliver to a: y
        0: cancel at a: y
        100: strays at a: y
    "#]]);
}

#[test]
fn labels_choose_agents_and_hold_up_nobody_else() {
    let mut scene = Scene::new();
    let eu = BTreeMap::from([("zone".to_owned(), "eu".to_owned())]);
    let with_zone = |zone: &str| {
        let labels = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        move |heartbeat: &mut Heartbeat| heartbeat.labels = labels
    };
    scene.beat_with("us", 4, &[], with_zone("us"));
    scene.owe_task(Task { labels: eu.clone(), ..task("needs_eu", "c", 9) }).owe("any");
    scene.explain("needs_eu").beat_with("x-eu", 4, &[], with_zone("eu"));
    let likes_eu = TaskSpec { prefer: eu, ..TaskSpec::default() };
    scene.input(FleetInput::Owed(Box::new(offer_as(task("likes_eu", "c", 5), likes_eu))));
    scene.check(expect![[r#"
        0: deliver to us: any
        0: needs_eu waits: no live agent offers c with the labels zone=eu (NoAgent { capability: "c" })
        0: deliver to x-eu: needs_eu
        0: deliver to x-eu: likes_eu
    "#]]);
}

#[test]
fn the_queue_stays_shallow_and_is_filled_again_when_it_vanished() {
    let mut scene = Scene::new();
    let queue = |heartbeat: &mut Heartbeat| heartbeat.lane = Lane::Queue;
    scene.beat_with("q", 1, &[], queue);
    scene.owe("a").owe("b").owe("d").explain("d").explain("a");
    scene.beat_with("q", 1, &["a"], queue).settled("a", Some("q"));
    scene.after(4_000).beat_with("q", 1, &[], queue).after(1_000);
    scene.input(FleetInput::Depth { capability: "c".to_owned(), waiting: 0, held: 1 });
    scene.check(expect![[r#"
        0: enqueue a (sending 0)
        0: enqueue b (sending 0)
        0: d waits: waiting for a free slot of c (1 agent, 1 slot), number 1 of 1 at its coordinator
        0: a waits: in the queue of c (1 agent, 1 slot)
        0: a held by q
        0: enqueue d (sending 0)
        5000: ask depth of c
        5000: enqueue b (sending 1)
    "#]]);
}
