//! An agent that writes down what it does, so that a test can count from outside.
//!
//! Usage: `skep-test-agent LEDGER`, with `SKEP_NATS_URL` set. It offers `work` and appends a line
//! to the ledger when it begins and when it ends: `begin RUN STEP ATTEMPT PID`, `end …`.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use skep_agent::{Agent, Context, Failure};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: skep-test-agent LEDGER")?;
    let ledger = Arc::new(File::options().create(true).append(true).open(path)?);
    let work = move |context: Context, input: Value| work(Arc::clone(&ledger), context, input);
    let agent = Agent::builder("worker").serve("work", work).slots(16).build()?;
    skep_agent::run(agent).await?;
    Ok(())
}

/// Takes `milliseconds` of time, writes both ends down and returns what it was given.
async fn work(ledger: Arc<File>, context: Context, input: Value) -> Result<Value, Failure> {
    let pid = std::process::id();
    let line = |what: &str| format!("{what} {} {pid}\n", context.attempt_id()).replace('/', " ");
    (&*ledger).write_all(line("begin").as_bytes())?;
    let milliseconds = input["milliseconds"].as_u64().unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    (&*ledger).write_all(line("end").as_bytes())?;
    Ok(json!({ "echo": input }))
}
