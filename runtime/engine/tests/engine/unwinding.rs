//! I-10, exhaustively: every DAG of up to four steps, each step failing in each way, the journal
//! cut after each record; and every DAG of five steps with each failing step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use skep_engine::{Effect, Input};
use skep_protocol::{
    AgentId, AttemptId, Event, Failure, FailureKind, Outcome, Payload, Record, Report, ReportBody,
    RunStatus, StepPath,
};

use crate::world::{World, run_id};

/// How one step comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// By its own word: nothing was done.
    Fails,
    /// With an outcome that nobody knows.
    IsUnknown,
}

/// A graph: bit `to * 5 + from` says that step `to` needs step `from`, which comes before it.
#[derive(Debug, Clone, Copy)]
struct Graph {
    steps: usize,
    edges: u32,
}

impl Graph {
    fn all(steps: usize) -> impl Iterator<Item = Self> {
        let pairs = steps * (steps - 1) / 2;
        (0..1u32 << pairs).map(move |bits| {
            let pairs = (1..steps).flat_map(|to| (0..to).map(move |from| (to, from)));
            let chosen = pairs.enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
            let edges = chosen.fold(0, |edges, (_, (to, from))| edges | 1 << (to * 5 + from));
            Self { steps, edges }
        })
    }

    fn needs(self, to: usize) -> impl Iterator<Item = usize> {
        (0..to).filter(move |from| self.edges & (1 << (to * 5 + from)) != 0)
    }

    /// Returns whether `later` depends on `earlier`, however far.
    fn depends(self, later: usize, earlier: usize) -> bool {
        self.needs(later).any(|need| need == earlier || self.depends(need, earlier))
    }

    fn definition(self) -> String {
        let mut text = "name: saga\non_failure: compensate\nsteps:\n".to_owned();
        for step in 0..self.steps {
            let needs: Vec<_> = self.needs(step).map(|need| format!("s{need}")).collect();
            let needs = needs.join(", ");
            let compensate = "compensate: { agent: y, with: \"${{ output }}\" }";
            writeln!(text, "  s{step}: {{ agent: x, needs: [{needs}], {compensate} }}").unwrap();
        }
        text
    }
}

fn report(id: AttemptId, outcome: Outcome) -> Input {
    let AttemptId { run, step, attempt } = id;
    let report = Report { run, step, attempt, body: ReportBody::Outcome(outcome) };
    Input::Report { agent: AgentId::new("a1").unwrap(), report }
}

fn completed(id: AttemptId) -> Input {
    let output = Payload::encode(&id.step.to_string()).unwrap();
    report(id, Outcome::Completed { output, duration_ms: 1 })
}

/// Returns what is owed to agents, in order.
fn offers(world: &World) -> Vec<AttemptId> {
    let offers = world.owed.values().filter_map(|effect| match effect {
        Effect::OfferTask(offer) => Some(offer.task.id()),
        _ => None,
    });
    offers.collect()
}

fn path(step: usize) -> StepPath {
    StepPath::new(&format!("s{step}"))
}

/// Plays one run in which `failing` comes to a bad end once everything else that can has completed,
/// or before; returns what was made good, in order, with what was at hand at the same time.
fn play(graph: Graph, failing: usize, ending: Ending, eager: bool, thorough: bool) {
    let workflow = crate::world::read(&graph.definition());
    let mut world = if thorough { World::new() } else { World::quick() };
    world.start(&workflow, "{}");
    let mut done = BTreeSet::new();
    loop {
        let offers = offers(&world);
        let bad = offers.iter().find(|id| id.step == path(failing));
        let other = offers.iter().find(|id| id.step != path(failing));
        let next = if eager { bad.or(other) } else { other.or(bad) };
        let Some(id) = next.cloned() else { panic!("nothing is owed: {graph:?}") };
        if id.step != path(failing) {
            done.insert(id.step.clone());
            world.handle(completed(id));
            continue;
        }
        let kind = if ending == Ending::Fails { FailureKind::Agent } else { FailureKind::Panic };
        let failure = Failure::new(kind, "oops", "it broke");
        if ending == Ending::IsUnknown {
            done.insert(id.step.clone());
        }
        // What is in the hands of others at this moment is cut off, and may have been done.
        done.extend(offers.iter().map(|id| id.step.clone()).filter(|step| *step != path(failing)));
        world.handle(report(id, Outcome::Failed { failure, duration_ms: 1 }));
        break;
    }
    unwind(graph, &mut world, done);
}

/// Has everything made good, holding what is at hand against what the graph says.
fn unwind(graph: Graph, world: &mut World, done: BTreeSet<StepPath>) {
    let mut left = done.clone();
    let mut completions: BTreeMap<StepPath, u32> = BTreeMap::new();
    loop {
        let free = |step: &StepPath| {
            let index = |path: &StepPath| path.as_str()[1..].parse::<usize>().unwrap();
            !left.iter().any(|later| graph.depends(index(later), index(step)))
        };
        let expected: BTreeSet<_> = left.iter().filter(|step| free(step)).cloned().collect();
        let found: BTreeSet<_> =
            offers(world).iter().map(|id| id.step.compensated().unwrap()).collect();
        assert_eq!(found, expected, "{graph:?}");
        let Some(id) = offers(world).first().cloned() else { break };
        let step = id.step.compensated().unwrap();
        left.remove(&step);
        *completions.entry(step).or_default() += 1;
        world.handle(completed(id.clone()));
        // A repetition changes nothing.
        assert_eq!(world.handle(completed(id)).handled.records, []);
    }
    assert_eq!(completions.keys().cloned().collect::<BTreeSet<_>>(), done, "{graph:?}");
    assert!(completions.values().all(|times| *times == 1), "{graph:?}");
    assert_eq!(world.partition.status(run_id()), Some(RunStatus::Compensated), "{graph:?}");
    let last = world.records.last().unwrap();
    assert!(matches!(last, Record::Run(r) if matches!(r.event, Event::RunCompensated { .. })));
}

fn every(steps: usize, thorough: bool) {
    for graph in Graph::all(steps) {
        for failing in 0..steps {
            for ending in [Ending::Fails, Ending::IsUnknown] {
                for eager in [false, true] {
                    play(graph, failing, ending, eager, thorough);
                }
            }
        }
    }
}

/// With the journal cut after each record, a replay and a snapshot at each point.
#[test]
fn all_graphs_of_four_steps_unwind_whatever_fails_and_wherever_the_journal_is_cut() {
    (1..=4).for_each(|steps| every(steps, true));
}

#[test]
fn all_graphs_of_five_steps_unwind_whatever_fails() {
    every(5, false);
}
