//! Following a run to its end, and showing how it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use skep_broker::Broker;
use skep_protocol::{HistoryEntry, RunId, RunStatus, StepPath};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use crate::client::Client;
use crate::error::{Error, Exit};
use crate::human;
use crate::json;
use crate::output::{self, CYAN, YELLOW, paint};
use crate::progress::{self, Failures, Frame, LineFilter, Motion, Progress};
use crate::signals::{Interrupt, Interrupts};

/// How long a coordinator may hold back its answer while nothing happens.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How often a drawing is made again.
const REDRAW: Duration = Duration::from_millis(100);
/// Quiet for so long, a run is asked what it waits for.
const QUIET: Duration = Duration::from_secs(2);
/// How often a coordinator is asked who works on what, where that is drawn.
const LOOK: Duration = Duration::from_millis(500);
/// For how long no coordinator may answer while a run is followed, and the pause between two tries.
const SILENT_FOR: Duration = Duration::from_mins(2);
const SILENT_PAUSE: Duration = Duration::from_millis(500);
/// How long a run that was just started may be unknown to those who answer questions.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// In which way progress is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View {
    /// Drawn at the bottom of a terminal.
    Live,
    /// One line on stderr for each thing that matters.
    Lines,
    /// All that happened, one line each, on stdout.
    Logs,
    /// All that happened with everything that is known of it, one line each, on stdout.
    Journal,
    /// All that happened, one JSON object each, on stdout.
    Json,
    /// Not at all.
    Silent,
}

impl View {
    /// Chooses the drawing for a terminal, and lines for a pipe.
    pub(crate) fn of_stderr() -> Self {
        if !output::is_live() {
            return Self::Lines;
        }
        Self::Live
    }

    fn show(&self, progress: &Progress, entries: &[HistoryEntry]) {
        let line = |entry, filter| progress::line(progress, entry, filter);
        match self {
            Self::Live | Self::Silent => {}
            Self::Lines => entries
                .iter()
                .filter_map(|entry| line(entry, LineFilter::Brief))
                .for_each(output::note),
            Self::Logs => {
                entries
                    .iter()
                    .filter_map(|entry| line(entry, LineFilter::All))
                    .for_each(output::data);
            }
            Self::Journal => entries.iter().map(journal_line).for_each(output::data),
            Self::Json => entries.iter().map(json::entry).for_each(|one| output::json_line(&one)),
        }
    }

    fn draw(&self, progress: &Progress) {
        if matches!(self, Self::Live) {
            output::draw(|height, width| {
                let (now, motion) = (human::now(), Motion::Moving);
                progress::draw(progress, Frame { now, height, width, motion })
            });
        }
    }

    /// Ends the drawing and leaves on the terminal how far each step came.
    pub(crate) fn leave(&self, progress: &Progress) {
        if matches!(self, Self::Live) {
            output::leave_drawing(|height, width| {
                let (now, motion) = (human::now(), Motion::Still);
                progress::left(progress, Frame { now, height, width, motion })
            });
        }
    }

    /// Tells whether it said why steps failed when they did.
    pub(crate) const fn failures(&self) -> Failures {
        match self {
            Self::Lines | Self::Logs | Self::Journal | Self::Json => Failures::Told,
            Self::Live | Self::Silent => Failures::Untold,
        }
    }

    /// Leaves the terminal as it was before the drawing.
    pub(crate) fn close(&self) {
        if matches!(self, Self::Live) {
            output::end_drawing();
        }
    }
}

/// `7  2026-11-21T04:13:56.904Z  attempt_completed  {"step":"draft",…}`
fn journal_line(entry: &HistoryEntry) -> String {
    let mut fields = json::entry(entry);
    let event = fields["event"].as_str().unwrap_or_default().to_owned();
    if let Some(fields) = fields.as_object_mut() {
        for known in ["number", "at", "run", "event"] {
            fields.shift_remove(known);
        }
    }
    let at = human::rfc3339(entry.record.at);
    let line = format!("{:>5}  {at}  {}  {fields}", entry.number, paint(CYAN, &event));
    human::first_line(&line, 400)
}

/// Why following came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The run is over.
    Ended(RunStatus),
    /// Time is up.
    TimedOut,
    /// The user interrupted it.
    Interrupted(Interrupt),
    /// All that happened was shown, and more was not asked for.
    CaughtUp,
}

/// How long a run is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// To its end.
    End,
    /// Up to what has happened by now.
    Present,
}

/// Follows one run.
#[derive(Debug)]
pub(crate) struct Follow<'a, B> {
    pub(crate) client: &'a Client<B>,
    pub(crate) run: RunId,
    pub(crate) view: &'a View,
    pub(crate) until: Until,
    /// When to give up.
    pub(crate) deadline: Option<Instant>,
    /// The run was started a moment ago, so that it must become known.
    pub(crate) fresh: bool,
}

impl<B: Broker> Follow<'_, B> {
    /// Tells which steps are to come, where that is shown and nobody knows. It is of interest, not
    /// of importance.
    async fn declare(&self, progress: &mut Progress) {
        if matches!(self.view, View::Live)
            && progress.is_bare()
            && let Ok(Some(detail)) = self.client.run(self.run).await
        {
            progress.declare(&detail);
        }
    }

    /// Follows the run until one of the ends comes.
    pub(crate) async fn follow(
        &self,
        progress: &mut Progress,
        interrupts: &mut Interrupts,
    ) -> Result<End, Error> {
        self.declare(progress).await;
        let wait = if self.until == Until::End { LONG_POLL } else { Duration::ZERO };
        let ask = |after| self.page(after, wait);
        let mut page = pin!(ask(progress.seen()));
        let mut look = pin!(self.client.run(self.run));
        let mut asking = false;
        let mut told = Told::default();
        let now = Instant::now();
        let mut redraw = interval_at(now, REDRAW);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let live = matches!(self.view, View::Live);
        let after = if live { LOOK } else { QUIET };
        let mut quiet = interval_at(now + after, after);
        quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beats = if live { self.client.broker().beats().await.ok() } else { None };
        let mut beats = beats.unwrap_or_else(|| futures::stream::empty().boxed());
        loop {
            tokio::select! { biased;
                interrupt = interrupts.next() => return Ok(End::Interrupted(interrupt)),
                entries = &mut page => {
                    let entries = entries?;
                    for entry in &entries {
                        progress.apply(entry);
                        self.view.show(progress, std::slice::from_ref(entry));
                    }
                    if let Some(status) = progress.outcome() {
                        return Ok(End::Ended(status));
                    }
                    if entries.is_empty() && self.until == Until::Present {
                        return Ok(End::CaughtUp);
                    }
                    if !entries.is_empty() && !live {
                        quiet.reset();
                    }
                    page.set(ask(progress.seen()));
                }
                () = at(self.deadline) => return Ok(End::TimedOut),
                detail = &mut look, if asking => {
                    asking = false;
                    look.set(self.client.run(self.run));
                    // Without an answer it is what it was.
                    let Ok(Some(detail)) = detail else { continue };
                    progress.look(&detail);
                    if matches!(self.view, View::Lines) {
                        told.tell(progress.waiting());
                    }
                }
                Some(heartbeat) = beats.next(), if live => progress.hear(&heartbeat),
                _ = quiet.tick(), if !asking => asking = self.until == Until::End,
                _ = redraw.tick(), if live => self.view.draw(progress),
            }
        }
    }

    async fn page(&self, after: u64, wait: Duration) -> Result<Vec<HistoryEntry>, Error> {
        let patience = Instant::now() + UNKNOWN_FOR;
        let mut silent_since = None;
        loop {
            match self.client.history(self.run, after, wait).await {
                Ok(Some(entries)) => {
                    if silent_since.is_some() {
                        output::note("a coordinator answers again");
                    }
                    return Ok(entries);
                }
                Ok(None) if self.fresh && Instant::now() < patience => {
                    sleep(Duration::from_millis(5)).await;
                }
                Ok(None) => return Err(unknown(self.run)),
                Err(error) if self.until == Until::End && error.exit() == Exit::Unreachable => {
                    if silent_since.is_none() {
                        output::warn(format!("{error}; the run goes on, asking again"));
                    }
                    let since = *silent_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > SILENT_FOR {
                        return Err(error);
                    }
                    sleep(SILENT_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Creates the error of a run that nobody knows.
pub(crate) fn unknown(run: RunId) -> Error {
    Error::new(Exit::NotFound, format!("there is no run {run}"))
        .help("see what there is: skep list")
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What a pipe was told about waiting steps, so that it is told once.
#[derive(Debug, Default)]
struct Told(BTreeSet<(StepPath, String)>);

impl Told {
    fn tell(&mut self, waiting: &BTreeMap<StepPath, String>) {
        for line in self.news(waiting) {
            output::note(line);
        }
    }

    /// One line for each reason that is new, whatever numbers it holds.
    fn news(&mut self, waiting: &BTreeMap<StepPath, String>) -> Vec<String> {
        let mut news: BTreeMap<&str, Vec<&StepPath>> = BTreeMap::new();
        for (step, reason) in waiting {
            let kind = reason.chars().filter(|letter| !letter.is_ascii_digit()).collect();
            if self.0.insert((step.clone(), kind)) {
                news.entry(reason).or_default().push(step);
            }
        }
        let line = |(reason, steps): (&str, Vec<&StepPath>)| {
            let more = match steps.len() {
                1 => String::new(),
                many => format!(" (and {} more)", many - 1),
            };
            let waits = if reason.starts_with("waits ") { "" } else { "waits: " };
            let text = format!("{}{more} {waits}{reason}", steps[0]);
            format!("{}  {}", human::time_of_day(human::now()), paint(YELLOW, text))
        };
        news.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once() {
        let waiting = |pairs: &[(&str, &str)]| {
            let pair = |(step, reason): &(&str, &str)| (StepPath::new(step), (*reason).to_owned());
            pairs.iter().map(pair).collect::<BTreeMap<_, _>>()
        };
        let mut told = Told::default();
        let first = waiting(&[("a[0]", "no agent"), ("a[1]", "no agent"), ("b", "due in 3 s")]);
        let news = told.news(&first);
        assert_eq!(news.len(), 2);
        assert!(news[1].contains("a[0] (and 1 more) waits: no agent"), "{news:?}");
        assert_eq!(told.news(&waiting(&[("b", "due in 1 s")])), [""; 0]);
        let news = told.news(&waiting(&[("c", "waits for run x")]));
        assert!(news[0].contains("c waits for run x"), "{news:?}");
    }
}
