//! Which attempts repeat failed ones: the retry budget of their capability holds them back.

use expect_test::{Expect, expect};
use skep_engine::{Effect, Input, Partition};
use skep_protocol::{AgentId, Failure, FailureKind, Outcome, Payload, Report, ReportBody};

use crate::world::{World, read};

/// Performs everything that is owed, as far as it goes, and tells of each attempt that repeats.
fn check(steps: &str, capable: &[&str], expected: Expect) {
    let mut world = World::new();
    world.start(&read(&format!("name: w\nsteps:\n{steps}")), "{}");
    let mut told = String::new();
    while let Some(Effect::OfferTask(offer)) = world.owed.values().next().cloned() {
        let task = offer.task();
        let again = if offer.is_retry { "again" } else { "first" };
        told.push_str(&format!("{}#{} {} {again}\n", task.step, task.attempt, task.capability));
        assert_eq!(restored(&world).is_retry, offer.is_retry, "{told}");
        let outcome = if capable.contains(&task.capability.as_str()) {
            Outcome::Completed { output: Payload::null(), duration_ms: 1 }
        } else {
            let failure = Failure::new(FailureKind::Agent, "oops", "it broke");
            Outcome::Failed { failure, duration_ms: 1 }
        };
        let (run, step, attempt) = (task.run, task.step.clone(), task.attempt);
        let report = Report { run, step, attempt, body: ReportBody::Outcome(outcome) };
        world.handle(Input::Report { agent: AgentId::new("a1").unwrap(), report });
    }
    expected.assert_eq(&told);
}

/// Returns the same offer as one that is owed after a recovery from a snapshot.
fn restored(world: &World) -> skep_engine::OfferTask {
    let bytes = world.partition.snapshot();
    let restored = Partition::restore(world.partition.id(), &bytes).unwrap();
    let owed = restored.outstanding().into_iter().find_map(|effect| match effect {
        Effect::OfferTask(offer) => Some(*offer),
        _ => None,
    });
    owed.unwrap()
}

#[test]
fn a_retry_repeats() {
    let steps = "  a: { agent: x, retry: { attempts: 3, initial: 1ms } }";
    check(
        steps,
        &[],
        expect![[r#"
        a#1 x first
        a#2 x again
        a#3 x again
    "#]],
    );
}

#[test]
fn what_supervision_starts_again_repeats() {
    let steps = "
  g:
    supervise: { strategy: one_for_all, max_restarts: 2, within: 1m }
    steps:
      good: { agent: y }
      bad: { agent: x, needs: [good] }
";
    check(
        steps,
        &["y"],
        expect![[r#"
        g/good#1 y first
        g/bad#1 x first
        g/good#2 y first
        g/bad#2 x again
        g/good#3 y first
        g/bad#3 x again
    "#]],
    );
}

#[test]
fn what_a_group_starts_again_repeats() {
    let steps = "
  g:
    retry: { attempts: 3, initial: 1ms }
    for_each: [1]
    steps:
      bad: { agent: x }
";
    check(
        steps,
        &[],
        expect![[r#"
        g[0]/bad#1 x first
        g[0]/bad#2 x again
        g[0]/bad#3 x again
    "#]],
    );
}

#[test]
fn a_fallback_repeats_only_itself() {
    let steps = "
  g:
    supervise: { strategy: one_for_one, max_restarts: 1, within: 1m }
    steps:
      a:
        agent: x
        retry: { attempts: 2, initial: 1ms }
        fallback: { agent: y, retry: { attempts: 2, initial: 1ms } }
";
    check(
        steps,
        &[],
        expect![[r#"
        g/a#1 x first
        g/a#2 x again
        g/a#3 y first
        g/a#4 y again
        g/a#5 x again
        g/a#6 x again
        g/a#7 y again
        g/a#8 y again
    "#]],
    );
}
