//! `skep why`

mod advice;
mod alike;
mod causes;

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::{Value, json};
use skep_broker::Broker;
use skep_protocol::{LetterFilter, RunDetail, RunId, RunStatus, StepPath};

use self::alike::{Alike, names};
use self::causes::Causes;
use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::error::{Error, Exit};
use crate::follow::unknown;
use crate::human;
use crate::output::{self, BOLD, CYAN, DIM, Format, YELLOW, paint};

/// Say why a run, or one of its steps, does not go on.
///
/// Each cause is told once, with the steps that it holds back: the agent that nobody offers, the
/// signal that did not come, the back-off, the circuit breaker, the limit of a `for_each`; below it
/// what waits for those steps. Where you can do something about a cause, a line of help says what.
#[derive(Debug, Args)]
pub(crate) struct Why {
    #[command(flatten)]
    run: RunRef,
    /// Only this step: what it waits for, and what that waits for, down to the cause, also inside
    /// a group or a `for_each`; of one that did not run, why it did not.
    step: Option<String>,
}

impl Why {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        let asked = self.step.iter().map(|step| StepPath::new(step)).collect();
        let detail = client.run_with(run, asked).await?.ok_or_else(|| unknown(run))?;
        let causes = Causes::of(&detail);
        let step = self.step.map(|step| find(&causes, run, &step)).transpose()?;
        match (global.output, step) {
            (Format::Json, step) => output::json(&object(&detail, &causes, step)),
            (Format::Text, Some(step)) => output::data(chain(&causes, step)),
            (Format::Text, None) => {
                let letters = letters(client, &detail).await?;
                output::data(all(&detail, &causes, letters));
            }
        }
        Ok(Exit::Ok)
    }
}

fn find(causes: &Causes<'_>, run: RunId, step: &str) -> Result<StepPath, Error> {
    let path = StepPath::new(step);
    if causes.knows(&path) {
        return Ok(path);
    }
    let error = Error::new(Exit::NotFound, format!("run {run} has no step `{step}`"));
    Err(match causes.of_an_item(&path) {
        Some(one) => error.help(format!("say of which item, for example: skep why {run} {one}")),
        None => error.help(format!("see its steps: skep get {run}")),
    })
}

/// Whether something was given up on in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letters {
    Some,
    None,
}

async fn letters<B: Broker>(client: &Client<B>, detail: &RunDetail) -> Result<Letters, Error> {
    if detail.summary.status != RunStatus::Failed {
        return Ok(Letters::None);
    }
    let run = Some(detail.summary.run);
    let found = client.letters(LetterFilter { run, limit: 1, ..LetterFilter::default() }).await?;
    Ok(if found.is_empty() { Letters::None } else { Letters::Some })
}

/// Says what a step waits for, one line for each step on the way to the causes.
fn chain(causes: &Causes<'_>, step: StepPath) -> String {
    let mut lines = Vec::new();
    for (depth, alike) in causes.tree(step) {
        let pad = "  ".repeat(depth);
        lines.push(format!("{pad}{}: {}", paint(BOLD, alike.names()), causes.say(&alike)));
        let advice = causes.advice(alike.first());
        let advice = advice.or_else(|| (depth > 0).then(|| causes.ask(alike.first())).flatten());
        lines.extend(advice.map(|advice| help(&pad, &advice)));
    }
    lines.join("\n")
}

/// Says every cause once, with the steps that it holds up.
fn all(detail: &RunDetail, causes: &Causes<'_>, letters: Letters) -> String {
    let mut lines = vec![head(detail)];
    lines.extend(once_failed(detail, letters).iter().map(|advice| help("", advice)));
    let mut advised = BTreeSet::new();
    if detail.summary.status == RunStatus::Paused {
        advised.insert(advice::resume(detail.summary.run));
    }
    let holders = causes.holders();
    for alike in causes.ends() {
        let mut reason = causes.say(&alike);
        if causes.waits(alike.first()) {
            reason = paint(YELLOW, reason);
        }
        lines.push(format!("{}: {reason}", paint(BOLD, alike.names())));
        let advice = causes.advice(alike.first()).or_else(|| causes.ask(alike.first()));
        let advice = advice.filter(|advice| advised.insert(advice.clone()));
        lines.extend(advice.map(|advice| help("", &advice)));
        lines.extend(held_up(causes, &holders, &alike));
    }
    lines.join("\n")
}

/// Says what waits for steps that have a cause in common; of items that their `for_each` holds back
/// that it does so.
fn held_up(
    causes: &Causes<'_>,
    holders: &BTreeMap<StepPath, Vec<StepPath>>,
    alike: &Alike,
) -> Vec<String> {
    let mut seen: BTreeSet<&StepPath> = alike.steps.iter().collect();
    let mut open: Vec<&StepPath> = alike.steps.iter().collect();
    let mut held = Vec::new();
    while let Some(step) = open.pop() {
        for after in holders.get(step).into_iter().flatten() {
            if seen.insert(after) {
                held.extend(causes.waits(after).then(|| after.clone()));
                open.push(after);
            }
        }
    }
    held.sort_by_cached_key(alike::order);
    let (items, others): (Vec<_>, Vec<_>) =
        held.into_iter().partition(|step| causes.is_held_back(step));
    let items = items.iter().map(|item| {
        let names = names(std::slice::from_ref(item), causes.more(item));
        format!("  {names}: {}", causes.line(item))
    });
    let verb = if alike.count() == 1 { "holds" } else { "hold" };
    let others = (!others.is_empty()).then(|| format!("  {verb} up {}", names(&others, 0)));
    others.into_iter().chain(items).map(|line| paint(DIM, line)).collect()
}

/// Returns what to do about a run that failed.
fn once_failed(detail: &RunDetail, letters: Letters) -> Vec<String> {
    let run = detail.summary.run;
    if detail.summary.status != RunStatus::Failed {
        return Vec::new();
    }
    let show = format!("what was given up on: skep deadletters show {run}");
    let show = (letters == Letters::Some).then_some(show);
    show.into_iter().chain([format!("to do it over: skep retry {run}")]).collect()
}

fn head(detail: &RunDetail) -> String {
    let summary = &detail.summary;
    let run = format!("run {} of {}", summary.run, paint(BOLD, &summary.workflow));
    match (summary.status, &detail.error) {
        (status, Some(error)) if status.is_final() => {
            format!("{run} is over: {status}, {}", human::short_lines(&error.to_string()))
        }
        (RunStatus::Paused, _) => {
            let resume = advice::resume(summary.run);
            format!("{run} is {}: {resume} lets it go on", human::paused(detail.paused.as_ref()))
        }
        (status, None) if status.is_final() => {
            let reason = detail.cancelled.as_ref().filter(|_| status != RunStatus::Completed);
            let since =
                if status == RunStatus::Cancelled { "" } else { ", since it was cancelled" };
            let why = reason.map(|why| format!("{since}: {}", human::short_lines(why)));
            format!("{run} is over: {status}{}", why.unwrap_or_default())
        }
        (RunStatus::Unwinding | RunStatus::Stuck, _) => match unwinds(detail) {
            Some(why) => format!("{run} is {}, since {why}", summary.status),
            None => format!("{run} is {}", summary.status),
        },
        (status, _) => format!("{run} is {status}"),
    }
}

/// Says why a run stops, or makes good what it did.
fn unwinds(detail: &RunDetail) -> Option<String> {
    if let Some(error) = &detail.error {
        return Some(format!("it failed: {}", human::short_lines(&error.to_string())));
    }
    if let Some(reason) = &detail.cancelled {
        return Some(format!("it was cancelled: {}", human::short_lines(reason)));
    }
    let culprit = detail.steps.iter().find_map(|view| view.stopped_by.as_ref())?;
    let culprit = detail.steps.iter().find(|view| view.step == *culprit)?;
    let error = human::short_lines(&culprit.error.as_ref()?.to_string());
    Some(format!("`{}` failed: {error}", culprit.step))
}

fn object(detail: &RunDetail, causes: &Causes<'_>, step: Option<StepPath>) -> Value {
    let steps: Vec<StepPath> = match step {
        Some(step) => causes.tree(step).into_iter().flat_map(|(_, alike)| alike.steps).collect(),
        None => causes.all_waiting(),
    };
    let because: Vec<Value> = steps.iter().map(|step| causes.json(step)).collect();
    let summary = &detail.summary;
    let mut object = json!({ "run": summary.run, "status": summary.status, "because": because });
    let untold = causes.untold().count();
    if untold > 0 {
        object["not_looked_into"] = untold.into();
    }
    object
}

fn help(pad: &str, advice: &str) -> String {
    format!("{pad}  {}: {advice}", paint(CYAN, "help"))
}

#[cfg(test)]
mod tests;
