//! `skep deadletters redrive` and `skep deadletters drop`

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};
use skep_broker::Broker;
use skep_protocol::{Command, DeadLetter, LetterFilter, RetryRun, RunId, StepPath};

use crate::cli::Global;
use crate::client::{Client, Existed};
use crate::commands::change::person;
use crate::commands::deadletters::{Filter, LETTERS, row};
use crate::commands::table;
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, CYAN, Format, RED, paint};

/// Letters that are dealt with: those of a run, or those that options choose.
#[derive(Debug, Args)]
pub(super) struct Bulk {
    /// The run, named as in other commands; without it, those that the options choose.
    #[arg(value_name = "RUN", conflicts_with = "run")]
    of: Option<String>,
    /// Only this step of the run, its items included.
    #[arg(value_name = "STEP", requires = "of", conflicts_with = "step")]
    only: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// All there are.
    #[arg(long)]
    every: bool,
    /// At most so many letters, the newest ones; 0 for all.
    #[arg(short = 'n', long, default_value_t = 0)]
    limit: u32,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it without being asked; wanted where no run is named.
    #[arg(short, long)]
    yes: bool,
}

/// What became of the letters of one run.
type Outcome = (RunId, Result<Value, Error>);

impl Bulk {
    pub(super) async fn redrive<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let Some(letters) = self.choose(client, "redrive", global).await? else {
            return Ok(Exit::Ok);
        };
        let mut told = Vec::new();
        for (run, letters) in by_run(letters) {
            let done = redrive(client, run).await;
            if global.output == Format::Text {
                tell_redriven(run, letters.len(), &done);
            }
            told.push((run, done));
        }
        Ok(summed(told, global))
    }

    pub(super) async fn take_off<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let Some(letters) = self.choose(client, "drop", global).await? else {
            return Ok(Exit::Ok);
        };
        let mut told = Vec::new();
        for (run, steps) in by_run(letters) {
            let names: Vec<String> = steps.iter().map(ToString::to_string).collect();
            let drop = Command::Drop { run, steps, by: person() };
            let done = client.change(run, drop).await.map(|()| json!({ "dropped": names }));
            if global.output == Format::Text {
                match &done {
                    Ok(_) => output::data(format!("dropped {run} {}", names.join(" "))),
                    Err(error) => failed(run, error),
                }
            }
            told.push((run, done));
        }
        Ok(summed(told, global))
    }

    /// Returns the letters that are to be dealt with; none if there are none, or if it was only
    /// asked which.
    async fn choose<B: Broker>(
        self,
        client: &Client<B>,
        what: &str,
        global: &Global,
    ) -> Result<Option<Vec<DeadLetter>>, Error> {
        let named = self.of.is_some();
        let mut filter = self.filter;
        if filter.is_everything() && !named && !self.every {
            return Err(Error::usage(format!("which dead letters to {what} is not said"))
                .help(format!("name a run: skep deadletters {what} RUN"))
                .help("or choose some: --workflow, --step, --code, --since, …; --every for all"));
        }
        filter.run = filter.run.or(self.of);
        filter.step = filter.step.or(self.only);
        let filter = filter.resolve(client).await?;
        let run = filter.run;
        let letters = client.letters(LetterFilter { limit: self.limit, ..filter }).await?;
        if letters.is_empty() {
            return match run.filter(|_| named) {
                Some(run) => Err(nothing_open(client, run).await?),
                None => {
                    if global.output == Format::Json {
                        output::json(&json!({ "done": [], "failed": [] }));
                    }
                    output::note("none of the dead letters matches");
                    Ok(None)
                }
            };
        }
        if self.dry_run {
            match global.output {
                Format::Json => output::json(&letters.iter().map(json::letter).collect::<Vec<_>>()),
                Format::Text => output::data(table::draw(LETTERS, letters.iter().map(row))),
            }
            output::note(format!("{} would be dealt with; nothing was done", count(&letters)));
            return Ok(None);
        }
        if !named && !self.yes {
            return Err(Error::usage(format!("{} would be dealt with", count(&letters)))
                .help("see them: --dry-run")
                .help("to do it: --yes"));
        }
        Ok(Some(letters))
    }
}

fn count(letters: &[DeadLetter]) -> String {
    let runs: std::collections::BTreeSet<RunId> = letters.iter().map(|one| one.run).collect();
    let (letters, runs) = (letters.len(), runs.len());
    format!("{} of {}", human::count(letters, "dead letter"), human::count(runs, "run"))
}

/// Says why a run has nothing to be dealt with.
async fn nothing_open<B: Broker>(client: &Client<B>, run: RunId) -> Result<Error, Error> {
    if client.run(run).await?.is_none() {
        return Ok(crate::follow::unknown(run));
    }
    let all = LetterFilter { run: Some(run), all: true, ..LetterFilter::default() };
    let dealt_with = client.letters(all).await?;
    let dealt_with = dealt_with.first().and_then(|letter| Some((letter, super::state(letter)?)));
    let Some((letter, state)) = dealt_with else {
        return Ok(Error::new(Exit::NotFound, format!("run {run} has no such dead letter"))
            .help(format!("see how it is: skep get {run}")));
    };
    Ok(Error::new(
        Exit::Conflict,
        format!("the dead letters of run {run} were dealt with: {state}"),
    )
    .help(match letter.redriven.last() {
        Some(by) => format!("should run {by} fail, do that one over: skep retry {by}"),
        None => format!("do the run over all the same: skep retry {run}"),
    }))
}

/// Groups letters by their runs, the oldest run first.
fn by_run(letters: Vec<DeadLetter>) -> Vec<(RunId, Vec<StepPath>)> {
    let mut order: Vec<RunId> = Vec::new();
    let mut steps: BTreeMap<RunId, Vec<StepPath>> = BTreeMap::new();
    for letter in letters.into_iter().rev() {
        let of_run = steps.entry(letter.run).or_default();
        if of_run.is_empty() {
            order.push(letter.run);
        }
        of_run.push(letter.step);
    }
    order.into_iter().map(|run| (run, steps.remove(&run).unwrap_or_default())).collect()
}

async fn redrive<B: Broker>(client: &Client<B>, of: RunId) -> Result<Value, Error> {
    let retry = RetryRun::new((of, client.partitions()), (None, false), None, person());
    let run = retry.run;
    let existed = client.retry(retry).await? == Existed::Before;
    Ok(json!({ "redriven_by": run, "existing": existed }))
}

fn tell_redriven(run: RunId, letters: usize, done: &Result<Value, Error>) {
    match done {
        Ok(done) => {
            let by = done["redriven_by"].as_str().unwrap_or_default();
            let letters = human::count(letters, "dead letter");
            output::data(format!("{run} ({letters}) is redriven by run {by}"));
        }
        Err(error) => failed(run, error),
    }
}

fn failed(run: RunId, error: &Error) {
    output::note(format!("{}: {run}: {error}", paint(RED, "failed")));
    for line in error.advice() {
        output::note(format!("  {}: {line}", paint(CYAN, "help")));
    }
}

/// Tells what became of all of them, and how the process ends.
fn summed(told: Vec<Outcome>, global: &Global) -> Exit {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (run, outcome) in told {
        match outcome {
            Ok(mut object) => {
                object["run"] = json!(run);
                done.push(object);
            }
            Err(error) => {
                let mut object = error.to_json();
                object["run"] = json!(run);
                failed.push(object);
            }
        }
    }
    let exit = if failed.is_empty() { Exit::Ok } else { Exit::Failed };
    if global.output == Format::Json {
        output::json(&json!({ "done": done, "failed": failed }));
    } else if !failed.is_empty() && !done.is_empty() {
        output::note(format!("{} runs done, {} failed", done.len(), failed.len()));
    }
    exit
}
