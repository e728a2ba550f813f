//! `skep get`

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value;
use skep_broker::Broker;
use skep_protocol::{AgentId, AttemptView, Payload, RunDetail, StepPath, StepStatus, StepView};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::commands::table::{self, Cell, Column, Fit};
use crate::error::{Error, Exit};
use crate::follow::unknown;
use crate::human;
use crate::json;
use crate::output::{self, BOLD, Format, RED, YELLOW, paint};

/// So many items that ended well are listed.
const SHOWN_ITEMS: usize = 20;

const STEPS: &[Column] = &[
    Column("STEP", Fit::Middle, 0),
    Column("STATUS", Fit::Whole, 0),
    Column("ATTEMPTS", Fit::Whole, 1),
    Column("TOOK", Fit::Whole, 2),
    Column("NOTE", Fit::Words, 0),
];

/// Show a run: its state, its steps, what it waits for.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    run: RunRef,
    /// Show every item of a `for_each`, also those that completed.
    #[arg(short, long)]
    all: bool,
    /// Only this step, with its output, or those of its items (one item: `review[2]`).
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
}

impl Get {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        let mut detail = client.run(run).await?.ok_or_else(|| unknown(run))?;
        if let Some(step) = &self.step {
            return one(client, detail, step, global.output).await;
        }
        if let Some(outputs) = &detail.outputs {
            detail.outputs = Some(client.value(outputs).await?.into());
        }
        if global.output == Format::Json {
            output::json(&json::detail(&detail));
            return Ok(Exit::Ok);
        }
        let done = items_done(&detail);
        let hidden = if self.all { 0 } else { hide(&mut detail) };
        output::data(text(&detail, &done));
        if hidden > 0 {
            output::note(format!("{hidden} items that ended well are not shown: --all"));
        }
        Ok(Exit::Ok)
    }
}

/// Shows one step: with its output, or with those of its items.
async fn one<B: Broker>(
    client: &Client<B>,
    detail: RunDetail,
    step: &str,
    format: Format,
) -> Result<Exit, Error> {
    let run = detail.summary.run;
    let view = detail.steps.iter().find(|view| view.step.as_str() == step).ok_or_else(|| {
        Error::new(Exit::NotFound, format!("run {run} has no step `{step}`"))
            .help(format!("see its steps: skep get {run}"))
    })?;
    let mut object = json::step(view);
    let value = async |output: &Option<Payload>| match output {
        Some(output) => client.value(output).await,
        None => Ok(Value::Null),
    };
    let shown = match view.items {
        Some(items) => {
            let mut outputs = Vec::new();
            for item in 0..items {
                let path = view.step.item(item);
                let item = detail.steps.iter().find(|view| view.step == path);
                outputs.push(value(&item.and_then(|item| item.output.clone())).await?);
            }
            object["outputs"] = outputs.into();
            &object["outputs"]
        }
        None => {
            object["output"] = value(&view.output).await?;
            &object["output"]
        }
    };
    match format {
        Format::Text => output::data(one_step(&detail, view, shown)),
        Format::Json => output::json(&object),
    }
    Ok(Exit::Ok)
}

/// Counts the items that are over, for each `for_each`.
fn items_done(detail: &RunDetail) -> BTreeMap<StepPath, u32> {
    let mut done = BTreeMap::new();
    for view in detail.steps.iter().filter(|view| view.status.is_final()) {
        let path = view.step.as_str();
        if let (true, Some((step, _))) = (path.ends_with(']'), path.rsplit_once('[')) {
            *done.entry(StepPath::new(step)).or_default() += 1;
        }
    }
    done
}

/// Leaves out items that ended well where there are many; returns how many.
fn hide(detail: &mut RunDetail) -> usize {
    let boring = |view: &StepView| {
        view.step.as_str().contains('[')
            && matches!(view.status, StepStatus::Completed | StepStatus::Skipped)
    };
    let many = detail.steps.iter().filter(|view| boring(view)).count();
    if many <= SHOWN_ITEMS {
        return 0;
    }
    detail.steps.retain(|view| !boring(view));
    many
}

fn text(detail: &RunDetail, done: &BTreeMap<StepPath, u32>) -> String {
    let run = &detail.summary;
    let took = human::duration(run.ended.unwrap_or_else(human::now).since(run.started));
    let word = if run.ended.is_some() { "in" } else { "for" };
    let mut lines = vec![
        format!("{}  {}", paint(BOLD, &run.workflow), run.run),
        format!(
            "{} {word} {took}, started {}",
            table::run_status(run.status),
            human::date_and_time(run.started)
        ),
    ];
    if let Some(parent) = &run.parent {
        lines.push(format!("started by step {} of run {}", parent.step, parent.run));
    }
    lines.push(format!("inputs   {}", compact(&json::payload(&detail.inputs))));
    if let Some(outputs) = &detail.outputs {
        lines.push(format!("outputs  {}", compact(&json::payload(outputs))));
    }
    if let Some(error) = &detail.error {
        let error = human::short_lines(&error.to_string());
        lines.push(format!("{}  {error}", paint(RED, "failure")));
    }
    if let Some(reason) = &detail.cancelled {
        lines.push(format!("{}   {reason}", paint(YELLOW, "reason")));
    }
    lines.push(String::new());
    let rows = detail.steps.iter().map(|view| row(detail, view, done));
    let pending = pending(detail);
    lines.push(table::draw(STEPS, rows.chain(pending)));
    lines.join("\n")
}

/// The steps that nothing happened to yet, but of which it is known what they wait for.
fn pending(detail: &RunDetail) -> impl Iterator<Item = Vec<Cell>> {
    let known = |step| detail.steps.iter().any(|view| view.step == step);
    let waiting = detail.waiting.iter().filter(move |view| !known(view.step.clone()));
    waiting.map(|view| {
        let (step, status) = (view.step.to_string(), table::step_status(StepStatus::Pending));
        let note = Cell::painted(YELLOW, human::reason(&view.reason));
        vec![step.into(), status, "0".into(), "-".into(), note]
    })
}

fn row(detail: &RunDetail, view: &StepView, done: &BTreeMap<StepPath, u32>) -> Vec<Cell> {
    let waiting = detail.waiting.iter().find(|waiting| waiting.step == view.step);
    let agent = agent(view).filter(|_| view.status == StepStatus::Running);
    let note = match (waiting, &view.error, view.child) {
        (Some(waiting), _, _) => Cell::painted(YELLOW, human::reason(&waiting.reason)),
        (None, Some(error), _) => Cell::painted(RED, human::first_line(&error.to_string(), 80)),
        (None, None, Some(child)) => format!("run {child}").into(),
        (None, None, None) => agent.map(|agent| format!("by {agent}")).unwrap_or_default().into(),
    };
    let attempts = match view.items {
        Some(items) if view.status == StepStatus::Completed => human::count(items as usize, "item"),
        Some(items) => format!("{}/{items}", done.get(&view.step).copied().unwrap_or_default()),
        None => taken(view).to_string(),
    };
    let status = table::step_status(view.status);
    vec![view.step.to_string().into(), status, attempts.into(), took(view).into(), note]
}

/// Counts the attempts that somebody took: an agent, or a run of their own.
fn taken(view: &StepView) -> usize {
    let is_taken = |one: &&AttemptView| one.agent.is_some() || view.child.is_some();
    view.attempts.iter().filter(is_taken).count()
}

/// Returns who works on a step.
fn agent(view: &StepView) -> Option<&AgentId> {
    view.attempts.last()?.agent.as_ref()
}

fn took(view: &StepView) -> String {
    match view.started {
        Some(started) => human::duration(view.ended.unwrap_or_else(human::now).since(started)),
        None => "-".to_owned(),
    }
}

fn one_step(detail: &RunDetail, view: &StepView, output: &Value) -> String {
    let mut lines = vec![format!(
        "{}  {}  {}",
        paint(BOLD, &view.step),
        table::step_status(view.status),
        took(view)
    )];
    for attempt in &view.attempts {
        let agent = attempt.agent.as_ref().map(|agent| format!(" by {agent}")).unwrap_or_default();
        let error = attempt.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        lines.push(format!("attempt {} {}{agent}{error}", attempt.attempt, attempt.status));
    }
    if let Some(error) = &view.error {
        lines.push(format!("{}: {error}", paint(RED, "failed")));
    }
    if let Some(items) = view.items {
        let done = items_done(detail).get(&view.step).copied().unwrap_or_default();
        lines.push(format!(
            "{done} of {} over; their outputs:",
            human::count(items as usize, "item")
        ));
    }
    if !output.is_null() {
        lines.push(serde_json::to_string_pretty(output).unwrap_or_default());
    }
    lines.join("\n")
}

fn compact(value: &Value) -> String {
    human::first_line(&value.to_string(), 200)
}

#[cfg(test)]
mod tests {
    use skep_protocol::Timestamp;

    use super::*;

    #[test]
    fn an_attempt_that_nobody_took_is_none() {
        let attempt = |agent: Option<&str>, status: &str| AttemptView {
            attempt: 1,
            status: status.to_owned(),
            scheduled: Timestamp::EPOCH,
            agent: agent.map(|agent| AgentId::new(agent).unwrap()),
            ended: None,
            duration_ms: None,
            error: None,
        };
        let mut view = StepView {
            step: StepPath::new("s"),
            status: StepStatus::Failed,
            attempts: vec![attempt(Some("a-1"), "lost"), attempt(None, "failed")],
            started: None,
            ended: None,
            output: None,
            error: None,
            child: None,
            items: None,
        };
        assert_eq!(taken(&view), 1);
        view.attempts = vec![attempt(None, "scheduled")];
        assert_eq!(taken(&view), 0);
        view.child = Some(skep_protocol::RunId::from_key("w", "k"));
        assert_eq!(taken(&view), 1);
    }
}
