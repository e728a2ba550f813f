//! `skep why`

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::{Value, json};
use skep_broker::Broker;
use skep_protocol::{RunDetail, RunId, RunStatus, StepPath, StepStatus, StepView, WaitingView};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::error::{Error, Exit};
use crate::follow::unknown;
use crate::human;
use crate::output::{self, BOLD, CYAN, DIM, Format, YELLOW, paint};

/// So many steps that are held up by the same cause are named.
const NAMED: usize = 5;

/// Say why a run, or one of its steps, does not go on.
///
/// Each cause is told once: the agent that nobody offers, the signal that did not come, the
/// back-off, the circuit breaker; and below it the steps that it holds up.
#[derive(Debug, Args)]
pub(crate) struct Why {
    #[command(flatten)]
    run: RunRef,
    /// Only this step: what it waits for, and what that waits for, down to the cause.
    step: Option<String>,
}

impl Why {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        let detail = client.run(run).await?.ok_or_else(|| unknown(run))?;
        let told = Causes::of(&detail);
        let step = match &self.step {
            Some(step) => Some(find(&detail, step)?),
            None => None,
        };
        match (global.output, step) {
            (Format::Json, step) => output::json(&told.json(step)),
            (Format::Text, Some(view)) => output::data(told.chain(view)),
            (Format::Text, None) => output::data(told.all()),
        }
        Ok(Exit::Ok)
    }
}

fn find<'a>(detail: &'a RunDetail, step: &str) -> Result<&'a StepView, Error> {
    let run = detail.summary.run;
    detail.steps.iter().find(|view| view.step.as_str() == step).ok_or_else(|| {
        Error::new(Exit::NotFound, format!("run {run} has no step `{step}`"))
            .help(format!("see its steps: skep get {run}"))
    })
}

/// What a run waits for.
struct Causes<'a> {
    detail: &'a RunDetail,
    waiting: BTreeMap<&'a StepPath, &'a WaitingView>,
}

impl<'a> Causes<'a> {
    fn of(detail: &'a RunDetail) -> Self {
        let waiting = detail.waiting.iter().map(|view| (&view.step, view)).collect();
        Self { detail, waiting }
    }

    fn run(&self) -> RunId {
        self.detail.summary.run
    }

    /// Returns a step and what it waits for, and so on, down to what waits for no other step.
    fn path(&self, step: &'a StepPath) -> Vec<&'a StepPath> {
        let mut path = vec![step];
        let mut seen = BTreeSet::from([step]);
        let next = |step| self.waiting.get(step).and_then(|view| view.waits_for.as_ref());
        while let Some(step) = path.last().and_then(|last| next(*last)).filter(|s| seen.insert(s)) {
            path.push(step);
        }
        path
    }

    /// Says of one step why it is as it is.
    fn line(&self, step: &StepPath) -> String {
        if let Some(view) = self.waiting.get(step) {
            return human::reason(&view.reason);
        }
        let view = self.detail.steps.iter().find(|view| view.step == *step);
        view.map_or_else(|| "has not begun".to_owned(), state)
    }

    /// Returns what a person can do about a step.
    fn advice(&self, step: &StepPath) -> Option<String> {
        let run = self.run();
        let view = self.waiting.get(step)?;
        if let Some(signal) = &view.signal {
            return Some(format!("skep signal {run} {signal}"));
        }
        match step.compensated() {
            Some(of) if self.detail.summary.status == RunStatus::Stuck => {
                Some(format!("skep resume {run}, or skep skip {run} {of}"))
            }
            Some(_) | None => None,
        }
    }

    fn head(&self) -> String {
        let summary = &self.detail.summary;
        let run = format!("run {} of {}", summary.run, paint(BOLD, &summary.workflow));
        match (summary.status, &self.detail.error) {
            (status, Some(error)) if status.is_final() => {
                format!("{run} is over: {status}, {}", human::short_lines(&error.to_string()))
            }
            (RunStatus::Paused, _) => {
                format!("{run} is paused: skep resume {} lets it go on", summary.run)
            }
            (status, _) if status.is_final() => format!("{run} is over: {status}"),
            (status, _) => format!("{run} is {status}"),
        }
    }

    /// Says what a step waits for, one line for each step on the way to the cause.
    fn chain(&self, view: &'a StepView) -> String {
        let mut lines = Vec::new();
        for (depth, step) in self.path(&view.step).into_iter().enumerate() {
            let pad = "  ".repeat(depth);
            lines.push(format!("{pad}{}: {}", paint(BOLD, step), self.line(step)));
            lines.extend(self.advice(step).map(|advice| help(&pad, &advice)));
        }
        lines.join("\n")
    }

    /// Says every cause once, with the steps that it holds up.
    fn all(&self) -> String {
        let mut lines = vec![self.head()];
        let busy = self.detail.steps.iter().filter(|view| is_performed(view));
        let busy = busy.filter(|view| !self.waiting.contains_key(&view.step));
        lines.extend(busy.map(|view| format!("{}: {}", paint(BOLD, &view.step), state(view))));
        let mut held: BTreeMap<&StepPath, Vec<&StepPath>> = BTreeMap::new();
        for step in self.waiting.keys() {
            let path = self.path(step);
            let Some(cause) = path.last() else { continue };
            let held = held.entry(cause).or_default();
            held.extend((path.len() > 1).then_some(*step));
        }
        for (cause, held) in held {
            if self.waiting.contains_key(cause) {
                let reason = paint(YELLOW, self.line(cause));
                lines.push(format!("{}: {reason}", paint(BOLD, cause)));
                lines.extend(self.advice(cause).map(|advice| help("", &advice)));
            }
            if !held.is_empty() {
                let names = held.iter().take(NAMED).map(ToString::to_string);
                let names = names.collect::<Vec<_>>().join(", ");
                let more = held.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let line = format!("  {cause} holds up {names}{more}");
                lines.push(paint(DIM, line));
            }
        }
        lines.join("\n")
    }

    fn json(&self, step: Option<&'a StepView>) -> Value {
        let one = |step: &StepPath| {
            let view = self.waiting.get(step);
            json!({
                "step": step,
                "reason": self.line(step),
                "waits_for": view.and_then(|view| view.waits_for.as_ref()),
                "signal": view.and_then(|view| view.signal.as_ref()),
            })
        };
        let because: Vec<Value> = match step {
            Some(view) => self.path(&view.step).into_iter().map(one).collect(),
            None => self.waiting.keys().map(|step| one(step)).collect(),
        };
        let summary = &self.detail.summary;
        json!({ "run": summary.run, "status": summary.status, "because": because })
    }
}

fn help(pad: &str, advice: &str) -> String {
    format!("{pad}  {}: {advice}", paint(CYAN, "help"))
}

/// Returns whether somebody works on a step at the moment.
fn is_performed(view: &StepView) -> bool {
    view.status == StepStatus::Running && view.attempts.last().is_some_and(|a| a.agent.is_some())
}

/// Says how a step is that waits for nothing.
fn state(view: &StepView) -> String {
    let agent = view.attempts.last().and_then(|attempt| attempt.agent.as_ref());
    match (view.status, agent, &view.child) {
        (StepStatus::Running, _, Some(child)) => {
            format!("its run {child} goes on: skep why {child}")
        }
        (StepStatus::Running, Some(agent), None) => format!("agent {agent} works on it"),
        (StepStatus::Running, None, None) => "what is inside it is under way".to_owned(),
        (StepStatus::Pending, _, _) => "has not begun".to_owned(),
        (StepStatus::Failed, _, _) => {
            let error = view.error.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("failed: {}", human::short_lines(&error))
        }
        (
            status @ (StepStatus::Scheduled
            | StepStatus::Waiting
            | StepStatus::Completed
            | StepStatus::Skipped
            | StepStatus::Cancelled),
            _,
            _,
        ) => status.to_string(),
    }
}
