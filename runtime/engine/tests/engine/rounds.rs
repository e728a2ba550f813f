//! Which attempts belong to a later round, and what a fleet makes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use expect_test::{Expect, expect};
use skep_engine::fleet::{Fleet, FleetEffect, FleetInput};
use skep_engine::{Change, Effect, EffectKey, Input, OfferTask, Partition, Round};
use skep_protocol::{
    AgentId, AttemptId, Failure, FailureKind, Heartbeat, Held, Lane, Offer, Outcome,
    PartitionCount, Payload, Report, ReportBody, StepPath, Timestamp,
};

use crate::world::{World, read};

/// A partition, a fleet and one agent that takes whatever it is sent.
struct Scene {
    world: World,
    fleet: Fleet,
    seq: u64,
    /// What the agent performs, and does not stop before it is told in here.
    performed: BTreeSet<AttemptId>,
    told: String,
}

fn agent() -> AgentId {
    AgentId::new("a1").unwrap()
}

impl Scene {
    fn new(steps: &str) -> Self {
        let fleet = Fleet::new(PartitionCount::DEFAULT);
        let (performed, told) = (BTreeSet::new(), String::new());
        let mut scene = Self { world: World::new(), fleet, seq: 0, performed, told };
        scene.world.start(&read(&format!("name: w\n{steps}")), "{}");
        let owed = scene.world.owed.values().cloned().map(Change::Owed).collect();
        scene.follow(owed, None);
        scene.beat();
        scene
    }

    /// Tells the fleet how what is owed changed.
    fn follow(&mut self, changes: Vec<Change>, reported: Option<&AttemptId>) {
        for change in changes {
            let input = match change {
                Change::Owed(Effect::OfferTask(offer)) => FleetInput::Owed(offer),
                Change::Settled(EffectKey::Attempt(attempt)) => {
                    let reported_by = (Some(&attempt) == reported).then(agent);
                    FleetInput::Settled { attempt, reported_by }
                }
                _ => continue,
            };
            self.fleet(input);
        }
    }

    fn fleet(&mut self, input: FleetInput) {
        let mut effects = Vec::new();
        self.fleet.handle(input, self.world.now, &mut effects);
        for effect in effects {
            match effect {
                FleetEffect::Deliver { agent, tasks } => {
                    let attempts: Vec<AttemptId> = tasks.iter().map(|task| task.id()).collect();
                    for id in &attempts {
                        writeln!(self.told, "begins {}#{}", id.step, id.attempt).unwrap();
                    }
                    self.performed.extend(attempts.iter().cloned());
                    let (refused, unread) = (Vec::new(), Vec::new());
                    self.fleet(FleetInput::Delivered { agent, attempts, refused, unread });
                }
                FleetEffect::CancelAttempts { attempts, .. } => {
                    for id in attempts {
                        writeln!(self.told, "is to stop {}#{}", id.step, id.attempt).unwrap();
                    }
                }
                _ => {}
            }
        }
    }

    fn beat(&mut self) -> &mut Self {
        self.seq += 1;
        let held = |attempt: &AttemptId| Held {
            attempt: attempt.clone(),
            since: Timestamp::EPOCH,
            progress: None,
            finished: false,
        };
        let heartbeat = Heartbeat {
            v: 1,
            agent: agent(),
            seq: self.seq,
            lane: Lane::Direct,
            offers: vec![Offer { capability: "x".to_owned(), slots: 20 }],
            labels: BTreeMap::new(),
            held: self.performed.iter().map(held).collect(),
            draining: false,
            leaving: false,
            software: String::new(),
            answers: Vec::new(),
            ration: None,
        };
        self.fleet(FleetInput::Beat(Box::new(heartbeat)));
        self
    }

    /// The agent stops what it was told to, and says so.
    fn stops(&mut self, step: &str) -> &mut Self {
        writeln!(self.told, "has stopped {step}").unwrap();
        let step = StepPath::new(step);
        let owed = |id: &AttemptId| self.world.owed.contains_key(&EffectKey::Attempt(id.clone()));
        self.performed.retain(|id| id.step != step || owed(id));
        self.world.now = self.world.now.after(Duration::from_millis(100));
        self.beat()
    }

    fn fails(&mut self, step: &str) -> &mut Self {
        let failure = Failure::new(FailureKind::Agent, "oops", "it broke");
        self.reports(step, Outcome::Failed { failure, duration_ms: 1 })
    }

    fn completes(&mut self, step: &str) -> &mut Self {
        self.reports(step, Outcome::Completed { output: Payload::null(), duration_ms: 1 })
    }

    fn reports(&mut self, step: &str, outcome: Outcome) -> &mut Self {
        let step = StepPath::new(step);
        let id = self.performed.iter().rfind(|id| id.step == step).cloned().unwrap();
        self.performed.remove(&id);
        let (run, attempt, body) = (id.run, id.attempt, ReportBody::Outcome(outcome));
        let report = Report { run, step, attempt, body };
        let changes = self.world.handle(Input::Report { agent: agent(), report }).changes;
        self.follow(changes, Some(&id));
        self.check_recovery();
        self
    }

    /// What is owed is of the same rounds after a recovery.
    fn check_recovery(&self) {
        let offers = rounds(&self.world.partition);
        let bytes = self.world.partition.snapshot();
        let restored = Partition::restore(self.world.partition.id(), &bytes).unwrap();
        assert_eq!(rounds(&restored), offers);
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&format!("{}{}", self.told, rounds(&self.world.partition)));
    }
}

fn rounds(partition: &Partition) -> String {
    let mut text = String::new();
    for effect in partition.outstanding() {
        let Effect::OfferTask(offer) = effect else { continue };
        let OfferTask { id, terms, .. } = &*offer;
        write!(text, "{}#{}:", id.step, id.attempt).unwrap();
        let round = |round: &Round| {
            let inside = round.inside.as_ref().map_or("the run", StepPath::as_str);
            format!(" round {} of {inside}", round.number)
        };
        let rounds: Vec<String> = terms.rounds.iter().map(round).collect();
        writeln!(text, "{}", rounds.join(",")).unwrap();
    }
    text
}

#[test]
fn all_of_a_group_have_stopped_before_any_of_them_begins_again() {
    let mut scene = Scene::new(
        "
steps:
  g:
    supervise: { strategy: one_for_all, max_restarts: 2, within: 1m }
    steps:
      a: { agent: x }
      b: { agent: x }
      c: { agent: x, needs: [a] }
  beside: { agent: x }
",
    );
    scene.fails("g/a").beat().stops("g/b").completes("g/a");
    scene.check(expect![[r#"
        begins beside#1
        begins g/a#1
        begins g/b#1
        is to stop g/b#1
        has stopped g/b
        begins g/a#2
        begins g/b#2
        begins g/c#1
        beside#1:
        g/b#2: round 1 of g
        g/c#1: round 1 of g
    "#]]);
}

#[test]
fn what_is_before_in_the_file_goes_on_in_its_round() {
    let mut scene = Scene::new(
        "
steps:
  g:
    supervise: { strategy: rest_for_one, max_restarts: 2, within: 1m }
    steps:
      a: { agent: x, retry: { attempts: 2, initial: 1ms } }
      b: { agent: x }
      c: { agent: x }
",
    );
    scene.fails("g/b").beat().stops("g/c");
    scene.check(expect![[r#"
        begins g/a#1
        begins g/b#1
        begins g/c#1
        is to stop g/c#1
        has stopped g/c
        begins g/b#2
        begins g/c#2
        g/a#1:
        g/b#2: round 1 of g
        g/c#2: round 1 of g
    "#]]);
}

#[test]
fn what_starts_over_alone_waits_for_all_that_is_inside_it() {
    let mut scene = Scene::new(
        "
steps:
  g:
    supervise: { strategy: one_for_one, max_restarts: 3, within: 1m }
    steps:
      a:
        steps:
          b: { agent: x }
          c: { agent: x }
      d: { agent: x }
      f: { agent: x, for_each: [1, 2] }
",
    );
    scene.fails("g/a/b").fails("g/d").stops("g/a/c").fails("g/f[1]").stops("g/f[0]");
    scene.check(expect![[r#"
        begins g/a/b#1
        begins g/a/c#1
        begins g/d#1
        begins g/f[0]#1
        begins g/f[1]#1
        is to stop g/a/c#1
        begins g/d#2
        has stopped g/a/c
        begins g/a/b#2
        begins g/a/c#2
        is to stop g/f[0]#1
        has stopped g/f[0]
        begins g/f[0]#2
        begins g/f[1]#2
        g/d#2:
        g/a/b#2: round 1 of g/a
        g/a/c#2: round 1 of g/a
        g/f[0]#2: round 1 of g/f
        g/f[1]#2: round 1 of g/f
    "#]]);
}

#[test]
fn all_has_stopped_before_a_group_is_tried_again() {
    let mut scene = Scene::new(
        "
steps:
  g:
    retry: { attempts: 3, initial: 1ms, jitter: none }
    steps:
      a: { agent: x }
      f: { agent: x, for_each: [1, 2] }
",
    );
    scene.fails("g/a").stops("g/f[0]").stops("g/f[1]");
    scene.check(expect![[r#"
        begins g/a#1
        begins g/f[0]#1
        begins g/f[1]#1
        is to stop g/f[0]#1
        is to stop g/f[1]#1
        has stopped g/f[0]
        has stopped g/f[1]
        begins g/a#2
        begins g/f[0]#2
        begins g/f[1]#2
        g/a#2: round 1 of g
        g/f[0]#2: round 1 of g/f, round 1 of g
        g/f[1]#2: round 1 of g/f, round 1 of g
    "#]]);
}

#[test]
fn all_has_stopped_before_anything_is_made_good() {
    let mut scene = Scene::new(
        "
on_failure: compensate
steps:
  a: { agent: x, compensate: { agent: x } }
  b: { agent: x, needs: [a] }
  c: { agent: x, needs: [a] }
",
    );
    scene.completes("a").fails("b").beat().stops("c");
    scene.check(expect![[r#"
        begins a#1
        begins b#1
        begins c#1
        is to stop c#1
        has stopped c
        begins a~compensate#1
        a~compensate#1: round 1 of the run
    "#]]);
}
