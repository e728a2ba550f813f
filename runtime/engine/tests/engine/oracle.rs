//! The engine against a naive interpreter: slow, without counters and queues, and so easy to
//! believe. Random workflows, random outcomes in random order, pauses and cancellations; after
//! every input both must agree on the status of every step and on what is in flight.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use skep_engine::{EffectKey, Input};
use skep_protocol::{
    AgentId, AttemptId, Event, Failure, FailureKind, Outcome, Payload, Record, Report, ReportBody,
    StepPath, StepStatus,
};

use crate::random::{self, Chance, Definition, If, Join, Kind, Step};
use crate::world::{World, run_id};

/// What the naive interpreter knows: statuses and attempts by path, and three flags.
#[derive(Default)]
struct Oracle {
    status: BTreeMap<String, StepStatus>,
    attempt: BTreeMap<String, u32>,
    failures: BTreeMap<String, u32>,
    skipped_by_stop: BTreeSet<String>,
    /// In which order groups and `for_each` steps began.
    began: BTreeMap<String, usize>,
    paused: bool,
    cancelled: bool,
}

/// How the steps of one scope stand.
struct Around<'a> {
    prefix: &'a str,
    told_to_stop: bool,
}

impl Oracle {
    fn of(&self, path: &str) -> StepStatus {
        self.status.get(path).copied().unwrap_or(StepStatus::Pending)
    }

    fn set(&mut self, path: &str, status: StepStatus) -> bool {
        self.status.insert(path.to_owned(), status) != Some(status)
    }

    fn begin(&mut self, path: &str) -> bool {
        self.attempt.insert(path.to_owned(), 1);
        self.set(path, StepStatus::Scheduled)
    }

    /// Draws every consequence there is, until nothing changes.
    fn settle(&mut self, definition: &Definition) {
        let around = Around { prefix: "", told_to_stop: false };
        while self.scope(&definition.steps, &around, definition.stop) {}
    }

    fn failed(&self, steps: &[Step], prefix: &str) -> bool {
        let failed = |step: &Step| self.of(&format!("{prefix}{}", step.id)) == StepStatus::Failed;
        steps.iter().any(|step| !step.may_fail && failed(step))
    }

    fn scope(&mut self, steps: &[Step], around: &Around<'_>, stop: bool) -> bool {
        let stopping = stop && self.failed(steps, around.prefix);
        let mut changed = false;
        // What has not begun comes before what is inside of what has; of that, what is inside of
        // what began first: after a pause, much may happen at once.
        let path = |step: &Step| format!("{}{}", around.prefix, step.id);
        let begun = |step: &&Step| self.of(&path(step)) != StepStatus::Pending;
        let (mut begun, pending): (Vec<&Step>, Vec<&Step>) = steps.iter().partition(begun);
        begun.sort_by_key(|step| self.began.get(&path(step)));
        for step in pending.into_iter().chain(begun) {
            let path = path(step);
            let cleans = matches!(step.condition, If::Always | If::Failure);
            let stops = self.cancelled || (!cleans && (stopping || around.told_to_stop));
            changed |= self.step(steps, step, &path, (around.prefix, stops, stop));
            if changed {
                // A failure may have made the scope stop: look at everything anew.
                return true;
            }
        }
        changed
    }

    fn step(
        &mut self,
        siblings: &[Step],
        step: &Step,
        path: &str,
        (prefix, stops, stop): (&str, bool, bool),
    ) -> bool {
        match (self.of(path), &step.kind) {
            (status, _) if status.is_final() => false,
            (StepStatus::Pending, _) if stops => {
                self.skipped_by_stop.insert(path.to_owned());
                self.set(path, StepStatus::Skipped)
            }
            (StepStatus::Pending, _) if self.paused => false,
            (StepStatus::Pending, kind) => match self.ready(siblings, step, prefix) {
                None => false,
                Some(false) => self.set(path, StepStatus::Skipped),
                Some(true) => match kind {
                    Kind::Agent { .. } => self.begin(path),
                    Kind::Each { .. } | Kind::Group(_) => {
                        self.began.insert(path.to_owned(), self.began.len());
                        self.set(path, StepStatus::Running)
                    }
                },
            },
            (_, Kind::Agent { .. }) => stops && self.set(path, StepStatus::Cancelled),
            (_, Kind::Each { items, parallel, tolerate, .. }) => {
                self.each(path, (*items, *parallel, *tolerate), (stops, stop))
            }
            (_, Kind::Group(inner)) => {
                let prefix = format!("{path}/");
                if self.scope(inner, &Around { prefix: &prefix, told_to_stop: stops }, stop) {
                    return true;
                }
                let over = |step: &Step| self.of(&format!("{prefix}{}", step.id)).is_final();
                let end = match () {
                    () if !inner.iter().all(over) => return false,
                    () if stops => StepStatus::Cancelled,
                    () if self.failed(inner, &prefix) => StepStatus::Failed,
                    () => StepStatus::Completed,
                };
                self.set(path, end)
            }
        }
    }

    fn each(
        &mut self,
        path: &str,
        (items, parallel, tolerate): (usize, usize, usize),
        (stops, stop): (bool, bool),
    ) -> bool {
        let paths: Vec<_> = (0..items).map(|item| format!("{path}[{item}]")).collect();
        let count = |oracle: &Self, wanted: &dyn Fn(StepStatus) -> bool| {
            paths.iter().filter(|path| wanted(oracle.of(path))).count()
        };
        let failed =
            count(self, &|status| matches!(status, StepStatus::Failed | StepStatus::Cancelled));
        let too_many = failed > tolerate;
        if stops || (too_many && stop) {
            let mut changed = false;
            for path in &paths {
                changed |= match self.of(path) {
                    StepStatus::Pending => self.set(path, StepStatus::Skipped),
                    status if status.is_final() => false,
                    _ => self.set(path, StepStatus::Cancelled),
                };
            }
            let end = if stops { StepStatus::Cancelled } else { StepStatus::Failed };
            return changed || self.set(path, end);
        }
        if count(self, &StepStatus::is_final) == items {
            return self
                .set(path, if too_many { StepStatus::Failed } else { StepStatus::Completed });
        }
        let active = |status: StepStatus| !status.is_final() && status != StepStatus::Pending;
        let room = count(self, &active) < parallel && !self.paused;
        let next = paths.iter().find(|path| self.of(path) == StepStatus::Pending).cloned();
        match next {
            Some(next) if room => self.begin(&next),
            _ => false,
        }
    }

    /// Tells whether a step is to start, is to be skipped, or has to wait.
    fn ready(&self, siblings: &[Step], step: &Step, prefix: &str) -> Option<bool> {
        let of = |need: &usize| self.of(&format!("{prefix}{}", siblings[*need].id));
        let needs: Vec<_> = step.needs.iter().map(of).collect();
        let completed = needs.iter().filter(|need| **need == StepStatus::Completed).count();
        let skipped = needs.iter().filter(|need| **need == StepStatus::Skipped).count();
        let all_over = needs.iter().all(|need| need.is_final());
        let asks = matches!(step.condition, If::Always | If::Failure);
        let met = match step.join {
            Join::Unwritten => completed == needs.len(),
            Join::All => completed + skipped == needs.len(),
            Join::Enough(n) => completed >= n,
        };
        let early = matches!(step.join, Join::Enough(_)) && met;
        if !all_over && !early {
            return None;
        }
        if !met && !asks {
            return Some(false);
        }
        let troubled = step.needs.iter().any(|need| self.troubled(siblings, *need, prefix));
        Some(match step.condition {
            If::None | If::Always => true,
            If::False => false,
            If::Failure => troubled,
            If::Success => !troubled,
            If::FirstCompleted => needs[0] == StepStatus::Completed,
        })
    }

    /// Tells whether a failure lies in or behind a step.
    fn troubled(&self, siblings: &[Step], step: usize, prefix: &str) -> bool {
        match self.of(&format!("{prefix}{}", siblings[step].id)) {
            StepStatus::Failed | StepStatus::Cancelled => true,
            StepStatus::Skipped => {
                let stopping = self.stopped(siblings, step, prefix);
                let needs = siblings[step].needs.iter();
                stopping || needs.clone().any(|need| self.troubled(siblings, *need, prefix))
            }
            _ => false,
        }
    }

    /// Tells whether a skipped step was skipped because its scope stops.
    fn stopped(&self, siblings: &[Step], step: usize, prefix: &str) -> bool {
        self.skipped_by_stop.contains(&format!("{prefix}{}", siblings[step].id))
    }

    fn in_flight(&self) -> BTreeSet<(String, u32)> {
        let flying = self.status.iter().filter(|(_, status)| **status == StepStatus::Scheduled);
        flying.map(|(path, _)| (path.clone(), self.attempt[path])).collect()
    }

    /// An attempt ended: completed, failed (perhaps finally) or lost.
    fn outcome(&mut self, definition: &Definition, path: &str, outcome: Ending) {
        let attempts = attempts(&definition.steps, path);
        let failures = self.failures.entry(path.to_owned()).or_default();
        *failures += u32::from(matches!(outcome, Ending::Failed | Ending::FailedForGood));
        let end = match outcome {
            Ending::Completed => Some(StepStatus::Completed),
            Ending::FailedForGood => Some(StepStatus::Failed),
            Ending::Failed if *failures >= attempts => Some(StepStatus::Failed),
            Ending::Failed | Ending::Lost => None,
        };
        match end {
            Some(end) => {
                self.set(path, end);
            }
            None => *self.attempt.entry(path.to_owned()).or_default() += 1,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Completed,
    Failed,
    FailedForGood,
    Lost,
}

fn attempts(steps: &[Step], path: &str) -> u32 {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let name = first.split('[').next().unwrap();
    let step = steps.iter().find(|step| step.id == name).unwrap();
    match &step.kind {
        Kind::Agent { attempts } | Kind::Each { attempts, .. } => *attempts,
        Kind::Group(inner) => attempts(inner, rest),
    }
}

/// The engine's opinion, read from its events.
fn statuses(records: &[Record]) -> BTreeMap<String, StepStatus> {
    let mut statuses = BTreeMap::new();
    for record in records {
        let Record::Run(record) = record else { continue };
        let Some(step) = record.event.step() else { continue };
        let status = match &record.event {
            Event::AttemptScheduled(_) => StepStatus::Scheduled,
            Event::StepExpanded(_) | Event::GroupStarted { .. } => StepStatus::Running,
            Event::AttemptCompleted(_) | Event::StepCompleted { .. } => StepStatus::Completed,
            Event::StepFailed { .. } => StepStatus::Failed,
            Event::StepSkipped { .. } => StepStatus::Skipped,
            Event::StepCancelled { .. } => StepStatus::Cancelled,
            _ => continue,
        };
        statuses.insert(step.to_string(), status);
    }
    statuses
}

fn input(path: &str, attempt: u32, ending: Ending) -> Input {
    let step = StepPath::new(path);
    let outcome = |outcome| Input::Report {
        agent: AgentId::new("a1").unwrap(),
        report: Report {
            run: run_id(),
            step: step.clone(),
            attempt,
            body: ReportBody::Outcome(outcome),
        },
    };
    let failure = Failure::new(FailureKind::Agent, "oops", "it broke");
    match ending {
        Ending::Completed => {
            outcome(Outcome::Completed { output: Payload::null(), duration_ms: 1 })
        }
        Ending::Failed => outcome(Outcome::Failed { failure, duration_ms: 1 }),
        Ending::FailedForGood => {
            outcome(Outcome::Failed { failure: failure.fatal(), duration_ms: 1 })
        }
        Ending::Lost => {
            let attempt = AttemptId { run: run_id(), step, attempt };
            Input::Lost { attempt, agent: None, cause: "gone".to_owned() }
        }
    }
}

/// Plays one random run to its end, in both.
fn agree(seed: u64, mut world: World) {
    let mut chance = Chance::new(seed);
    let definition = random::definition(&mut chance);
    let text = definition.text();
    let workflow = crate::world::read(&text);
    world.start(&workflow, "{}");
    let mut oracle = Oracle::default();
    loop {
        oracle.settle(&definition);
        let found = statuses(&world.records);
        assert_eq!(found, oracle.status, "seed={seed}\n{text}");
        let flying = oracle.in_flight();
        if !oracle.paused {
            assert_eq!(offered(&world), flying, "seed={seed}\n{text}");
        }
        if world.partition.live_runs() == 0 {
            assert!(flying.is_empty(), "seed={seed}\n{text}");
            return;
        }
        world.now = world.now.after(std::time::Duration::from_secs(10));
        match chance.below(24) {
            0 if !oracle.cancelled && chance.one_in(2) => {
                oracle.cancelled = true;
                world.handle(Input::Cancel { run: run_id(), reason: "enough".to_owned() });
            }
            1 | 2 => {
                let (run, by) = (run_id(), "ada".to_owned());
                world.handle(match oracle.paused {
                    true => Input::Resume { run, by },
                    false => Input::Pause { run, by },
                });
                oracle.paused = !oracle.paused;
            }
            _ => {
                let Some((path, attempt)) = flying.iter().nth(chance.below(flying.len().max(1)))
                else {
                    // Only a resumption can help.
                    assert!(oracle.paused, "seed={seed}: nothing is in flight\n{text}");
                    oracle.paused = false;
                    world.handle(Input::Resume { run: run_id(), by: "ada".to_owned() });
                    continue;
                };
                let ending = match chance.below(10) {
                    0..=5 => Ending::Completed,
                    6 | 7 => Ending::Failed,
                    8 => Ending::FailedForGood,
                    _ => Ending::Lost,
                };
                world.handle(input(path, *attempt, ending));
                oracle.outcome(&definition, path, ending);
            }
        }
    }
}

fn offered(world: &World) -> BTreeSet<(String, u32)> {
    let offers = world.owed.keys().filter_map(|key| match key {
        EffectKey::Attempt(attempt) => Some((attempt.step.to_string(), attempt.attempt)),
        _ => None,
    });
    offers.collect()
}

proptest! {
    #![proptest_config(crate::world::cases(400))]

    #[test]
    fn the_engine_agrees_with_a_naive_interpreter(seed: u64) {
        agree(seed, World::quick());
    }
}

proptest! {
    #![proptest_config(crate::world::cases(60))]

    #[test]
    fn so_do_replays_and_snapshots(seed: u64) {
        agree(seed, World::new());
    }
}

/// Seeds that failed once.
#[test]
fn they_agree_on_what_they_once_did_not() {
    agree(5203641808855299768, World::quick());
    agree(8947466283273836731, World::quick());
}
