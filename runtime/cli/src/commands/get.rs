//! `skep get`

use std::collections::BTreeMap;
use std::ops::Bound;

use clap::Args;
use serde_json::{Map, Value};
use skep_broker::Broker;
use skep_protocol::{AgentId, RunDetail, StepPath, StepStatus, StepView};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::commands::table::{self, Cell, Column, Fit};
use crate::details;
use crate::error::{Error, Exit};
use crate::follow::unknown;
use crate::human;
use crate::json;
use crate::output::{self, BOLD, DIM, Format, RED, YELLOW, paint};

/// More bytes of a value are not told along with everything else.
const LARGE: u64 = 1024 * 1024;
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
///
/// ATTEMPTS are those that were scheduled, also if no agent took them; each run of a sub-workflow
/// is one. With -o json, `attempts` of a step is their number and `tries` tells of each. A value of
/// more than 1 MiB is null there, with its size beside it (`output_size`). The output of a group or
/// of a `for_each`, which consists of those inside, is null, too: --step STEP prints all of them.
#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    run: RunRef,
    /// Show every item of a `for_each`, also those that completed.
    #[arg(short, long)]
    all: bool,
    /// Only this step, with its output, or those of its items (one item: `review[2]`); of one that
    /// failed, the end of what it wrote to stderr.
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
        fetch(client, &mut detail).await?;
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

/// Fetches values that lie in the blob store, as long as they are not too large to be told along
/// with everything else.
async fn fetch<B: Broker>(client: &Client<B>, detail: &mut RunDetail) -> Result<(), Error> {
    if let Some(outputs) = &detail.outputs {
        detail.outputs = Some(client.value(outputs).await?.into());
    }
    let outputs = detail.steps.iter_mut().filter_map(|view| view.output.as_mut());
    for value in outputs.chain([&mut detail.inputs]) {
        if value.blob().is_some_and(|blob| blob.size <= LARGE) {
            *value = client.value(value).await?.into();
        }
    }
    Ok(())
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
    let values = Values::of(client, &detail);
    let mut object = json::step(view);
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("output_size");
    }
    let shown = if view.items.is_some() { "outputs" } else { "output" };
    object[shown] = values.value(view).await?;
    match format {
        Format::Text => {
            let failure = view.attempts.last().and_then(|attempt| attempt.error.as_ref());
            let details = match failure.or(view.error.as_ref()) {
                Some(failure) => details::of_failure(client, failure).await,
                None => Vec::new(),
            };
            output::data(one_step(&detail, view, &object[shown], &details));
        }
        Format::Json => output::json(&object),
    }
    Ok(Exit::Ok)
}

/// The outputs of the steps of a run.
struct Values<'a, B> {
    client: &'a Client<B>,
    views: BTreeMap<&'a str, &'a StepView>,
}

impl<'a, B: Broker> Values<'a, B> {
    fn of(client: &'a Client<B>, detail: &'a RunDetail) -> Self {
        let views = detail.steps.iter().map(|view| (view.step.as_str(), view));
        Self { client, views: views.collect() }
    }

    /// Returns what came out of a step: of a `for_each` a list, of a group a map.
    async fn value(&self, view: &StepView) -> Result<Value, Error> {
        if let Some(items) = view.items {
            let mut outputs = Vec::new();
            for item in 0..items {
                outputs.push(match self.views.get(view.step.item(item).as_str()) {
                    Some(item) => Box::pin(self.value(item)).await?,
                    None => Value::Null,
                });
            }
            return Ok(outputs.into());
        }
        if let Some(output) = &view.output {
            return self.client.value(output).await;
        }
        if view.status != StepStatus::Completed {
            return Ok(Value::Null);
        }
        let mut output = Map::new();
        for (id, inner) in self.inside(&view.step) {
            output.insert(id.to_owned(), Box::pin(self.value(inner)).await?);
        }
        Ok(if output.is_empty() { Value::Null } else { output.into() })
    }

    /// Returns the steps of a group.
    fn inside(&self, group: &StepPath) -> Vec<(&'a str, &'a StepView)> {
        let prefix = format!("{group}/");
        let from = (Bound::Excluded(&*prefix), Bound::Unbounded);
        let below = self.views.range::<str, _>(from).map_while(|(&path, view)| {
            let id = path.strip_prefix(&*prefix)?;
            Some((id, *view))
        });
        below.filter(|(id, _)| !id.contains(['/', '['])).collect()
    }
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
            "{} {word} {took}, {}/{} steps over, started {}",
            table::run_status(run.status),
            run.steps_ended,
            run.steps,
            human::date_and_time(run.started)
        ),
    ];
    if let Some(parent) = &run.parent {
        lines.push(format!("started by step {} of run {}", parent.step, parent.run));
    }
    if let Some(before) = run.retry_of {
        lines.push(format!("does over run {before}"));
    }
    for after in &detail.retried_by {
        lines.push(format!("done over by run {after}"));
    }
    if let Some(paused) = &detail.paused {
        lines.push(paint(YELLOW, human::paused(Some(paused))));
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
        let more =
            if view.alike > 0 { format!(" (and {} more)", view.alike) } else { String::new() };
        let note = Cell::painted(YELLOW, human::reason(&view.reason) + &more);
        vec![step.into(), status, "0".into(), "-".into(), note]
    })
}

fn row(detail: &RunDetail, view: &StepView, done: &BTreeMap<StepPath, u32>) -> Vec<Cell> {
    let waiting = detail.waiting.iter().find(|waiting| waiting.step == view.step);
    let agent = agent(view).filter(|_| view.status == StepStatus::Running);
    let note = match (waiting, &view.error, view.child) {
        (Some(waiting), _, _) => Cell::painted(YELLOW, reason(view, &waiting.reason)),
        (None, Some(error), _) => Cell::painted(RED, human::first_line(&error.to_string(), 80)),
        (None, None, Some(child)) => format!("run {child}").into(),
        (None, None, None) if view.skipped_by.is_some() => {
            Cell::painted(DIM, taken_as_done(view).unwrap_or_default())
        }
        (None, None, None) if view.skipped.is_some() || view.cancelled.is_some() => {
            Cell::painted(DIM, human::not_run(view).unwrap_or_default())
        }
        (None, None, None) if view.kept => Cell::painted(DIM, "kept from the run before"),
        (None, None, None) => agent.map(|agent| format!("by {agent}")).unwrap_or_default().into(),
    };
    let attempts = match view.items {
        Some(items) if view.status == StepStatus::Completed => human::count(items as usize, "item"),
        Some(items) => format!("{}/{items}", done.get(&view.step).copied().unwrap_or_default()),
        None => view.attempts.len().to_string(),
    };
    let status = table::step_status(view.status);
    vec![view.step.to_string().into(), status, attempts.into(), took(view).into(), note]
}

/// Says what a step waits for, and what its last attempt came to.
fn reason(view: &StepView, reason: &str) -> String {
    let reason = human::reason(reason);
    match view.attempts.iter().rev().find_map(|attempt| attempt.error.as_ref()) {
        Some(error) => format!("{reason}, after: {}", human::first_line(&error.to_string(), 80)),
        None => reason,
    }
}

/// Says who took a compensation that failed as done.
fn taken_as_done(view: &StepView) -> Option<String> {
    view.skipped_by.as_ref().map(|by| format!("taken as done, says {by}"))
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

fn one_step(detail: &RunDetail, view: &StepView, output: &Value, details: &[String]) -> String {
    let mut lines = vec![format!(
        "{}  {}  {}",
        paint(BOLD, &view.step),
        table::step_status(view.status),
        took(view)
    )];
    for attempt in &view.attempts {
        let agent = attempt.agent.as_ref().map(|agent| format!(" by {agent}")).unwrap_or_default();
        let error = attempt.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let by = if attempt.fallback { " of the fallback" } else { "" };
        lines.push(format!("attempt {}{by} {}{agent}{error}", attempt.attempt, attempt.status));
    }
    lines.extend(taken_as_done(view));
    let told = view.attempts.last().and_then(|attempt| attempt.error.as_ref());
    if let Some(error) = view.error.as_ref().filter(|error| told != Some(error)) {
        lines.push(format!("{}: {error}", paint(RED, "failed")));
    }
    if !details.is_empty() {
        lines.push(paint(DIM, "details, their end:"));
        lines.extend(details.iter().map(|line| format!("  {line}")));
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
pub(crate) mod tests;
