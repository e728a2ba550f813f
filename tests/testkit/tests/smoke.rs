//! A workflow under every fault, from outside.

use serde_json::{Value, json};
use skep_agent::{Context, Failure, Result};
use skep_testkit::{Faults, Simulation};

async fn work(input: Value) -> Result<Value> {
    Ok(input)
}

const CHAIN: &str = "
name: chain
steps:
  one: { agent: work, retry: { attempts: 4 } }
  two: { agent: work, needs: [one], retry: { attempts: 4 } }
  three: { agent: work, needs: [two] }
  four: { wait: 30s, needs: [one] }
";

fn chain(seed: u64) -> Simulation {
    let simulation = Simulation::new(seed).workflow(CHAIN).agent("work", work);
    ["a", "b", "c"].iter().fold(simulation, |all, key| all.start("chain", key, json!({})))
}

#[test]
fn without_faults_every_run_completes() {
    let outcome = chain(1).faults(Faults::none()).run().unwrap();
    assert_eq!(outcome.runs.len(), 3);
    assert!(outcome.runs.values().all(|status| status.to_string() == "completed"));
    assert_eq!(outcome.steps.len(), 3);
}

#[test]
fn with_every_fault_every_run_ends() {
    for seed in (0..20).chain([631]) {
        chain(seed).run().unwrap();
    }
}

const MANY: &str = "
name: many
steps:
  each:
    for_each: '${{ range(300) }}'
    max_parallel: 24
    agent: work
    with: { n: '${{ item }}' }
    retry: { attempts: 100, initial: 1s }
";

/// Works well, but for the agent that pulls, which is ill until half of the work is done.
async fn ill(context: Context, input: Value) -> Result<Value> {
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let early = input["n"].as_u64().is_some_and(|n| n < 150);
    if early && context.agent().as_str().starts_with("a2-") {
        return Err(Failure::new("broken", "the disk is bad"));
    }
    Ok(input)
}

#[test]
fn an_agent_that_pulls_is_put_out_tried_and_let_in() {
    let many = |seed| {
        let simulation = Simulation::new(seed).workflow(MANY).agent("work", ill).agents(4);
        simulation.start("many", "key", json!({}))
    };
    let outcome = many(1).faults(Faults::none()).run().unwrap();
    for point in ["agent that pulls is out", "agent told to pull little", "agent pulls again"] {
        assert!(outcome.reached.contains_key(point), "{point}: {:?}", outcome.reached);
    }
    for seed in 0..10 {
        many(seed).run().unwrap();
    }
}
