//! The agent of the load, in a process of its own: it writes down what it does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use skep_agent::{Agent, Context, Failure, Lane};
use skep_broker::host;

use super::deeds::{self, Deed, Ledger, What};
use crate::agents::Running;
use crate::cli::Global;
use crate::error::{Error, Exit, chain};
use crate::process::failed;
use crate::runtime;

/// The capability of the load.
const CAPABILITY: &str = "chaos";
/// How many tasks an agent performs at a time.
pub(super) const SLOTS: u32 = 8;
/// Longer than a step takes.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Perform the steps of chaos.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// What the file of its deeds is named after.
    #[arg(long)]
    name: String,
    /// Where its deeds are written down.
    #[arg(long)]
    folder: PathBuf,
    /// Pull tasks from the queue.
    #[arg(long)]
    queue: bool,
}

/// What a step asks for.
#[derive(Debug, Deserialize)]
struct Job {
    /// How long it takes.
    ms: u64,
    /// How many attempts fail first.
    #[serde(default)]
    fails: u32,
    /// Whether it fails for good.
    #[serde(default)]
    broken: bool,
}

impl Worker {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let ledger = Ledger::open(&deeds::path(&self.folder, &self.name));
        let ledger = Arc::new(ledger.map_err(|error| failed("write down what is done", &error))?);
        let work = move |context: Context, job: Job| work(Arc::clone(&ledger), context, job);
        let agent = Agent::builder(&self.name).serve(CAPABILITY, work).slots(SLOTS);
        let agent = if self.queue { agent.lane(Lane::Queue) } else { agent };
        let agent = agent.build().map_err(|error| Error::new(Exit::Failed, chain(&error)))?;
        let working = Running::until_told(vec![agent], &global.cluster, LEAVE_WITHIN);
        runtime::large()?.block_on(working)
    }
}

/// Writes down that the work was left, unless it came to an end.
struct UnderWay {
    ledger: Arc<Ledger>,
    context: Context,
    ended: bool,
}

impl UnderWay {
    fn note(&self, what: What) -> Result<(), Failure> {
        let deed = Deed {
            what,
            run: self.context.run(),
            step: self.context.step().clone(),
            attempt: self.context.attempt(),
            token: self.context.fencing_token(),
            agent: self.context.agent().clone(),
            at: host::now(),
        };
        Ok(self.ledger.write(&deed)?)
    }

    fn end(mut self, what: What) -> Result<(), Failure> {
        self.ended = true;
        self.note(what)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.ended {
            self.note(What::Left).ok();
        }
    }
}

async fn work(ledger: Arc<Ledger>, context: Context, job: Job) -> Result<Value, Failure> {
    let attempt = context.attempt();
    let under_way = UnderWay { ledger, context, ended: false };
    under_way.note(What::Begun)?;
    tokio::time::sleep(Duration::from_millis(job.ms)).await;
    if job.broken || attempt <= job.fails {
        under_way.end(What::Failed)?;
        let failure = Failure::new("chaos", format!("attempt {attempt} fails as it was told to"));
        return Err(if job.broken { failure.not_retryable() } else { failure });
    }
    under_way.end(What::Done)?;
    Ok(json!({ "attempt": attempt }))
}
