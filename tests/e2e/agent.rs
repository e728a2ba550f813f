//! An agent that writes down what it does, so that a test can count from outside.
//!
//! Usage: `skep-test-agent LEDGER [NAME]`, with `SKEP_NATS_URL` set. It offers `work` and appends a
//! line to the ledger when it begins and when it ends: `begin RUN STEP ATTEMPT PID`, `end …`.
//! With a name it pulls from the queue, two at a time, and fails while there is a file of that name
//! beside the ledger.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use skep_agent::{Agent, Context, Failure, Lane};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: skep-test-agent LEDGER [NAME]")?;
    let name = std::env::args().nth(2);
    let broken = name.as_ref().map(|name| Path::new(&path).with_file_name(name));
    let ledger = Arc::new(File::options().create(true).append(true).open(path)?);
    let (lane, slots) = if name.is_some() { (Lane::Queue, 2) } else { (Lane::Direct, 16) };
    let work = move |context: Context, input: Value| {
        work((Arc::clone(&ledger), broken.clone()), context, input)
    };
    let name = name.as_deref().unwrap_or("worker");
    let agent = Agent::builder(name).serve("work", work).slots(slots).lane(lane).build()?;
    skep_agent::run(agent).await?;
    Ok(())
}

/// Takes `milliseconds` of time, writes both ends down and returns what it was given.
async fn work(
    (ledger, broken): (Arc<File>, Option<PathBuf>),
    context: Context,
    input: Value,
) -> Result<Value, Failure> {
    let pid = std::process::id();
    let line = |what: &str| format!("{what} {} {pid}\n", context.attempt_id()).replace('/', " ");
    (&*ledger).write_all(line("begin").as_bytes())?;
    let milliseconds = input["milliseconds"].as_u64().unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    (&*ledger).write_all(line("end").as_bytes())?;
    if broken.is_some_and(|file| file.exists()) {
        return Err(Failure::new("broken", "the disk is bad"));
    }
    Ok(json!({ "echo": input }))
}
