//! A workflow of the catalog, with a sub-workflow, and one that makes good what it did stand every
//! trial.

use serde_json::{Value, json};
use skep_agent::Result;
use skep_protocol::{RunStatus, StepPath};
use skep_testkit::Simulation;

const NOTIFY: &str = include_str!("../../../workflows/catalog/notify.skep.yaml");
const RELEASE: &str = include_str!("../../../workflows/catalog/release.skep.yaml");
const ORDER: &str = include_str!("../../../examples/order_saga/order_saga.skep.yaml");

async fn build(_input: Value) -> Result<Value> {
    Ok(json!({ "artifact": "skep.tar" }))
}

async fn test(_input: Value) -> Result<Value> {
    Ok(json!({ "passed": 7 }))
}

async fn deliver(input: Value) -> Result<Value> {
    Ok(json!({ "message_id": input.to_string(), "delivered": true }))
}

async fn shop(input: Value) -> Result<Value> {
    Ok(match input["do"].as_str() {
        Some("reserve") => json!({ "reservation": "R7", "amount": 10 }),
        Some("charge") => json!({ "payment": "P10" }),
        Some("pack") => json!({ "parcel": "a box" }),
        Some("ship") => json!({ "tracking": "2 parcels" }),
        _ => json!({}),
    })
}

fn order(seed: u64) -> Simulation {
    Simulation::new(seed).workflow(ORDER).agent("shop", shop).start("order_saga", "1", json!({}))
}

fn release(seed: u64) -> Simulation {
    Simulation::new(seed)
        .workflow(NOTIFY)
        .workflow(RELEASE)
        .agent("builder", build)
        .agent("tester", test)
        .agent("notifier", deliver)
        .start("release", "1", json!({ "tag": "v1.0.0" }))
}

#[test]
fn it_ends_whatever_goes_wrong() {
    for seed in 0..10 {
        release(seed).run().unwrap();
        order(seed).run().unwrap();
    }
}

#[test]
fn it_ends_whichever_step_fails() {
    let outcomes = release(1).fail_each_step().unwrap();
    assert!(outcomes.len() >= 3, "{outcomes:?}");
    for (step, outcome) in outcomes {
        assert!(!outcome.runs.is_empty(), "{step}");
    }
}

#[test]
fn what_is_attempted_only_after_a_failure_fails_too() {
    let outcomes = order(1).fail_each_step().unwrap();
    let ends = |step: &str| {
        let outcome = outcomes.iter().find(|(failed, _)| failed.as_str() == step);
        let (_, outcome) = outcome.unwrap_or_else(|| panic!("{step} was not failed"));
        (outcome.runs.values().copied().collect::<Vec<_>>(), outcome.reached.get("run stuck"))
    };
    assert_eq!(ends("reserve"), (vec![RunStatus::Compensated], None));
    assert_eq!(ends("thank"), (vec![RunStatus::Failed], None));
    for step in ["reserve", "charge", "pack[1]"] {
        let compensation = StepPath::new(step).compensation();
        let (runs, stuck) = ends(compensation.as_str());
        assert_eq!(runs, [RunStatus::Compensated], "{step}");
        assert!(stuck.is_some(), "{step}");
    }
}

#[test]
fn a_step_fails_without_its_fallback_and_with_it() {
    let definition = "
name: careful
steps:
  ask: { agent: large, retry: { attempts: 2, initial: 10ms }, fallback: { agent: small } }
";
    let careful = Simulation::new(1)
        .workflow(definition)
        .agent("large", test)
        .agent("small", test)
        .start("careful", "1", json!({}));
    let outcomes = careful.fail_each_step().unwrap();
    let ends = outcomes.iter().map(|(_, outcome)| outcome.runs.values().copied().collect());
    let ends: Vec<Vec<RunStatus>> = ends.collect();
    assert_eq!(ends, [[RunStatus::Completed], [RunStatus::Failed]]);
}

#[test]
fn a_wrong_definition_is_shown_as_it_is_to_people() {
    let wrong = "name: x\nsteps: { a: { agnt: y } }";
    let failed = Simulation::new(1).workflow(wrong).agent("y", test).run_once();
    let told = failed.unwrap_err().to_string();
    assert!(told.contains("did you mean `agent`?"), "{told}");
    assert!(told.lines().count() > 3, "{told}");
}

#[test]
fn repeated_messages_change_nothing() {
    let outcome = release(1).repeat_each_attempt().unwrap();
    assert!(outcome.reached.contains_key("message repeated"));
    assert!(order(1).repeat_each_attempt().unwrap().reached.contains_key("message repeated"));
}

/// Heartbeats and ownership go on meanwhile.
#[test]
fn messages_are_repeated_until_all_is_over() {
    let waits = |how_long: &str| {
        let definition = format!("name: w\nsteps: {{ w: {{ wait: {how_long} }} }}");
        let simulation = Simulation::new(1).workflow(&definition).agent("tester", test);
        let simulation = simulation.start("w", "1", json!({}));
        simulation.repeat_each_attempt().unwrap().reached["message repeated"]
    };
    let (short, long) = (waits("1m"), waits("20m"));
    assert!(long > 5 * short, "{short} within a minute, {long} within twenty");
}

#[test]
fn it_goes_on_wherever_the_journal_is_cut() {
    assert!(release(1).cut_the_journal().unwrap() > 5);
    assert!(order(1).cut_the_journal().unwrap() > 5);
}
