//! `skep get`

use clap::Args;
use skep_broker::Broker;
use skep_protocol::{RunDetail, StepStatus, StepView};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::commands::table;
use crate::error::{Error, Exit};
use crate::follow::unknown;
use crate::human;
use crate::json;
use crate::output::{self, BOLD, Format, RED, YELLOW, paint};

/// So many items that ended well are listed.
const SHOWN_ITEMS: usize = 20;

/// Show a run: its state, its steps, what it waits for.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    run: RunRef,
    /// Show every item of a `for_each`, also those that completed.
    #[arg(short, long)]
    all: bool,
    /// Only this step, with its output (items as `review[2]`).
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
            detail.steps.retain(|view| view.step.as_str() == step);
            let view = detail.steps.first_mut().ok_or_else(|| {
                Error::new(Exit::NotFound, format!("run {run} has no step `{step}`"))
                    .help(format!("see its steps: skep get {run}"))
            })?;
            if let Some(output) = &view.output {
                view.output = Some(client.value(output).await?.into());
            }
        }
        if let Some(outputs) = &detail.outputs {
            detail.outputs = Some(client.value(outputs).await?.into());
        }
        let hidden = if self.all || global.output == Format::Json { 0 } else { hide(&mut detail) };
        match (global.output, self.step) {
            (Format::Json, None) => output::json(&json::detail(&detail)),
            (Format::Json, Some(step)) => output::json(&json::detail(&detail)["steps"][&step]),
            (Format::Text, None) => {
                output::data(text(&detail));
                if hidden > 0 {
                    output::note(format!("{hidden} items that ended well are not shown: --all"));
                }
            }
            (Format::Text, Some(_)) => output::data(one_step(&detail.steps[0])),
        }
        Ok(Exit::Ok)
    }
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

fn text(detail: &RunDetail) -> String {
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
        lines.push(format!("{}  {error}", paint(RED, "failure")));
    }
    lines.push(String::new());
    let rows = detail.steps.iter().map(|view| row(detail, view));
    let pending = pending(detail);
    lines.push(table::draw(&["STEP", "STATUS", "ATTEMPTS", "TOOK", "NOTE"], rows.chain(pending)));
    lines.join("\n")
}

/// The steps that nothing happened to yet, but of which it is known what they wait for.
fn pending(detail: &RunDetail) -> impl Iterator<Item = Vec<String>> {
    let known = |step| detail.steps.iter().any(|view| view.step == step);
    let waiting = detail.waiting.iter().filter(move |view| !known(view.step.clone()));
    waiting.map(|view| {
        let (step, status) = (view.step.to_string(), table::step_status(StepStatus::Pending));
        let note = paint(YELLOW, human::reason(&view.reason));
        vec![step, status, "0".to_owned(), "-".to_owned(), note]
    })
}

fn row(detail: &RunDetail, view: &StepView) -> Vec<String> {
    let waiting = detail.waiting.iter().find(|waiting| waiting.step == view.step);
    let note = match (waiting, &view.error, view.child) {
        (Some(waiting), _, _) => paint(YELLOW, human::reason(&waiting.reason)),
        (None, Some(error), _) => paint(RED, human::first_line(&error.to_string(), 80)),
        (None, None, Some(child)) => format!("run {child}"),
        (None, None, None) => String::new(),
    };
    vec![
        view.step.to_string(),
        table::step_status(view.status),
        view.attempts.len().to_string(),
        took(view),
        note,
    ]
}

fn took(view: &StepView) -> String {
    match view.started {
        Some(started) => human::duration(view.ended.unwrap_or_else(human::now).since(started)),
        None => "-".to_owned(),
    }
}

fn one_step(view: &StepView) -> String {
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
    if let Some(output) = &view.output {
        let output = json::payload(output);
        lines.push(serde_json::to_string_pretty(&output).unwrap_or_default());
    }
    lines.join("\n")
}

fn compact(value: &serde_json::Value) -> String {
    human::first_line(&value.to_string(), 200)
}
