//! Random workflows with everything in them, and whatever may come from outside, sensible or not.
//!
//! There is no second opinion on what follows; but every invariant holds after every input, a
//! replay and a snapshot agree, and once the faults stop every run ends.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use skep_engine::{Again, Effect, EffectKey, Input, Reply};
use skep_protocol::{
    AgentId, AttemptId, ChildOutcome, Failure, FailureKind, Outcome, Parent, Payload, Report,
    ReportBody, RunId, Signal, SignalId, StepPath,
};

use crate::random::Chance;
use crate::world::{World, run_id};

/// Writes a workflow with every kind of step and key.
fn definition(chance: &mut Chance) -> String {
    let policy = ["stop", "continue", "compensate"][chance.below(3)];
    let mut text = format!("name: chaos\non_failure: {policy}\nsteps:\n");
    let mut next = 0;
    let len = 1 + chance.below(6);
    write_steps(chance, (len, 0), &mut next, &mut text);
    text + "outputs:\n  status: ${{ steps.s1.status }}\n"
}

fn write_steps(
    chance: &mut Chance,
    (len, depth): (usize, usize),
    next: &mut usize,
    text: &mut String,
) {
    let pad = "  ".repeat(depth * 2 + 1);
    let mut siblings: Vec<String> = Vec::new();
    for _ in 0..len {
        *next += 1;
        let id = format!("s{next}");
        writeln!(text, "{pad}{id}:").unwrap();
        let needs: Vec<_> = siblings.iter().filter(|_| chance.one_in(3)).cloned().collect();
        let mut key = |line: &str| writeln!(text, "{pad}  {line}").unwrap();
        if !needs.is_empty() {
            key(&format!("needs: [{}]", needs.join(", ")));
            match chance.below(6) {
                0 => key("join: any"),
                1 => key("join: all"),
                _ => {}
            }
        }
        match chance.below(8) {
            0 => key("if: always()"),
            1 => key("if: failure()"),
            2 if !needs.is_empty() => key(&format!("if: steps.{}.status != 'failed'", needs[0])),
            _ => {}
        }
        if chance.one_in(6) {
            key("on_failure: continue");
        }
        match chance.below(if depth < 2 { 8 } else { 7 }) {
            3 => key(&format!("wait: {}s", 1 + chance.below(20))),
            4 => {
                let on_timeout = ["fail", "skip", "continue"][chance.below(3)];
                let wait = "signal: go, if: signal.n > 2, timeout: 40s, on_timeout";
                key(&format!("wait_for: {{ {wait}: {on_timeout} }}"));
            }
            kind => {
                write_work(chance, kind, &mut key);
                if kind == 7 {
                    let len = 1 + chance.below(3);
                    write_steps(chance, (len, depth + 1), next, text);
                }
            }
        }
        siblings.push(id);
    }
}

/// Writes what is performed: by an agent, a sub-workflow, or the steps of a group that follow.
fn write_work(chance: &mut Chance, kind: usize, key: &mut dyn FnMut(&str)) {
    if chance.one_in(5) {
        key("for_each: '${{ [1, 2, 3] }}'");
        key(&format!("max_parallel: {}", 1 + chance.below(3)));
        key(&format!("tolerate: {}", chance.below(2)));
    }
    if chance.one_in(4) {
        key(&format!("deadline: {}s", 30 + chance.below(100)));
    }
    if chance.one_in(2) {
        let retry = "retry: { attempts: 2, initial: 1s }";
        let with = "with: { output: '${{ output }}', error: '${{ error }}' }";
        key(&format!("compensate: {{ agent: y, {with}, timeout: 30s, {retry} }}"));
    } else if chance.one_in(8) {
        key("pivot: true");
    }
    match kind {
        5 => {
            key("workflow: child");
            key("timeout: 25s");
            key("retry: { attempts: 2, initial: 1s }");
        }
        7 => {
            if chance.one_in(2) {
                key("retry: { attempts: 2, initial: 1s }");
            }
            if chance.one_in(2) {
                let strategy = ["one_for_one", "one_for_all", "rest_for_one"][chance.below(3)];
                let most = chance.below(3);
                key(&format!(
                    "supervise: {{ strategy: {strategy}, max_restarts: {most}, within: 10m }}"
                ));
            }
            key("steps:");
        }
        _ => {
            key("agent: x");
            key("timeout: 20s");
            key("retry: { attempts: 3, initial: 1s, max: 8s }");
            if chance.one_in(3) {
                key("fallback: { agent: z, with: '${{ error.code }}', retry: { attempts: 2 } }");
            }
            if chance.one_in(3) {
                key("queue_timeout: 60s");
            }
            if chance.one_in(3) {
                key("expect: { type: object }");
            }
        }
    }
}

fn agent(chance: &mut Chance) -> AgentId {
    AgentId::new(["a1", "a1", "a1", "a2"][chance.below(4)]).unwrap()
}

/// Picks an attempt: mostly one that is owed, at times an earlier or an invented one.
fn attempt(world: &World, chance: &mut Chance) -> AttemptId {
    let owed: Vec<_> = offers(world);
    let invented = AttemptId { run: run_id(), step: StepPath::new("s1"), attempt: 1 };
    let picked = owed.get(chance.below(owed.len().max(1))).cloned();
    let mut picked = picked.unwrap_or(invented);
    if chance.one_in(8) {
        picked.attempt = u32::try_from(chance.below(4)).unwrap();
    }
    picked
}

fn offers(world: &World) -> Vec<AttemptId> {
    let offers = world.owed.values().filter_map(|effect| match effect {
        Effect::OfferTask(offer) => Some(offer.id.clone()),
        _ => None,
    });
    offers.collect()
}

fn children(world: &World) -> Vec<(Parent, RunId)> {
    let children = world.owed.values().filter_map(|effect| match effect {
        Effect::StartChild { start, .. } => Some((start.parent.clone()?, start.run)),
        _ => None,
    });
    children.collect()
}

fn report(agent: AgentId, id: AttemptId, body: ReportBody) -> Input {
    let AttemptId { run, step, attempt } = id;
    Input::Report { agent, report: Report { run, step, attempt, body } }
}

fn completed(output: &str) -> ReportBody {
    let output = Payload::from_text(output).unwrap();
    ReportBody::Outcome(Outcome::Completed { output, duration_ms: 1 })
}

fn failed(chance: &mut Chance) -> Failure {
    let failure = Failure::new(FailureKind::Agent, "oops", "it broke");
    if chance.one_in(4) { failure.fatal() } else { failure }
}

/// Returns whatever may happen next, sensible or not.
fn anything(world: &World, chance: &mut Chance, number: usize) -> Input {
    let (run, by) = (run_id(), "ada".to_owned());
    let id = attempt(world, chance);
    match chance.below(23) {
        0..=4 => report(agent(chance), id, completed("{}")),
        5 => report(agent(chance), id, completed("[]")),
        6 | 7 => {
            let failure = failed(chance);
            let body = ReportBody::Outcome(Outcome::Failed { failure, duration_ms: 1 });
            report(agent(chance), id, body)
        }
        8 => report(agent(chance), id, ReportBody::Taken {}),
        9 => report(agent(chance), id, ReportBody::Released { begun: chance.one_in(2) }),
        10 => report(agent(chance), id, ReportBody::Checkpoint(Payload::null())),
        11 => Input::Held { agent: agent(chance), attempt: id },
        12 => Input::Lost { attempt: id, agent: Some(agent(chance)), cause: "gone".to_owned() },
        13 => Input::Pause { run, by },
        14 => Input::Resume { run, by },
        15 if chance.one_in(6) => Input::Cancel { run, reason: by },
        16 => Input::TookOver { coordinator: "c1".parse().unwrap() },
        17 => {
            let payload = Payload::from_text(["{\"n\":1}", "{\"n\":3}", "7"][chance.below(3)]);
            let id = SignalId::new(&format!("s{}", number / 2)).unwrap();
            let payload = payload.unwrap();
            Input::Signal(Signal { run, name: "go".to_owned(), id, payload })
        }
        18 | 19 => match children(world).first().cloned() {
            Some((parent, child)) => {
                let outcome = match chance.below(4) {
                    0 => ChildOutcome::Failed(failed(chance)),
                    1 => ChildOutcome::Cancelled { left: chance.below(2) == 0 },
                    _ => ChildOutcome::Completed(Payload::null()),
                };
                Input::ChildEnded { parent, child, outcome }
            }
            None => Input::ParentNotified { run },
        },
        20 => {
            let step = StepPath::new(&format!("s{}", 1 + chance.below(4)));
            Input::Skip { run, step, by }
        }
        _ => Input::Wake,
    }
}

/// Lets everything that is owed succeed until the run is over.
fn heal(world: &mut World, seed: u64, text: &str) {
    let (run, by) = (run_id(), "ada".to_owned());
    if world.partition.live_runs() > 0 {
        world.handle(Input::Resume { run, by });
    }
    for _ in 0..2_000 {
        if world.partition.live_runs() == 0 {
            assert_eq!(world.partition.next_wake(), None);
            assert!(world.owed.is_empty(), "seed={seed}: {:?}\n{text}", world.owed);
            return;
        }
        let before: BTreeSet<_> = world.owed.keys().cloned().collect();
        let owed: Vec<_> = world.owed.values().cloned().collect();
        for effect in owed {
            match effect {
                Effect::OfferTask(offer) => {
                    let who = offer.terms.taken_by.clone();
                    let agent = who.unwrap_or_else(|| AgentId::new("a1").unwrap());
                    world.handle(report(agent, offer.id.clone(), completed("{}")));
                }
                Effect::StartChild { start, .. } => {
                    let outcome = ChildOutcome::Completed(Payload::null());
                    let parent = start.parent.unwrap();
                    world.handle(Input::ChildEnded { parent, child: start.run, outcome });
                }
                Effect::CancelChild { .. }
                | Effect::NotifyParent { .. }
                | Effect::FetchBlob { .. } => {}
            }
        }
        // What was offered just now is taken before any time passes: else a group whose steps
        // nobody takes in time is restarted for ever, slowly enough for its intensity.
        let is_answered =
            |key: &&EffectKey| matches!(key, EffectKey::Attempt(_) | EffectKey::StartChild(_));
        if world.owed.keys().filter(is_answered).any(|key| !before.contains(key)) {
            continue;
        }
        if let Some(wake) = world.partition.next_wake() {
            world.now = world.now.max(wake.at);
            world.handle(Input::Wake);
        }
    }
    panic!(
        "seed={seed}: the run does not end: {:?}\n{text}",
        world.partition.waiting(run_id(), &[])
    );
}

fn survive(seed: u64) {
    let mut chance = Chance::new(seed);
    let text = definition(&mut chance);
    let workflow = crate::world::read(&text);
    let mut world = if chance.one_in(8) { World::new() } else { World::quick() };
    world.start(&workflow, "{}");
    live(&mut world, &mut chance, seed, &text);
    for _ in 0..chance.below(4) {
        let from = chance.one_in(2).then(|| {
            let step = 1 + chance.below(4);
            let item = if chance.one_in(4) { "[1]" } else { "" };
            StepPath::new(&format!("s{step}{item}"))
        });
        let only = from.is_some() && chance.one_in(3);
        let again = Again { from, only, inputs_change: chance.one_in(5) };
        let apart = chance.one_in(3);
        let Ok(next) = world.retried(&workflow, &again, apart) else { continue };
        world = next;
        live(&mut world, &mut chance, seed, &text);
    }
}

/// Lets whatever may happen happen to a run, and then lets it end.
fn live(world: &mut World, chance: &mut Chance, seed: u64, text: &str) {
    let thorough = world.thorough;
    for number in 0..chance.below(60) {
        world.now = world.now.after(Duration::from_millis(chance.below(4_000) as u64));
        let wake = world.partition.next_wake();
        let input = anything(world, chance, number);
        let early = matches!(input, Input::Wake) && wake.is_none_or(|wake| wake.at > world.now);
        let handled = world.handle(input).handled;
        assert!(!early || handled.records.is_empty(), "seed={seed}: a wake came early\n{text}");
        assert!(!matches!(handled.reply, Some(Reply::NeedsBlob(_))));
    }
    world.thorough = false;
    heal(world, seed, text);
    world.thorough = thorough;
}

proptest! {
    #![proptest_config(crate::world::cases(300))]

    #[test]
    fn whatever_happens_every_run_ends(seed: u64) {
        survive(seed);
    }
}

/// Seeds that failed once.
#[test]
fn what_happened_once_is_survived() {
    let seeds = [
        2087094360046096814,
        2285880253391159665,
        3105292350723892911,
        9460348608993620095,
        10384887503583996381,
        12087802309249536663,
        12594919865511813685,
        16541303614165172527,
    ];
    seeds.into_iter().for_each(survive);
}
