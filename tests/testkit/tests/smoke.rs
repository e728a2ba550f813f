//! A workflow under every fault, from outside.

use serde_json::{Value, json};
use skep_agent::Result;
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
