//! `skep deadletters redrive` and `skep deadletters drop`

use std::collections::{BTreeMap, BTreeSet};

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

/// Runs that are done over for their letters: one, or those of the letters that options choose.
#[derive(Debug, Args)]
pub(super) struct Redrive {
    /// The run, named as in other commands; without it, those of the letters that the options
    /// choose.
    #[arg(value_name = "RUN", conflicts_with = "run")]
    of: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// Letters that are taken off the list: those of a run, or those that options choose.
#[derive(Debug, Args)]
pub(super) struct Drop {
    /// The run, named as in other commands; without it, those that the options choose.
    #[arg(value_name = "RUN", conflicts_with = "run")]
    of: Option<String>,
    /// Only this step of the run, its items and what is inside it included.
    #[arg(value_name = "STEP", requires = "of", conflicts_with = "step")]
    only: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// How letters are chosen.
#[derive(Debug, Args)]
struct Which {
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
    /// Do it without being asked; wanted where no run is named, or more is done than was chosen.
    #[arg(short, long)]
    yes: bool,
}

/// What became of the letters of one run.
type Outcome = (RunId, Result<Value, Error>);

impl Redrive {
    pub(super) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let named = self.of.is_some();
        let chosen = self.which.choose(client, ("redrive", self.of, None), global).await?;
        let Some(chosen) = chosen else { return Ok(Exit::Ok) };
        let letters = with_others(client, &chosen).await?;
        let others = letters.len().saturating_sub(chosen.len());
        if !self.which.is_wanted((&letters, others), named, global)? {
            return Ok(Exit::Ok);
        }
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
}

impl Drop {
    pub(super) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let named = self.of.is_some();
        let letters = self.which.choose(client, ("drop", self.of, self.only), global).await?;
        let Some(letters) = letters else { return Ok(Exit::Ok) };
        if !self.which.is_wanted((&letters, 0), named, global)? {
            return Ok(Exit::Ok);
        }
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
}

impl Which {
    /// Returns the letters that are chosen; none if there are none.
    async fn choose<B: Broker>(
        &self,
        client: &Client<B>,
        (what, of, only): (&str, Option<String>, Option<String>),
        global: &Global,
    ) -> Result<Option<Vec<DeadLetter>>, Error> {
        let named = of.is_some();
        let mut filter = self.filter.clone();
        if filter.is_everything() && !named && !self.every {
            return Err(Error::usage(format!("which dead letters to {what} is not said"))
                .help(format!("name a run: skep deadletters {what} RUN"))
                .help("or choose some: --workflow, --step, --code, --since, …; --every for all"));
        }
        filter.run = filter.run.or(of);
        filter.step = filter.step.or(only);
        let filter = filter.resolve(client).await?;
        let run = filter.run;
        let letters = client.letters(LetterFilter { limit: self.limit, ..filter }).await?;
        if !letters.is_empty() {
            return Ok(Some(letters));
        }
        if let Some(run) = run.filter(|_| named) {
            return Err(nothing_open(client, run).await?);
        }
        if global.output == Format::Json {
            output::json(&json!({ "done": [], "failed": [] }));
        }
        output::note("none of the dead letters matches");
        Ok(None)
    }

    /// Returns whether letters are to be dealt with, `others` of which were not chosen.
    fn is_wanted(
        &self,
        (letters, others): (&[DeadLetter], usize),
        named: bool,
        global: &Global,
    ) -> Result<bool, Error> {
        let mut would = format!("{} would be dealt with", count(letters));
        if others > 0 {
            would.push_str(&format!(", {others} more than chosen: a run is done over as a whole"));
        }
        if self.dry_run {
            match global.output {
                Format::Json => output::json(&letters.iter().map(json::letter).collect::<Vec<_>>()),
                Format::Text => output::data(table::draw(LETTERS, letters.iter().map(row))),
            }
            output::note(format!("{would}; nothing was done"));
            return Ok(false);
        }
        if self.yes || (named && others == 0) {
            return Ok(true);
        }
        Err(Error::usage(would).help("see them: --dry-run").help("to do it: --yes"))
    }
}

/// Returns letters with all others of their runs that are open, newest first.
async fn with_others<B: Broker>(
    client: &Client<B>,
    letters: &[DeadLetter],
) -> Result<Vec<DeadLetter>, Error> {
    let runs: BTreeSet<RunId> = letters.iter().map(|letter| letter.run).collect();
    let run = runs.first().copied().filter(|_| runs.len() == 1);
    let mut all = client.letters(LetterFilter { run, ..LetterFilter::default() }).await?;
    all.retain(|letter| runs.contains(&letter.run));
    Ok(all)
}

fn count(letters: &[DeadLetter]) -> String {
    let runs: BTreeSet<RunId> = letters.iter().map(|one| one.run).collect();
    let (letters, runs) = (letters.len(), runs.len());
    format!("{} of {}", human::count(letters, "dead letter"), human::count(runs, "run"))
}

/// Says why a run has nothing to be dealt with.
async fn nothing_open<B: Broker>(client: &Client<B>, run: RunId) -> Result<Error, Error> {
    if client.run(run).await?.is_none() {
        return Ok(crate::follow::unknown(run));
    }
    let all = LetterFilter { run: Some(run), all: true, ..LetterFilter::default() };
    let known = client.letters(all).await?;
    let dealt_with = known.iter().map(|letter| Some((letter, super::state(letter)?)));
    let dealt_with: Option<Vec<_>> = dealt_with.collect();
    let Some((letter, state)) = dealt_with.and_then(|all| all.into_iter().next()) else {
        return Ok(super::show::no_such(run, &known));
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
