//! A workflow of the catalog, with a sub-workflow, stands every trial.

use serde_json::{Value, json};
use skep_agent::Result;
use skep_testkit::Simulation;

const NOTIFY: &str = include_str!("../../../workflows/catalog/notify.skep.yaml");
const RELEASE: &str = include_str!("../../../workflows/catalog/release.skep.yaml");

async fn build(_input: Value) -> Result<Value> {
    Ok(json!({ "artifact": "skep.tar" }))
}

async fn test(_input: Value) -> Result<Value> {
    Ok(json!({ "passed": 7 }))
}

async fn deliver(input: Value) -> Result<Value> {
    Ok(json!({ "message_id": input.to_string(), "delivered": true }))
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
fn repeated_messages_change_nothing() {
    let outcome = release(1).repeat_each_attempt().unwrap();
    assert!(outcome.reached.contains_key("message repeated"));
}

#[test]
fn it_goes_on_wherever_the_journal_is_cut() {
    assert!(release(1).cut_the_journal().unwrap() > 5);
}
