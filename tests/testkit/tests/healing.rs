//! What heals itself stands every trial, too: a supervised group, and steps with a breaker.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skep_agent::{Context, Failure, Result};
use skep_protocol::RunStatus;
use skep_testkit::{Outcome, Simulation};

const SESSION: &str = include_str!("../../../examples/supervised_group/supervised_group.skep.yaml");

/// The breaker opens with the first failure.
const GUARDED: &str = "
name: guarded
defaults:
  retry: { attempts: 4, initial: 1s }
  breaker: { failure_rate: 40%, min_calls: 1, window: 5m, cooldown: 2s, probes: 1 }
steps:
  ask:
    for_each: ${{ [1, 2, 3] }}
    max_parallel: 2
    tolerate: 1
    agent: oracle
    with: ${{ item }}
  write: { agent: oracle, with: '${{ steps.ask.outputs }}', fallback: { agent: scribe } }
  sign: { agent: oracle, needs: [write], when_open: fail, on_failure: continue }
";

/// The first session is lost, whatever else happens.
async fn site(context: Context, input: Value) -> Result<Value> {
    if input["do"] == "order" && context.attempt() == 1 {
        return Err(Failure::new("session_lost", "the site knows the session no more"));
    }
    Ok(match input["do"].as_str() {
        Some("login") => json!({ "session": context.attempt() }),
        Some("search") => json!({ "offer": 7 }),
        _ => json!({ "bought": input["offer"] }),
    })
}

/// Answers at the second try.
async fn oracle(context: Context, input: Value) -> Result<Value> {
    match context.attempt() {
        1 => Err(Failure::new("asleep", "come again")),
        _ => Ok(input),
    }
}

async fn scribe(input: Value) -> Result<Value> {
    Ok(input)
}

fn session(seed: u64) -> Simulation {
    let start = json!({ "lost": 1 });
    Simulation::new(seed).workflow(SESSION).agent("site", site).start(
        "supervised_group",
        "1",
        start,
    )
}

fn guarded(seed: u64) -> Simulation {
    Simulation::new(seed).workflow(GUARDED).agent("oracle", oracle).agent("scribe", scribe).start(
        "guarded",
        "1",
        json!({}),
    )
}

/// Fails each step in turn; says how the run ended, by step.
fn ends(simulation: &Simulation, reaches: &str) -> BTreeMap<String, RunStatus> {
    let outcomes = simulation.fail_each_step().expect("every run ends");
    let told = outcomes.iter().map(|(step, outcome)| {
        assert!(has(outcome, reaches), "{step} fails: {:?}", outcome.reached);
        (step.to_string(), *outcome.runs.values().next().expect("a run"))
    });
    told.collect()
}

fn has(outcome: &Outcome, point: &str) -> bool {
    outcome.reached.contains_key(point)
}

#[test]
fn a_supervised_group_ends_whatever_goes_wrong() {
    for seed in 0..10 {
        session(seed).run().unwrap();
    }
}

#[test]
fn a_supervised_group_that_is_not_helped_by_starting_over_fails() {
    let failed = RunStatus::Failed;
    let steps = ["session/login", "session/order", "session/search"];
    let expected: BTreeMap<_, _> = steps.map(|step| (step.to_owned(), failed)).into();
    assert_eq!(ends(&session(1), "restarts exhausted"), expected);
}

#[test]
fn a_supervised_group_starts_over_alike_if_messages_are_repeated_and_journals_cut() {
    let repeated = session(1).repeat_each_attempt().unwrap();
    assert!(has(&repeated, "message repeated") && has(&repeated, "step restarted"));
    assert!(repeated.runs.values().all(|status| *status == RunStatus::Completed));
    assert!(session(1).cut_the_journal().unwrap() > 5);
}

#[test]
fn steps_with_breakers_end_whatever_goes_wrong() {
    for seed in 0..10 {
        guarded(seed).run().unwrap();
    }
}

#[test]
fn a_breaker_parks_what_follows_and_lets_it_go_on() {
    let ends = ends(&guarded(1), "breaker half-open");
    let completed = |step: &str| (step.to_owned(), RunStatus::Completed);
    let expected = ["ask[0]", "ask[1]", "ask[2]", "sign"].map(completed);
    for (step, status) in expected {
        assert_eq!(ends.get(&step), Some(&status), "{ends:?}");
    }
}

#[test]
fn breakers_change_nothing_if_messages_are_repeated_and_journals_cut() {
    let repeated = guarded(1).repeat_each_attempt().unwrap();
    assert!(has(&repeated, "message repeated") && has(&repeated, "breaker open"));
    assert!(guarded(1).cut_the_journal().unwrap() > 5);
}
