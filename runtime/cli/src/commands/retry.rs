//! `skep retry`

use clap::Args;
use serde_json::{Map, Value, json};
use skep_broker::Broker;
use skep_protocol::{Payload, RetryRun, RunDetail, StepPath};

use crate::cli::Global;
use crate::client::{Client, Existed};
use crate::commands::change::person;
use crate::commands::run_ref::RunRef;
use crate::drive::{Drive, Home};
use crate::error::{Error, Exit};
use crate::follow::unknown;
use crate::inputs::InputArgs;
use crate::output::{self, BOLD, Format, paint};
use crate::progress::Progress;
use crate::signals::Interrupts;

/// Do a run over that is over: what completed is kept, the rest runs again, in a new run.
///
/// The new run has the definition of the old one, whatever was applied since, its inputs and its
/// labels. A step that completed does not run again, and its output is the one that it had; if the
/// new run unwinds, what the old one did is made good with the rest. What was made good in the old
/// run was undone, and runs again with everything that follows from it. A group that did not
/// complete begins anew as a whole; of a `for_each` the items run again that did not complete; a
/// sub-workflow begins anew. Attempts go on being counted, and so do fencing tokens.
///
/// A run is done over once: the same retry asked for twice makes one run, and after that the new
/// run can be done over, which goes on from what it did.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    run: RunRef,
    /// Run this step again although it may have completed, and everything that depends on it; one
    /// item of a `for_each` is `review[2]`.
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// Of what depends on STEP, keep what completed: only what never did runs.
    #[arg(long, requires = "from")]
    only: bool,
    #[command(flatten)]
    inputs: InputArgs,
    /// Start the new run, print its id, and leave.
    #[arg(short, long)]
    detach: bool,
    /// Show no progress, only how it ended.
    #[arg(short, long)]
    quiet: bool,
}

impl Retry {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let of = self.run.resolve(client).await?;
        let detail = client.run(of).await?.ok_or_else(|| unknown(of))?;
        let inputs = self.inputs(client, &detail).await?;
        let from = self.from.as_deref().map(StepPath::new);
        let retry = RetryRun::new((of, client.partitions()), (from, self.only), inputs, person());
        let run = retry.run;
        let existed = client.retry(retry).await? == Existed::Before;
        if self.detach {
            match global.output {
                Format::Text => output::data(run),
                Format::Json => {
                    let told = json!({ "run": run, "retry_of": of, "existing": existed });
                    output::json(&told);
                }
            }
        }
        if existed {
            output::note(format!("run {of} was retried like this before, as run {run}"));
            output::note(format!("  to do that one over, once it is over: skep retry {run}"));
        }
        if self.detach {
            return Ok(Exit::Ok);
        }
        if !existed {
            output::note(format!("run {} does over {of}", paint(BOLD, run)));
        }
        let mut interrupts = Interrupts::listen()?;
        let drive = Drive { client, global, home: Home::Cluster, deadline: None };
        let left = drive.to_the_end(Progress::new(run), self.quiet, &mut interrupts).await?;
        Ok(left.exit())
    }

    /// Returns the inputs of the new run, if they are given: all of them, or some that change.
    async fn inputs<B: Broker>(
        &self,
        client: &Client<B>,
        detail: &RunDetail,
    ) -> Result<Option<Payload>, Error> {
        if self.inputs.is_empty() {
            return Ok(None);
        }
        let declared = crate::awaited::definition(client, detail.summary.digest).await;
        let given = self.inputs.given(declared.as_ref())?;
        let mut inputs = Map::new();
        if self.inputs.input.is_none()
            && let Value::Object(before) = client.value(&detail.inputs).await?
        {
            inputs = before;
        }
        inputs.extend(given);
        Ok(Some(Value::Object(inputs).into()))
    }
}
