//! Runs that do over what others did not: all small graphs, every failing step, a retry from every
//! step, held against a naive opinion of what has to run.

mod at_length;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use skep_engine::{Again, Effect, Input, Past};
use skep_protocol::{
    AgentId, Event, Failure, FailureKind, Outcome, Payload, Record, Report, ReportBody, RunId,
    RunStatus, StepPath,
};
use skep_workflow::Workflow;

use crate::world::{World, read, run_id};

/// Steps of the graphs.
const STEPS: usize = 4;

/// A graph: of each step those that it needs, all with lower numbers.
struct Graph {
    needs: Vec<Vec<usize>>,
    policy: &'static str,
}

impl Graph {
    /// Returns every graph with every policy.
    fn all() -> impl Iterator<Item = Self> {
        let edges = STEPS * (STEPS - 1) / 2;
        (0..1_u32 << edges).flat_map(|bits| {
            ["stop", "continue", "compensate"].map(|policy| Self { needs: needs(bits), policy })
        })
    }

    fn workflow(&self) -> Workflow {
        let mut text = format!("name: w\non_failure: {}\nsteps:\n", self.policy);
        for (step, needs) in self.needs.iter().enumerate() {
            let needs: Vec<String> = needs.iter().map(|need| format!("s{need}")).collect();
            let with = "with: { undo: '${{ output }}' }";
            let work = format!("agent: x, retry: {{ attempts: 1 }}, needs: [{}]", needs.join(", "));
            let _ = writeln!(text, "  s{step}: {{ {work}, compensate: {{ agent: y, {with} }} }}");
        }
        read(&text)
    }

    /// Returns what needs a step, however far away.
    fn followers(&self, of: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for step in of + 1..STEPS {
            if self.needs[step].iter().any(|need| *need == of || found.contains(need)) {
                found.insert(step);
            }
        }
        found
    }

    /// Returns what has to run again: a naive opinion.
    fn wanted(
        &self,
        done: &BTreeSet<usize>,
        undone: &BTreeSet<usize>,
        how: How,
    ) -> BTreeSet<usize> {
        let mut wanted: BTreeSet<usize> = (0..STEPS).filter(|step| !done.contains(step)).collect();
        for step in undone {
            wanted.insert(*step);
            wanted.extend(self.followers(*step));
        }
        match how {
            How::Plain => {}
            How::From(step) => {
                wanted.insert(step);
                wanted.extend(self.followers(step));
            }
            How::Only(step) => {
                wanted.insert(step);
            }
        }
        wanted
    }
}

fn needs(mut bits: u32) -> Vec<Vec<usize>> {
    let mut needs = vec![Vec::new(); STEPS];
    for (step, needs) in needs.iter_mut().enumerate() {
        for need in 0..step {
            if bits & 1 == 1 {
                needs.push(need);
            }
            bits >>= 1;
        }
    }
    needs
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Plain,
    From(usize),
    Only(usize),
}

impl How {
    fn all() -> impl Iterator<Item = Self> {
        let each = (0..STEPS).flat_map(|step| [Self::From(step), Self::Only(step)]);
        std::iter::once(Self::Plain).chain(each)
    }

    fn again(self) -> Again {
        let (from, only) = match self {
            Self::Plain => (None, false),
            Self::From(step) => (Some(step), false),
            Self::Only(step) => (Some(step), true),
        };
        let from = from.map(|step| StepPath::new(&format!("s{step}")));
        Again { from, only, inputs_change: false }
    }
}

/// Lets everything that is owed succeed, but one step.
fn perform(world: &mut World, failing: Option<usize>) {
    perform_but(world, failing.map(|step| format!("s{step}")).as_deref());
}

fn perform_but(world: &mut World, failing: Option<&str>) {
    while world.partition.live_runs() > 0 {
        let owed: Vec<_> = world.owed.values().cloned().collect();
        assert!(!owed.is_empty(), "the run goes on");
        for effect in owed {
            let Effect::OfferTask(offer) = effect else { panic!("{effect:?} is owed") };
            let id = offer.id.clone();
            let outcome = if failing == Some(id.step.as_str()) {
                let failure = Failure::new(FailureKind::Agent, "oops", "it broke").fatal();
                Outcome::Failed { failure, duration_ms: 1 }
            } else {
                let output = Payload::encode(&format!("{} {}", id.step, id.attempt)).unwrap();
                Outcome::Completed { output, duration_ms: 1 }
            };
            let body = ReportBody::Outcome(outcome);
            let report = Report { run: id.run, step: id.step, attempt: id.attempt, body };
            world.handle(Input::Report { agent: AgentId::new("a").unwrap(), report });
        }
    }
}

/// Returns the steps that completed by the hands of agents, in order, and those made good.
fn performed(world: &World) -> (Vec<usize>, BTreeSet<usize>) {
    let (mut done, mut undone) = (Vec::new(), BTreeSet::new());
    for record in world.history() {
        let Event::AttemptCompleted(completed) = &record.event else { continue };
        let step = completed.step.as_str().trim_start_matches('s');
        match step.strip_suffix("~compensate") {
            Some(step) => drop(undone.insert(step.parse().unwrap())),
            None => done.push(step.parse().unwrap()),
        }
    }
    (done, undone)
}

fn ended(world: &World) -> RunStatus {
    world.partition.status(run_id()).unwrap()
}

/// Calls `check` with each retry of each run of each graph, and with what has to run.
fn each_retry(mut check: impl FnMut(World, &Graph, BTreeSet<usize>, &str)) {
    for graph in Graph::all() {
        let workflow = graph.workflow();
        for failing in 0..STEPS {
            let mut world = World::quick();
            world.start(&workflow, "{}");
            perform(&mut world, Some(failing));
            let (done, undone) = performed(&world);
            let done: BTreeSet<usize> = done.into_iter().collect();
            for how in How::all() {
                let name = format!("{:?} {} s{failing} {how:?}", graph.needs, graph.policy);
                let retried = world.retried(&workflow, &how.again(), failing % 2 == 0);
                check(retried.unwrap(), &graph, graph.wanted(&done, &undone, how), &name);
            }
        }
    }
}

#[test]
fn exactly_what_has_to_runs_again_in_order() {
    each_retry(|mut world, graph, wanted, name| {
        perform(&mut world, None);
        assert_eq!(ended(&world), RunStatus::Completed, "{name}");
        let (done, undone) = performed(&world);
        assert_eq!(done.iter().copied().collect::<BTreeSet<_>>(), wanted, "{name}");
        assert_eq!(done.len(), wanted.len(), "{name}: nothing runs twice");
        assert!(undone.is_empty(), "{name}");
        for (at, step) in done.iter().enumerate() {
            let later = &done[at..];
            assert!(!graph.needs[*step].iter().any(|need| later.contains(need)), "{name}");
        }
    });
}

#[test]
fn what_was_kept_is_made_good_with_the_rest() {
    each_retry(|mut world, _, wanted, name| {
        world.handle(Input::Cancel { run: run_id(), reason: "enough".to_owned() });
        perform(&mut world, None);
        assert_eq!(ended(&world), RunStatus::Cancelled, "{name}");
        let (_, undone) = performed(&world);
        let kept: BTreeSet<usize> = (0..STEPS).filter(|step| !wanted.contains(step)).collect();
        assert!(kept.is_subset(&undone), "{name}: {undone:?} were made good, {kept:?} were kept");
    });
}

#[test]
fn a_key_and_the_numbers_of_attempts_go_on() {
    let workflow = read(
        "name: w\nsteps:\n  a: { agent: x }\n  b: { agent: x, needs: [a], retry: { attempts: 2, \
         initial: 1s, jitter: none } }\n",
    );
    let mut world = World::new();
    world.start(&workflow, "{}");
    let offer = |world: &World| {
        let offer = world.owed.values().find_map(|effect| match effect {
            Effect::OfferTask(offer) => Some(offer.task()),
            _ => None,
        });
        offer.unwrap()
    };
    let key = |world: &World| (offer(world).idempotency_key(), offer(world).fencing_token);
    let fail = |world: &mut World| {
        let id = offer(world).id();
        let failure = Failure::new(FailureKind::Timeout, "timeout", "too long");
        let body = ReportBody::Outcome(Outcome::Failed { failure, duration_ms: 1 });
        let report = Report { run: id.run, step: id.step, attempt: id.attempt, body };
        world.handle(Input::Report { agent: AgentId::new("a").unwrap(), report });
    };
    let id = offer(&world).id();
    let output = Payload::from_text("1").unwrap();
    let body = ReportBody::Outcome(Outcome::Completed { output, duration_ms: 1 });
    let report = Report { run: id.run, step: id.step, attempt: id.attempt, body };
    world.handle(Input::Report { agent: AgentId::new("a").unwrap(), report });
    fail(&mut world);
    let (first, token) = key(&world);
    fail(&mut world);
    assert_eq!(ended(&world), RunStatus::Failed);
    let again = world.retried(&workflow, &Again::default(), false).unwrap();
    assert_eq!(key(&again), (first.clone(), token + 1));
    assert!(offer(&again).origin.is_some());
    // What it is given may be something else: it is not the same thing any more.
    let others = Again { inputs_change: true, ..Again::default() };
    let again = world.retried(&workflow, &others, false).unwrap();
    assert!(offer(&again).origin.is_none());
    let from = Again { from: Some(StepPath::new("a")), ..Again::default() };
    let again = world.retried(&workflow, &from, false).unwrap();
    assert_eq!((offer(&again).step.as_str(), offer(&again).attempt), ("a", 2));
    assert!(offer(&again).origin.is_none());
}

#[test]
fn what_cannot_be_done_over_is_refused_with_a_way_out() {
    let workflow = read(
        "name: w\nsteps:\n  a: { agent: x, pivot: true }\n  b: { agent: x, needs: [a] }\n  g: {
           needs: [b], steps: { i: { agent: x } } }\n  f: { needs: [b], agent: x,
           for_each: '${{ [1, 2] }}' }\n",
    );
    let mut world = World::quick();
    world.start(&workflow, "{}");
    let refused = |world: &World, from: Option<&str>| {
        let again = Again { from: from.map(StepPath::new), ..Again::default() };
        match world.retried(&workflow, &again, false) {
            Err(refused) => format!("{}; {}", refused.cause, refused.help),
            Ok(_) => panic!("{from:?} is done over"),
        }
    };
    let mut all = refused(&world, None) + "\n";
    perform(&mut world, None);
    for from in [None, Some("a"), Some("nope"), Some("g/i"), Some("f[7]"), Some("b[0]"), Some("")] {
        let _ = writeln!(all, "{}", refused(&world, from));
    }
    let again = Again { from: Some(StepPath::new("f[1]")), ..Again::default() };
    let mut again = world.retried(&workflow, &again, false).unwrap();
    perform(&mut again, None);
    let done = again.history().into_iter().filter_map(|record| match record.event {
        Event::AttemptCompleted(done) => Some(done.step.to_string()),
        _ => None,
    });
    let _ = writeln!(all, "from f[1]: {:?}", done.collect::<Vec<_>>());
    expect_test::expect![[r#"
        it is not over; wait for its end, or end it: skep cancel 00000000-0000-7000-8000-000000000001
        it is completed, and every step of it completed; name a step that shall run again: skep retry 00000000-0000-7000-8000-000000000001 --from STEP
        step `a` is or holds a pivot that was passed, and would run again; retry from a step behind it, or without --from: skep retry 00000000-0000-7000-8000-000000000001
        it has no step `nope`; its steps are a, b, g, f
        step `g/i` is inside the group `g`, which runs as a unit; retry from the group: --from 'g'
        step `f` has no item `f[7]`; retry from the step with all of its items: --from 'f'
        step `b` has no item `b[0]`; retry from the step with all of its items: --from 'b'
        it has no step ``; its steps are a, b, g, f
        from f[1]: ["f[1]"]
    "#]].assert_eq(&all);
}

#[test]
fn facts_that_cannot_be_had_cancel_the_run() {
    let graph = Graph { needs: needs(u32::MAX), policy: "stop" };
    let workflow = graph.workflow();
    let mut world = World::quick();
    world.start(&workflow, "{}");
    perform(&mut world, Some(2));
    for (kept, facts) in [
        (Some(Payload::from_text("[]").unwrap()), 1),
        (Some(Payload::from_text("{\"a\":[1]}").unwrap()), 1),
        (Some(Payload::from_text("[{\"run_cancelled\":{}}]").unwrap()), 1),
        (None, 7),
        (Some(Payload::from(skep_protocol::BlobRef::of(b"gone"))), 3),
    ] {
        let mut other = World::quick();
        other.retry_as(&workflow, kept, facts);
        let reasons: Vec<_> = other.records.iter().filter_map(cancelled).collect();
        assert_eq!(ended(&other), RunStatus::Cancelled);
        assert!(reasons[0].starts_with("what is kept of the run before"), "{reasons:?}");
        assert!(other.owed.is_empty());
    }
}

fn cancelled(record: &Record) -> Option<String> {
    match record {
        Record::Run(record) => match &record.event {
            Event::CancelRequested { reason } => Some(reason.clone()),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn who_was_cancelled_before_it_began_stands_for_the_run_before() {
    let workflow = read("name: w\nsteps: { a: { agent: x }, b: { agent: x } }");
    let mut world = World::new();
    world.retry_as(&workflow, None, 2);
    assert_eq!(ended(&world), RunStatus::Cancelled, "what is kept is nowhere");
    let past = Past::new(&workflow, &world.history()).unwrap();
    assert_eq!(past.stands_for(), Some(run_id()));

    let mut world = World::new();
    world.start(&workflow, "{}");
    perform(&mut world, Some(1));
    let past = Past::new(&workflow, &world.history()).unwrap();
    assert_eq!(past.stands_for(), None);
}

#[test]
fn a_run_is_done_over_by_one_run() {
    let workflow = read("name: w\nsteps: { a: { agent: x } }");
    let mut world = World::new();
    let id = |key| RunId::from_key("w", key);
    let mut asked = |run, of| {
        let step = world.retry((id(run), id(of)), &workflow, (None, 0));
        crate::print::reply(&step.handled).unwrap()
    };
    assert_eq!(asked("one", "old"), "started");
    let other = format!("rejected: run {} cannot be retried: run {}", id("old"), id("one"));
    let told = asked("two", "old");
    assert!(told.starts_with(&other), "{told}");
    assert_eq!(asked("one", "old"), "exists");
    assert_eq!(asked("three", "one"), "started");
    world.handle(Input::Cancel { run: id("one"), reason: "enough".to_owned() });
    let step = world.retry((id("two"), id("old")), &workflow, (None, 0));
    let told = crate::print::reply(&step.handled).unwrap();
    assert!(told.starts_with(&other), "{told}, whatever becomes of it");
}
