//! `skep deadletters show`

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use skep_broker::Broker;
use skep_protocol::{
    AttemptView, DeadLetter, Event, FailureKind, LetterFilter, Payload, RunDetail, RunId, StepPath,
    StepStatus,
};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::deadletters::{state, steps};
use crate::commands::run_ref::RunRef;
use crate::details;
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, BOLD, CYAN, DIM, Format, RED, paint};

/// A longer text of an input is cut.
const INPUT: usize = 2_000;

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    run: RunRef,
    /// Only this step, its items and what is inside it included.
    step: Option<String>,
}

impl Show {
    pub(super) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        let step = self.step.as_deref().map(StepPath::new);
        let of_run = LetterFilter { run: Some(run), all: true, ..LetterFilter::default() };
        let letters = client.letters(LetterFilter { step, ..of_run.clone() }).await?;
        if letters.is_empty() {
            let known = client.letters(of_run).await?;
            return Err(if known.is_empty() {
                none(client, run).await
            } else {
                no_such(run, &known)
            });
        }
        let detail = client.run(run).await?.ok_or_else(|| crate::follow::unknown(run))?;
        let mut shown = Vec::new();
        for letter in &letters {
            let input = match input(client, letter).await? {
                Some(input) => Some(client.value(&input).await?),
                None => None,
            };
            match global.output {
                Format::Json => shown.push(object(letter, &detail, input)),
                Format::Text => output::data(text(client, letter, &detail, input).await),
            }
        }
        if global.output == Format::Json {
            output::json(&shown);
        }
        Ok(Exit::Ok)
    }
}

/// Says which dead letters a run has, to somebody who asked for others.
pub(super) fn no_such(run: RunId, known: &[DeadLetter]) -> Error {
    let error = Error::new(Exit::NotFound, format!("run {run} has no such dead letter"));
    match known {
        [] => error.help(format!("see how it is: skep get {run}")),
        known => error.help(format!("it has {}", steps(known))),
    }
}

/// Says why a run has no dead letters.
async fn none<B: Broker>(client: &Client<B>, run: RunId) -> Error {
    let error = |message: String| Error::new(Exit::NotFound, message);
    match client.run(run).await {
        Err(error) => error,
        Ok(None) => crate::follow::unknown(run),
        Ok(Some(detail)) => {
            let status = detail.summary.status;
            let none = error(format!("run {run} has no dead letters: it is {status}"));
            match detail.summary.parent {
                Some(parent) => none.help(format!(
                    "step {} of run {} started it: skep deadletters show {}",
                    parent.step, parent.run, parent.run
                )),
                None => none.help(format!("see how it is: skep get {run}")),
            }
        }
    }
}

/// Returns what the step was last asked to do.
async fn input<B: Broker>(
    client: &Client<B>,
    letter: &DeadLetter,
) -> Result<Option<Payload>, Error> {
    let (mut after, mut found) = (0, None);
    while let Some(page) = client.history(letter.run, after, Duration::ZERO).await? {
        let Some(last) = page.last() else { break };
        after = last.number;
        for entry in page {
            if let Event::AttemptScheduled(scheduled) = &entry.record.event
                && scheduled.step == letter.step
            {
                found = scheduled.input.clone().or(found);
            }
            if let Event::ChildStarted(started) = &entry.record.event
                && started.step == letter.step
            {
                found = Some(started.inputs.clone());
            }
        }
    }
    Ok(found)
}

fn attempts<'a>(letter: &DeadLetter, detail: &'a RunDetail) -> &'a [AttemptView] {
    let view = detail.steps.iter().find(|view| view.step == letter.step);
    view.map(|view| view.attempts.as_slice()).unwrap_or_default()
}

fn object(letter: &DeadLetter, detail: &RunDetail, input: Option<Value>) -> Value {
    let mut object = json::letter(letter);
    object["input"] = input.unwrap_or_default();
    let attempts = attempts(letter, detail).iter().map(json::attempt);
    object["tries"] = attempts.collect();
    object["run_status"] = serde_json::json!(detail.summary.status);
    object["run_error"] = json::error(detail);
    object
}

async fn text<B: Broker>(
    client: &Client<B>,
    letter: &DeadLetter,
    detail: &RunDetail,
    input: Option<Value>,
) -> String {
    let DeadLetter { run, step, failure, .. } = letter;
    let mut lines = vec![
        format!("{}  of {}  {run}", paint(BOLD, step), letter.workflow),
        format!(
            "given up on {}, the run {}",
            human::date_and_time(letter.at),
            detail.summary.status
        ),
        format!("{}  {}", paint(RED, "why"), human::short_lines(&failure.to_string())),
        format!("  kind {}, code {}", json::word(&failure.kind), failure.code),
    ];
    if !failure.retryable && failure.kind == FailureKind::Agent {
        lines.push("  whoever failed said that trying again cannot help".to_owned());
    }
    let more = details::of_failure(client, failure).await;
    lines.extend(more.iter().map(|line| format!("  {}", paint(DIM, line))));
    if let Some(capability) = &letter.capability {
        lines.push(format!("needs {capability}"));
    }
    for (name, value) in &letter.labels {
        lines.push(format!("label {name}={value}"));
    }
    if let Some(input) = input {
        lines.push(format!("input  {}", human::first_line(&input.to_string(), INPUT)));
    }
    lines.extend(attempts(letter, detail).iter().map(attempt));
    if let Some(child) = letter.child {
        lines.push(format!("its sub-workflow is run {child}:"));
        lines.extend(inside(client, child).await);
    }
    lines.extend(advice(letter));
    lines.join("\n") + "\n"
}

fn attempt(view: &AttemptView) -> String {
    let by = view.agent.as_ref().map(|agent| format!(" by {agent}")).unwrap_or_default();
    let took = view.duration_ms.map(|ms| {
        let took = human::duration(Duration::from_millis(ms));
        format!(" after {took}")
    });
    let why =
        view.error.as_ref().map(|error| format!(": {}", human::short_lines(&error.to_string())));
    let at = human::date_and_time(view.scheduled);
    let (took, why) = (took.unwrap_or_default(), why.unwrap_or_default());
    format!("attempt {} of {at} {}{by}{took}{why}", view.attempt, view.status)
}

/// Tells what failed in the run of a sub-workflow.
async fn inside<B: Broker>(client: &Client<B>, child: RunId) -> Vec<String> {
    let Ok(Some(detail)) = client.run(child).await else {
        return vec!["  nothing is known of it any more".to_owned()];
    };
    let failed = detail.steps.iter().filter(|view| view.status == StepStatus::Failed);
    let line = failed.filter_map(|view| {
        let error = human::short_lines(&view.error.as_ref()?.to_string());
        Some(format!("  {}: {error}", view.step))
    });
    let mut lines: Vec<String> = line.collect();
    if lines.is_empty() {
        lines.push(format!("  {}", detail.summary.status));
    }
    lines
}

fn advice(letter: &DeadLetter) -> Vec<String> {
    let help = paint(CYAN, "help");
    if let Some(state) = state(letter) {
        return vec![format!("  {help}: it was dealt with: {state}")];
    }
    let run = letter.run;
    vec![
        format!("  {help}: once the cause is gone, send it again: skep deadletters redrive {run}"),
        format!("  {help}: with another input, or from another step: skep retry {run} --help"),
        format!("  {help}: or take it off the list: skep deadletters drop {run} '{}'", letter.step),
    ]
}
