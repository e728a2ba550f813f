//! Random workflows with everything in them, and handlers that are fair game.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use skep_agent::{Context, Failure};
use skep_testkit::{Chance, Simulation};

/// What sub-workflows do.
const CHILD: &str = "
name: child
steps:
  c1: { agent: x, timeout: 20s, retry: { attempts: 2, initial: 1s } }
  c2: { wait: 3s, needs: [c1] }
outputs: { done: true }
";

/// Returns the simulation of a seed.
pub fn simulation(seed: u64) -> Simulation {
    let mut chance = Chance::new(seed ^ 0x5ee9);
    let mut simulation = Simulation::new(seed)
        .workflow(CHILD)
        .agent("x", perform)
        .agent("y", perform)
        .signal("go", json!({ "n": 1 + chance.below(4) }))
        .signal("go", json!({ "n": 3 }))
        .coordinators(1 + small(&mut chance, 3))
        .agents(2 + small(&mut chance, 3))
        .partitions(if chance.one_in(2) { 1 } else { 2 })
        .lasts(Duration::from_secs(10 + chance.below(60)));
    for number in 0..1 + chance.below(2) {
        let name = format!("w{number}");
        simulation = simulation.workflow(&definition(&mut chance, &name));
        for key in 0..1 + chance.below(2) {
            simulation = simulation.start(&name, &key.to_string(), json!({}));
        }
    }
    simulation
}

fn small(chance: &mut Chance, bound: u64) -> u32 {
    u32::try_from(chance.below(bound)).unwrap_or_default()
}

/// Answers with something that nobody else would, at times late, with what is not expected, or not
/// at all.
async fn perform(context: Context, _input: Value) -> Result<Value, Failure> {
    let attempt = context.attempt_id().to_string();
    let sum: u64 = attempt.bytes().map(u64::from).sum();
    match sum % 13 {
        0 => return Ok(json!([attempt])),
        1 | 2 => return Err(Failure::new("overloaded", "come back later")),
        3 | 4 => tokio::time::sleep(Duration::from_secs(4)).await,
        _ => {}
    }
    Ok(json!({ "agent": context.agent().to_string(), "attempt": attempt }))
}

/// Writes a workflow with every kind of step and key.
fn definition(chance: &mut Chance, name: &str) -> String {
    let policy = *chance.pick(&["stop", "continue", "compensate"]);
    let mut text = format!("name: {name}\non_failure: {policy}\nsteps:\n");
    let mut next = 0;
    let len = 1 + chance.below(5);
    write_steps(chance, (len, 0), &mut next, &mut text);
    text + "outputs:\n  status: ${{ steps.s1.status }}\n"
}

fn write_steps(chance: &mut Chance, (len, depth): (u64, usize), next: &mut u64, text: &mut String) {
    let pad = "  ".repeat(depth * 2 + 1);
    let mut siblings: Vec<String> = Vec::new();
    for _ in 0..len {
        *next += 1;
        let id = format!("s{next}");
        let _ = writeln!(text, "{pad}{id}:");
        let mut key = |line: &str| {
            let _ = writeln!(text, "{pad}  {line}");
        };
        write_needs(chance, &siblings, &mut key);
        match chance.below(if depth < 2 { 8 } else { 7 }) {
            3 => key(&format!("wait: {}s", 1 + chance.below(20))),
            4 => {
                let on_timeout = *chance.pick(&["fail", "skip", "continue"]);
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

/// Writes when a step starts, and what its failure means.
fn write_needs(chance: &mut Chance, siblings: &[String], key: &mut dyn FnMut(&str)) {
    let needs: Vec<_> = siblings.iter().filter(|_| chance.one_in(3)).cloned().collect();
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
}

/// Writes what is performed: by an agent, a sub-workflow, or the steps of a group that follow.
fn write_work(chance: &mut Chance, kind: u64, key: &mut dyn FnMut(&str)) {
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
        key(&format!("compensate: {{ agent: y, timeout: 30s, {retry} }}"));
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
                let strategy = *chance.pick(&["one_for_one", "one_for_all", "rest_for_one"]);
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
            let within = *chance.pick(&["", "", "", ", within: 8s"]);
            key(&format!("retry: {{ attempts: 3, initial: 1s, max: 8s{within} }}"));
            if chance.one_in(3) {
                key("fallback: { agent: y, with: '${{ error.code }}', retry: { attempts: 2 } }");
            }
            if chance.one_in(3) {
                key(&format!("queue_timeout: {}s", *chance.pick(&[1, 5, 60])));
            }
            if chance.one_in(3) {
                key("expect: { type: object }");
            }
            if chance.one_in(4) {
                let few = "min_calls: 1, window: 5m, cooldown: 2s, probes: 1";
                key(&format!("breaker: {{ failure_rate: 50%, {few} }}"));
                let otherwise = *chance.pick(&["wait", "wait", "fail"]);
                key(&format!("when_open: {otherwise}"));
            }
            if chance.one_in(6) {
                key("progress_within: 15s");
            }
        }
    }
}
