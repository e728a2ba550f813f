//! `skep deadletters`

mod bulk;
mod show;

use clap::{Args, Subcommand};
use skep_broker::Broker;
use skep_protocol::{AgentId, DeadLetter, FailureKind, LetterFilter, StepPath, Timestamp};

use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::commands::table::{self, Cell, Column, Fit};
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, DIM, Format, RED};

const LETTERS: &[Column] = &[
    Column("RUN", Fit::End, 0),
    Column("WORKFLOW", Fit::Middle, 1),
    Column("STEP", Fit::Middle, 0),
    Column("NEEDS", Fit::Middle, 3),
    Column("ATTEMPTS", Fit::Whole, 4),
    Column("FAILED (LOCAL)", Fit::Whole, 2),
    Column("WHY", Fit::Words, 0),
];
/// The widest note on why something failed.
const WHY: usize = 120;

/// Look at what was given up on, send it again, or take it off the list.
///
/// A dead letter is a step that failed for good and its run with it: its attempts are used up, or
/// more of them cannot help. It stays on the list until somebody deals with it, by `redrive` or
/// `drop`. What a run that completed tolerates (`tolerate`, `on_failure: continue`) is none, nor is
/// what was cancelled. If the run failed all the same, what it tolerated is on the list, too, but a
/// `for_each` that completed is kept as it is. A compensation that failed for good leaves its run
/// stuck, which is not over: see `skep list --status stuck`, `skep resume` and `skep skip`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List dead letters, newest first; what `skep deadletters` does as well.
    List(Box<List>),
    /// Show dead letters of a run with all that is known: input, attempts, cause, what to do.
    Show(show::Show),
    /// Do the runs of dead letters over, from where they failed; as `skep retry RUN` does.
    ///
    /// Letters of one run are redriven together, by one new run, also those that the options do not
    /// choose; you are told of them, and asked for --yes. A run that was redriven is not redriven
    /// again. Should the new run fail, its letters are new ones.
    Redrive(Box<bulk::Redrive>),
    /// Take dead letters off the list. What happened stays in the history of their runs.
    Drop(Box<bulk::Drop>),
}

#[derive(Debug, Default, Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Also those that were redriven or dropped.
    #[arg(short, long)]
    all: bool,
    /// At most so many; 0 for all.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: u32,
}

/// The options that choose letters; each narrows the choice.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which ones")]
struct Filter {
    /// Only those of this run, named as in other commands.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Only those of runs of this workflow.
    #[arg(short, long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only those of this step, its items and what is inside it included; one inside a group by its
    /// path or its own name: `deploy/check`, `deploy[0]`, `check`.
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Only steps that need an agent with this capability.
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    /// Only those that this agent had last.
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
    /// Only failures with this code, such as `card_declined`.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Only failures of this kind: agent, panic, timeout, lost, expect, …
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<FailureKind>,
    /// Only those given up on since then: a duration (`90m`: so long ago) or a time
    /// (`2026-01-31T09:00:00Z`).
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those given up on before then.
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    before: Option<Timestamp>,
}

impl Filter {
    /// Returns whether nothing is left out.
    fn is_everything(&self) -> bool {
        let Self { run, workflow, step, capability, agent, code, kind, since, before } = self;
        [run, workflow, step, capability, code].iter().all(|text| text.is_none())
            && agent.is_none()
            && kind.is_none()
            && since.is_none()
            && before.is_none()
    }

    async fn resolve<B: Broker>(self, client: &Client<B>) -> Result<LetterFilter, Error> {
        let run = match self.run {
            Some(run) => Some(RunRef::from(run).resolve(client).await?),
            None => None,
        };
        Ok(LetterFilter {
            run,
            workflow: self.workflow,
            step: self.step.as_deref().map(StepPath::new),
            capability: self.capability,
            agent: self.agent,
            code: self.code,
            kind: self.kind,
            since: self.since,
            before: self.before,
            ..LetterFilter::default()
        })
    }
}

/// Reads the kind of a failure.
fn kind(text: &str) -> Result<FailureKind, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Reads a time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = human::parse_duration(text) {
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        return Ok(Timestamp::from_millis(human::now().as_millis().saturating_sub(ago)));
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        "wants a duration such as 90m, or a time such as 2026-01-31T09:00:00Z".to_owned()
    })?;
    Ok(Timestamp::from_millis(u64::try_from(time.as_millisecond()).unwrap_or_default()))
}

impl DeadLetters {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        match self
            .what
            .unwrap_or_else(|| What::List(Box::new(List { limit: 50, ..List::default() })))
        {
            What::List(list) => list.perform(client, global).await,
            What::Show(show) => show.perform(client, global).await,
            What::Redrive(redrive) => redrive.perform(client, global).await,
            What::Drop(drop) => drop.perform(client, global).await,
        }
    }
}

impl List {
    async fn perform<B: Broker>(self, client: &Client<B>, global: &Global) -> Result<Exit, Error> {
        let narrowed = !self.filter.is_everything();
        let filter = self.filter.resolve(client).await?;
        let filter = LetterFilter { all: self.all, limit: self.limit, ..filter };
        let letters = client.letters(filter).await?;
        if global.output == Format::Json {
            output::json(&letters.iter().map(json::letter).collect::<Vec<_>>());
        } else if letters.is_empty() {
            let none =
                if narrowed { "none of the dead letters matches" } else { "no dead letters" };
            output::note(none);
        } else {
            output::data(table::draw(LETTERS, letters.iter().map(row)));
            let is_cut = self.limit > 0 && letters.len() == self.limit as usize;
            if is_cut {
                output::note(format!("there may be more than {}: -n 0 for all", self.limit));
            }
        }
        Ok(Exit::Ok)
    }
}

fn row(letter: &DeadLetter) -> Vec<Cell> {
    let why = human::first_line(&letter.failure.to_string(), WHY);
    let why = match state(letter) {
        Some(state) => Cell::painted(DIM, format!("{state}; {why}")),
        None => Cell::painted(RED, why),
    };
    vec![
        letter.run.to_string().into(),
        letter.workflow.clone().into(),
        letter.step.to_string().into(),
        letter.capability.clone().unwrap_or_else(|| "-".to_owned()).into(),
        letter.attempts.to_string().into(),
        human::local_date_and_time(letter.at).into(),
        why,
    ]
}

/// Names the steps of letters.
fn steps(letters: &[DeadLetter]) -> String {
    const MOST: usize = 20;
    let names = letters.iter().take(MOST).map(|letter| format!("`{}`", letter.step));
    let more = letters.len().saturating_sub(MOST);
    let more = (more > 0).then(|| format!("{more} more"));
    names.chain(more).collect::<Vec<_>>().join(", ")
}

/// Says what became of a letter, if somebody has dealt with it.
fn state(letter: &DeadLetter) -> Option<String> {
    match (letter.redriven.last(), &letter.dropped) {
        (Some(run), _) => Some(format!("redriven by run {run}")),
        (None, Some(dropped)) => Some(format!("dropped by {}", dropped.by)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_or_counted_back() {
        assert_eq!(moment("1970-01-01T00:00:05Z"), Ok(Timestamp::from_millis(5_000)));
        assert!(moment("90m").unwrap() < human::now());
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn kinds_are_words_of_the_protocol() {
        assert_eq!(kind("queue_timeout"), Ok(FailureKind::QueueTimeout));
        assert!(kind("bad luck").is_err());
    }
}
