//! Supervision against a reference model of OTP's supervisor: the children of one level as a list,
//! strategies, intensity as `supervisor.erl` counts it, escalation to the level above.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use skep_engine::{Effect, Input};
use skep_protocol::{
    AgentId, AttemptId, Failure, FailureKind, Outcome, Payload, Report, ReportBody, RunStatus,
    StepPath, Timestamp,
};

use crate::random::Chance;
use crate::world::{World, run_id};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

/// A child of a supervisor: a worker, or a supervisor in its turn.
#[derive(Debug, Clone)]
enum Child {
    Worker { state: Worker, starts: u32 },
    Supervisor(Supervisor),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worker {
    Running,
    /// It ended well: a transient child that stays in the list.
    Ended,
    Stopped,
}

#[derive(Debug, Clone)]
struct Supervisor {
    strategy: Strategy,
    intensity: usize,
    period: Duration,
    restarts: Vec<Timestamp>,
    children: Vec<Child>,
    dead: bool,
}

/// What a supervisor says to the one above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Handled,
    /// It reached its intensity, stopped its children and died.
    Shutdown,
}

impl Supervisor {
    fn random(chance: &mut Chance, depth: usize) -> Self {
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let len = 1 + chance.below(4);
        Self {
            strategy: strategies[chance.below(3)],
            intensity: chance.below(4),
            period: Duration::from_secs(1 + chance.below(20) as u64),
            restarts: Vec::new(),
            children: (0..len).map(|_| Child::random(chance, depth)).collect(),
            dead: false,
        }
    }

    /// Starts the child at `at` anew.
    fn start(&mut self) {
        self.dead = false;
        self.restarts.clear();
        self.children.iter_mut().for_each(Child::start);
    }

    fn stop(&mut self) {
        self.dead = true;
        self.children.iter_mut().for_each(Child::stop);
    }

    /// `handle_info({'EXIT', …})`: the child at the end of `path` failed.
    fn child_failed(&mut self, path: &[usize], now: Timestamp) -> Exit {
        let (at, rest) = (path[0], &path[1..]);
        if let Child::Supervisor(below) = &mut self.children[at]
            && below.child_failed(rest, now) == Exit::Handled
        {
            return Exit::Handled;
        }
        // add_restart: those within the period, this one included, against the intensity.
        self.restarts.retain(|before| before.after(self.period) >= now);
        if self.restarts.len() >= self.intensity {
            self.stop();
            return Exit::Shutdown;
        }
        self.restarts.push(now);
        let concerned = match self.strategy {
            Strategy::OneForOne => at..at + 1,
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => at..self.children.len(),
        };
        self.children[concerned.clone()].iter_mut().for_each(Child::stop);
        self.children[concerned].iter_mut().for_each(Child::start);
        Exit::Handled
    }

    /// The supervisor ends well once all its children did.
    fn is_over(&self) -> bool {
        self.dead || self.children.iter().all(Child::is_over)
    }

    fn running(&self, path: &str, paths: &[usize], found: &mut BTreeMap<String, Vec<usize>>) {
        for (at, child) in self.children.iter().enumerate() {
            let (name, place) = (format!("{path}/{}{at}", prefix(path)), [paths, &[at]].concat());
            match child {
                Child::Worker { state: Worker::Running, starts } => {
                    found.insert(format!("{name}#{starts}"), place);
                }
                Child::Worker { .. } => {}
                Child::Supervisor(below) => below.running(&name, &place, found),
            }
        }
    }

    fn write(&self, path: &str, pad: &str, text: &mut String) {
        let strategy = match self.strategy {
            Strategy::OneForOne => "one_for_one",
            Strategy::OneForAll => "one_for_all",
            Strategy::RestForOne => "rest_for_one",
        };
        let (most, within) = (self.intensity, self.period.as_secs());
        let bounds = format!("max_restarts: {most}, within: {within}s");
        writeln!(text, "{pad}supervise: {{ strategy: {strategy}, {bounds} }}").unwrap();
        writeln!(text, "{pad}steps:").unwrap();
        for (at, child) in self.children.iter().enumerate() {
            let name = format!("{}{at}", prefix(path));
            match child {
                Child::Worker { .. } => writeln!(text, "{pad}  {name}: {{ agent: x }}").unwrap(),
                Child::Supervisor(below) => {
                    writeln!(text, "{pad}  {name}:").unwrap();
                    below.write(&format!("{path}/{name}"), &format!("{pad}    "), text);
                }
            }
        }
    }
}

/// Ids are unique in a workflow: those of a level begin with where it is.
fn prefix(path: &str) -> String {
    format!("{}_", path.rsplit('/').next().unwrap_or("g"))
}

impl Child {
    fn random(chance: &mut Chance, depth: usize) -> Self {
        if depth < 2 && chance.one_in(4) {
            return Self::Supervisor(Supervisor::random(chance, depth + 1));
        }
        Self::Worker { state: Worker::Running, starts: 1 }
    }

    fn start(&mut self) {
        match self {
            Self::Worker { state, starts } => {
                *state = Worker::Running;
                *starts += 1;
            }
            Self::Supervisor(below) => below.start(),
        }
    }

    fn stop(&mut self) {
        match self {
            Self::Worker { state, .. } if *state == Worker::Running => *state = Worker::Stopped,
            Self::Worker { .. } => {}
            Self::Supervisor(below) => below.stop(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Worker { state, .. } => *state == Worker::Ended,
            Self::Supervisor(below) => !below.dead && below.is_over(),
        }
    }
}

fn ended_well(supervisor: &mut Supervisor, path: &[usize]) {
    match &mut supervisor.children[path[0]] {
        Child::Worker { state, .. } => *state = Worker::Ended,
        Child::Supervisor(below) => ended_well(below, &path[1..]),
    }
}

fn offered(world: &World) -> BTreeMap<String, AttemptId> {
    let offers = world.owed.values().filter_map(|effect| match effect {
        Effect::OfferTask(offer) => Some(offer.id.clone()),
        _ => None,
    });
    offers.map(|id| (format!("{}#{}", id.step, id.attempt), id)).collect()
}

fn report(id: &AttemptId, outcome: Outcome) -> Input {
    let AttemptId { run, step, attempt } = id.clone();
    let report = Report { run, step, attempt, body: ReportBody::Outcome(outcome) };
    Input::Report { agent: AgentId::new("a1").unwrap(), report }
}

fn agree(seed: u64, mut world: World) {
    let mut chance = Chance::new(seed);
    let mut model = Supervisor::random(&mut chance, 0);
    let mut text = "name: hive\nsteps:\n  g:\n".to_owned();
    model.write("g", "    ", &mut text);
    world.start(&crate::world::read(&text), "{}");
    for _ in 0..200 {
        let mut running = BTreeMap::new();
        model.running("g", &[], &mut running);
        let offers = offered(&world);
        let (expected, found): (Vec<_>, Vec<_>) =
            (running.keys().collect(), offers.keys().collect());
        assert_eq!(found, expected, "seed={seed}\n{text}");
        if model.is_over() {
            let end = if model.dead { RunStatus::Failed } else { RunStatus::Completed };
            assert_eq!(world.partition.status(run_id()), Some(end), "seed={seed}\n{text}");
            return;
        }
        let (name, path) = running.iter().nth(chance.below(running.len())).unwrap();
        world.now = world.now.after(Duration::from_millis(chance.below(3_000) as u64));
        if chance.one_in(3) {
            ended_well(&mut model, path);
            let output = Payload::null();
            world.handle(report(&offers[name], Outcome::Completed { output, duration_ms: 1 }));
        } else {
            model.child_failed(path, world.now);
            let failure = Failure::new(FailureKind::Agent, "oops", "it broke");
            world.handle(report(&offers[name], Outcome::Failed { failure, duration_ms: 1 }));
        }
    }
    let step = StepPath::new("g");
    let enough = Input::Cancel { run: run_id(), reason: step.to_string() };
    world.handle(enough);
}

proptest! {
    #![proptest_config(crate::world::cases(400))]

    #[test]
    fn groups_are_supervised_as_by_otp(seed: u64) {
        agree(seed, World::quick());
    }
}

proptest! {
    #![proptest_config(crate::world::cases(40))]

    #[test]
    fn so_they_are_by_replays_and_snapshots(seed: u64) {
        agree(seed, World::new());
    }
}
