//! What `skep run` and `skep watch` end with.

use serde_json::{Map, Value, json};
use skep_broker::Broker;
use skep_protocol::{RunDetail, RunStatus};

use crate::client::Client;
use crate::error::{Error, Exit};
use crate::json;
use crate::output::{self, Format};

/// Returns the exit code of a run that ended like this.
pub(crate) const fn exit(status: RunStatus) -> Exit {
    match status {
        RunStatus::Completed => Exit::Ok,
        RunStatus::Running
        | RunStatus::Waiting
        | RunStatus::Paused
        | RunStatus::Unwinding
        | RunStatus::Failed
        | RunStatus::Cancelled
        | RunStatus::Compensated
        | RunStatus::Stuck => Exit::Failed,
    }
}

/// Prints how a run ended: one object for machines, the outputs alone for people.
pub(crate) async fn print<B: Broker>(
    client: &Client<B>,
    detail: &RunDetail,
    format: Format,
) -> Result<(), Error> {
    match format {
        Format::Json => output::json(&object(client, detail).await?),
        Format::Text => {
            let outputs = outputs(client, detail).await?;
            let nothing = outputs.is_null() || outputs.as_object().is_some_and(Map::is_empty);
            if !nothing {
                output::json(&outputs);
            }
        }
    }
    Ok(())
}

async fn outputs<B: Broker>(client: &Client<B>, detail: &RunDetail) -> Result<Value, Error> {
    match &detail.outputs {
        Some(outputs) => client.value(outputs).await,
        None => Ok(Value::Null),
    }
}

/// `{run, workflow, status, outputs, error, duration_ms, steps}`, where `steps` is
/// `{id: {status, attempts, duration_ms, output}}`.
async fn object<B: Broker>(client: &Client<B>, detail: &RunDetail) -> Result<Value, Error> {
    let mut steps = Map::new();
    for view in &detail.steps {
        let output = match &view.output {
            Some(output) => client.value(output).await?,
            None => Value::Null,
        };
        let mut step = json!({
            "status": view.status,
            "attempts": view.attempts.len(),
            "duration_ms": json::between(view.started, view.ended),
            "output": output,
        });
        if let Some(error) = &view.error {
            step["error"] = json::failure(error);
        }
        steps.insert(view.step.to_string(), step);
    }
    let summary = &detail.summary;
    Ok(json!({
        "run": summary.run,
        "workflow": summary.workflow,
        "status": summary.status,
        "outputs": outputs(client, detail).await?,
        "error": json::error(detail),
        "duration_ms": json::between(Some(summary.started), summary.ended),
        "steps": steps,
    }))
}
