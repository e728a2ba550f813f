//! `skep bench` over a server of its own: which figures there are, whatever they are.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use skep_tests::{call, command};

use crate::expect::exits;

/// Few runs, measured twice.
const LITTLE: [&str; 8] = ["--runs", "5", "--steps", "3", "--times", "2", "--output", "json"];

async fn bench(args: &[&str]) -> Result<Value> {
    let mut command = command()?;
    command.arg("bench").args(args).args(LITTLE);
    exits(call(command).await?, 0)?.json().with_context(|| format!("skep bench {args:?}"))
}

/// All of them are there, above zero, with their spread; those that are not to be there are not.
fn figures(found: &Value, there: &[&str], away: &[&str]) -> Result<()> {
    for name in there {
        let value = found[name].as_f64().with_context(|| format!("no `{name}`: {found}"))?;
        ensure!(value > 0.0, "`{name}`: {found}");
        let spread = found["spread"][name].as_array().map(Vec::len);
        ensure!(spread == Some(2), "the spread of `{name}`: {found}");
    }
    for name in away {
        ensure!(found[name].is_null(), "`{name}`: {found}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_throughput_is_held_against_the_loops_of_its_lane() -> Result<()> {
    let skep = ["steps_per_s", "wall_ms"];
    let leanest = ["ceiling_steps_per_s", "ratio"];
    let plain = ["plain_steps_per_s", "plain_ratio"];
    figures(&bench(&["chain"]).await?, &[skep, leanest].concat(), &plain)?;
    let queue = bench(&["chain", "--lane", "queue"]).await?;
    figures(&queue, &[skep, leanest, plain].concat(), &[])?;
    let alone = bench(&["chain", "--lane", "queue", "--no-ceiling"]).await?;
    figures(&alone, &skep, &[leanest, plain].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loops_are_measured_alone() -> Result<()> {
    let (leanest, plain) = (["ceiling_steps_per_s"], ["plain_steps_per_s"]);
    let nothing_of_skep = ["steps_per_s", "ratio", "plain_ratio"];
    let direct = bench(&["ceiling"]).await?;
    figures(&direct, &leanest, &[&nothing_of_skep[..], &plain].concat())?;
    let queue = bench(&["ceiling", "--lane", "queue"]).await?;
    figures(&queue, &[leanest, plain].concat(), &nothing_of_skep)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latency_is_held_against_one_chain_of_the_loop() -> Result<()> {
    let skep = ["p50_ms", "p99_ms", "submit_to_complete_p50_ms"];
    let by_hand = ["ceiling_p50_ms", "ceiling_p99_ms", "ratio"];
    for lane in ["direct", "queue"] {
        let found = bench(&["latency", "--lane", lane]).await?;
        figures(&found, &[skep, by_hand].concat(), &["ceiling_steps_per_s"])?;
        ensure!(found["lane"] == lane, "{found}");
    }
    figures(&bench(&["latency", "--no-ceiling"]).await?, &skep, &by_hand)?;
    figures(&bench(&["latency", "--embedded"]).await?, &skep, &by_hand)
}
