//! `skep list`

use clap::{Args, ValueEnum};
use serde_json::json;
use skep_broker::Broker;
use skep_protocol::{Hash, RunFilter, RunId, RunStatus};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::table;
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, Format};

/// List runs, newest first.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only runs in this state; may be repeated.
    #[arg(short, long, value_enum, value_name = "STATUS")]
    status: Vec<Status>,
    /// Only runs of this workflow.
    #[arg(short, long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only runs started by this run.
    #[arg(long, value_name = "RUN")]
    parent: Option<RunId>,
    /// At most so many.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: u32,
    /// List the registered workflows instead.
    #[arg(long, conflicts_with_all = ["status", "workflow", "parent"])]
    workflows: bool,
}

/// The states of a run, as words of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Running,
    Waiting,
    Paused,
    Unwinding,
    Completed,
    Failed,
    Cancelled,
    Compensated,
    Stuck,
}

impl From<Status> for RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Waiting => Self::Waiting,
            Status::Paused => Self::Paused,
            Status::Unwinding => Self::Unwinding,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
            Status::Compensated => Self::Compensated,
            Status::Stuck => Self::Stuck,
        }
    }
}

impl List {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        if self.workflows {
            return workflows(client, global).await;
        }
        let status = self.status.into_iter().map(RunStatus::from).collect();
        let (workflow, parent, limit) = (self.workflow, self.parent, self.limit);
        let runs = client.runs(RunFilter { status, workflow, parent, limit }).await?;
        if global.output == Format::Json {
            output::json(&runs.iter().map(json::summary).collect::<Vec<_>>());
            return Ok(Exit::Ok);
        }
        if runs.is_empty() {
            output::note("no runs");
            return Ok(Exit::Ok);
        }
        let now = human::now();
        let rows = runs.iter().map(|run| {
            let took = run.ended.unwrap_or(now).since(run.started);
            vec![
                run.run.to_string(),
                run.workflow.clone(),
                table::run_status(run.status),
                format!("{}/{}", run.steps_ended, run.steps),
                human::date_and_time(run.started),
                human::duration(took),
            ]
        });
        let head = ["RUN", "WORKFLOW", "STATUS", "STEPS", "STARTED", "TOOK"];
        output::data(table::draw(&head, rows));
        Ok(Exit::Ok)
    }
}

async fn workflows<B: Broker>(client: &Client<B>, global: &Global) -> Result<Exit, Error> {
    let workflows = client.workflows().await?;
    if global.output == Format::Json {
        let object = |(name, version, digest): (String, Option<String>, Hash)| {
            let digest = digest.to_string();
            json!({ "workflow": name, "version": version, "digest": digest })
        };
        output::json(&workflows.into_iter().map(object).collect::<Vec<_>>());
        return Ok(Exit::Ok);
    }
    if workflows.is_empty() {
        output::note("no workflows; register one with: skep apply FILE");
        return Ok(Exit::Ok);
    }
    let rows = workflows.into_iter().map(|(name, version, digest)| {
        vec![name, version.unwrap_or_else(|| "-".to_owned()), digest.short()]
    });
    output::data(table::draw(&["WORKFLOW", "VERSION", "DEFINITION"], rows));
    Ok(Exit::Ok)
}
