//! The agent of the load: it takes its time.

use std::time::Duration;

use clap::Args;
use skep_agent::{Agent, Failure};

use crate::agents::Running;
use crate::cli::Global;
use crate::error::{Error, Exit, chain};
use crate::runtime;

/// The capability of the load.
pub(super) const CAPABILITY: &str = "bench";
const SLOTS: u32 = 64;
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Perform the steps of a benchmark.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// How long each step takes, in milliseconds.
    #[arg(long)]
    step_ms: u64,
}

impl Worker {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let takes = Duration::from_millis(self.step_ms);
        let work = move |_: serde_json::Value| async move {
            tokio::time::sleep(takes).await;
            Ok::<_, Failure>(serde_json::Value::Null)
        };
        let agent = Agent::builder(CAPABILITY).serve(CAPABILITY, work).slots(SLOTS).build();
        let agent = agent.map_err(|error| Error::new(Exit::Failed, chain(&error)))?;
        let working = Running::until_told(vec![agent], &global.cluster, LEAVE_WITHIN);
        runtime::large()?.block_on(working)
    }
}
