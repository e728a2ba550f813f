//! `skep list`

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use serde_json::json;
use skep_broker::Broker;
use skep_protocol::{Hash, RunFilter, RunStatus, RunSummary};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::run::labels;
use crate::commands::run_ref::RunRef;
use crate::commands::table::{self, Column, Fit};
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, Format};

const RUNS: &[Column] = &[
    Column("RUN", Fit::End, 0),
    Column("WORKFLOW", Fit::Middle, 0),
    Column("STATUS", Fit::Whole, 0),
    Column("STEPS", Fit::Whole, 1),
    Column("STARTED (LOCAL)", Fit::Whole, 3),
    Column("TOOK", Fit::Whole, 2),
];
const WORKFLOWS: &[Column] = &[
    Column("WORKFLOW", Fit::Middle, 0),
    Column("VERSION", Fit::Middle, 0),
    Column("DEFINITION", Fit::Whole, 1),
    Column("CURRENT", Fit::Whole, 0),
];

/// List runs, newest first.
///
/// A run that a step of another one started, as its sub-workflow, is marked with ↳. STEPS are those
/// that are over and those known so far: the steps of the file, groups included, and each item of a
/// `for_each`; the steps inside a group are known when they begin.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only runs in this state; may be repeated.
    #[arg(short, long, value_enum, value_name = "STATUS")]
    status: Vec<Status>,
    /// Only runs of this workflow.
    #[arg(short, long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only runs started by this run, named as in other commands.
    #[arg(long, value_name = "RUN")]
    parent: Option<String>,
    /// Only runs that somebody started, none that a step of another run did.
    #[arg(long, conflicts_with = "parent")]
    top: bool,
    /// Only runs that were given this label; of several, all.
    #[arg(short, long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// At most so many; 0 for all.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: u32,
    /// List the registered workflows instead; the name alone means the version that is current,
    /// the one that was registered last.
    #[arg(long, conflicts_with_all = ["status", "workflow", "parent", "top", "labels"])]
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
        let labels = labels(&self.labels)?;
        let parent = match self.parent {
            Some(parent) => Some(RunRef::from(parent).resolve(client).await?),
            None => None,
        };
        let status = self.status.into_iter().map(RunStatus::from).collect();
        let (workflow, limit, top) = (self.workflow, self.limit, self.top);
        let any = RunFilter { limit: 1, ..RunFilter::default() };
        let filter = RunFilter { status, workflow, parent, top, labels, limit, after: None };
        let is_all = RunFilter { limit: 1, ..filter.clone() } == any;
        let runs = client.runs(filter).await?;
        if global.output == Format::Json {
            output::json(&runs.iter().map(json::summary).collect::<Vec<_>>());
            return Ok(Exit::Ok);
        }
        if runs.is_empty() {
            let none = is_all || client.runs(any).await?.is_empty();
            output::note(if none { "no runs" } else { "none of the runs matches" });
            return Ok(Exit::Ok);
        }
        let now = human::now();
        let rows = runs.iter().map(|run| {
            let took = run.ended.unwrap_or(now).since(run.started);
            vec![
                run.run.to_string().into(),
                name(run).into(),
                table::run_status(run.status),
                format!("{}/{}", run.steps_ended, run.steps).into(),
                human::local_date_and_time(run.started).into(),
                human::duration(took).into(),
            ]
        });
        output::data(table::draw(RUNS, rows));
        Ok(Exit::Ok)
    }
}

/// Returns the name of its workflow, marked if another run started it.
fn name(run: &RunSummary) -> String {
    let mark = if run.parent.is_some() { "↳ " } else { "" };
    format!("{mark}{}", run.workflow)
}

async fn workflows<B: Broker>(client: &Client<B>, global: &Global) -> Result<Exit, Error> {
    let workflows = marked(client.workflows().await?);
    if global.output == Format::Json {
        let object = |(known, current): (Registered, bool)| {
            let (name, version, digest) = known;
            let digest = digest.to_string();
            json!({ "workflow": name, "version": version, "digest": digest, "current": current })
        };
        output::json(&workflows.into_iter().map(object).collect::<Vec<_>>());
        return Ok(Exit::Ok);
    }
    if workflows.is_empty() {
        output::note("no workflows; register one with: skep apply FILE");
        return Ok(Exit::Ok);
    }
    let rows = workflows.into_iter().map(|((name, version, digest), current)| {
        let version = version.unwrap_or_else(|| "-".to_owned());
        let current = if current { "yes" } else { "" };
        vec![name.into(), version.into(), digest.short().into(), current.into()]
    });
    output::data(table::draw(WORKFLOWS, rows));
    Ok(Exit::Ok)
}

/// Name, version, digest.
type Registered = (String, Option<String>, Hash);

/// Marks what each name alone means: the last of its versions in the list.
fn marked(workflows: Vec<Registered>) -> Vec<(Registered, bool)> {
    let last: BTreeMap<String, usize> =
        workflows.iter().enumerate().map(|(at, (name, ..))| (name.clone(), at)).collect();
    let mark = |(at, known): (usize, Registered)| {
        let current = last.get(&known.0) == Some(&at);
        (known, current)
    };
    workflows.into_iter().enumerate().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_means_the_last_of_its_versions() {
        let known = |name: &str, version: Option<&str>| {
            (name.to_owned(), version.map(str::to_owned), Hash::ZERO)
        };
        let all =
            [known("a", None), known("a", Some("2")), known("a", Some("1")), known("b", None)];
        let current: Vec<bool> = marked(all.to_vec()).into_iter().map(|(_, mark)| mark).collect();
        assert_eq!(current, [false, false, true, true]);
    }
}
