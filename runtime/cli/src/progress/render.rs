//! The drawing of a run on a terminal: a few lines that fit, drawn again as it goes on, and what
//! stays there when it is over.

use skep_protocol::{RunDetail, RunStatus, StepStatus, Timestamp};

use super::Progress;
use super::row::{self, Drawn};
use super::rows::Row;
use crate::human;
use crate::output::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, paint};

/// The space for a drawing, and its moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// The moment.
    pub(crate) now: Timestamp,
    /// Lines.
    pub(crate) height: usize,
    /// Columns.
    pub(crate) width: usize,
    /// Whether it is drawn again.
    pub(crate) motion: Motion,
}

/// Whether a drawing is one of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Motion {
    /// It is drawn again and again.
    Moving,
    /// It stays as it is.
    Still,
}

/// Whether people were told why steps failed when they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failures {
    /// Line by line.
    Told,
    /// Not yet.
    Untold,
}

/// How much work a run was, as the coordinator counts it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    steps: usize,
    attempts: usize,
}

impl Counted {
    /// Counts what a run consists of.
    pub(crate) fn of(detail: &RunDetail) -> Self {
        let attempts = detail.steps.iter().map(|view| view.attempts.len()).sum();
        Self { steps: detail.summary.steps as usize, attempts }
    }
}

const SPINNER: &[char] = &['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// So many steps of a run that is over are all shown.
const FEW: usize = 20;
/// The end of an id that names a run where there is no space for all of it.
const SHORT_ID: usize = 8;

/// Draws a run, at most `frame.height` lines.
pub(crate) fn draw(progress: &Progress, frame: Frame) -> Vec<String> {
    let mut lines = vec![head(progress, frame)];
    let rows = progress.rows.all();
    let space = frame.height.saturating_sub(1).max(1);
    let mut shown = choose(rows, space);
    let all = below_each_other(progress, &shown, usize::MAX, frame).len();
    // Reasons are worth more than steps that are over or to come.
    let wanted = (all - shown.len()).min(space / 3);
    if shown.len() + wanted > space {
        shown = choose(rows, space - wanted);
    }
    let rest = (shown.len() < rows.len()).then(|| rest(rows, &shown));
    let taken = shown.len() + usize::from(rest.is_some());
    lines.extend(below_each_other(progress, &shown, space.saturating_sub(taken), frame));
    lines.extend(rest);
    lines
}

/// Draws the steps of a run that is left: all where they are few; where they are many, those that
/// did not end well, and how many did.
pub(crate) fn left(progress: &Progress, frame: Frame) -> Vec<String> {
    let rows = progress.rows.all();
    let is_shown = |row: &&Row| {
        let well = matches!(row.status(), StepStatus::Completed | StepStatus::Pending);
        rows.len() <= FEW || !well || row.counts.failed > 0
    };
    let shown: Vec<&Row> = rows.iter().filter(is_shown).take(2 * FEW).collect();
    let frame = Frame { motion: Motion::Still, ..frame };
    let mut lines = below_each_other(progress, &shown, usize::MAX, frame);
    if shown.len() < rows.len() {
        lines.push(hidden(rows, &shown));
    }
    lines
}

/// Says in one line how a run ended, and why it failed.
pub(crate) fn summary(progress: &Progress, counted: Option<Counted>, failures: Failures) -> String {
    let status = progress.status.unwrap_or(RunStatus::Running);
    let took =
        progress.started.zip(progress.ended).map(|(from, to)| human::duration(to.since(from)));
    let took = took.map(|took| format!(" in {took}")).unwrap_or_default();
    let work = |counted: Counted| {
        let attempts = human::count(counted.attempts, "attempt");
        format!(" ({}, {attempts})", human::count(counted.steps, "step"))
    };
    let work = counted.map(work).unwrap_or_default();
    let (mark, word) = run_mark(status);
    let mut line = format!("{mark} {} {word}{took}{work}", paint(BOLD, &progress.workflow));
    if let Some(failure) = &progress.failure
        && (failures == Failures::Untold || !progress.is_told(failure))
    {
        line.push_str(&format!("\n  {}", human::short_lines(&failure.to_string())));
    }
    line
}

fn head(progress: &Progress, frame: Frame) -> String {
    let status = progress.status.unwrap_or(RunStatus::Running);
    let took = progress.started.map(|from| progress.ended.unwrap_or(frame.now).since(from));
    let took = took.map(human::duration).unwrap_or_default();
    let (mark, word) = run_mark(status);
    let (word, letters) = if progress.cancelling && !status.is_final() {
        ("cancelling".to_owned(), "cancelling".len())
    } else {
        (word, status.as_str().len())
    };
    let mark = if status == RunStatus::Running { paint(CYAN, spinner(frame.now)) } else { mark };
    let name = human::middle(&progress.workflow, (frame.width * 2 / 5).max(8));
    let used = 2 + name.chars().count() + 2 + letters + 2 + took.chars().count() + 2;
    let space = frame.width.saturating_sub(used);
    let id = progress.run.to_string();
    let short = format!("…{}", &id[id.len() - SHORT_ID..]);
    let id = [id, short].into_iter().find(|id| id.chars().count() <= space).unwrap_or_default();
    let id = if id.is_empty() { id } else { format!("  {}", paint(DIM, id)) };
    format!("{mark} {}  {word}  {took}{id}", paint(BOLD, name))
}

fn run_mark(status: RunStatus) -> (String, String) {
    let (style, mark) = match status {
        RunStatus::Running | RunStatus::Waiting | RunStatus::Unwinding => (CYAN, '●'),
        RunStatus::Paused => (YELLOW, '‖'),
        RunStatus::Completed => (GREEN, '✔'),
        RunStatus::Failed | RunStatus::Stuck => (RED, '✘'),
        RunStatus::Cancelled | RunStatus::Compensated => (YELLOW, '■'),
    };
    (paint(style, mark), paint(style, status))
}

/// Returns what turns while something is under way.
pub(super) fn spinner(now: Timestamp) -> char {
    let frames = SPINNER.len() as u64;
    SPINNER[usize::try_from(now.as_millis() / 100 % frames).unwrap_or_default()]
}

/// Draws rows; reasons that need a line of their own get it as long as there are `spare` ones.
fn below_each_other(
    progress: &Progress,
    shown: &[&Row],
    mut spare: usize,
    frame: Frame,
) -> Vec<String> {
    let column = row::column(shown, frame.width);
    let mut lines = Vec::new();
    for one in shown {
        let Drawn { mut line, below } = row::draw(progress, one, column, frame);
        match below {
            Some(below) if spare > 0 => {
                spare -= 1;
                lines.extend([line, below.line]);
            }
            Some(below) => {
                line.push_str(&below.appended);
                lines.push(line);
            }
            None => lines.push(line),
        }
        if frame.motion == Motion::Still {
            lines.extend(row::failed_items(one, frame.width));
        }
    }
    lines
}

/// Chooses the rows that fit: what is under way and what failed first, then what comes next, then
/// the latest that is over.
fn choose(rows: &[Row], space: usize) -> Vec<&Row> {
    if rows.len() <= space {
        return rows.iter().collect();
    }
    let urgency = |row: &Row| match row.status() {
        StepStatus::Failed => 0,
        StepStatus::Scheduled | StepStatus::Running | StepStatus::Waiting => 1,
        StepStatus::Pending => 2,
        StepStatus::Cancelled => 3,
        StepStatus::Completed | StepStatus::Skipped => 4,
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| match urgency(&rows[at]) {
        4 => (4, rows.len() - at),
        urgency => (urgency, at),
    });
    order.truncate(space.saturating_sub(1));
    order.sort_unstable();
    order.into_iter().map(|at| &rows[at]).collect()
}

/// Returns the states of the rows that are not shown.
fn unseen(rows: &[Row], shown: &[&Row]) -> impl Iterator<Item = StepStatus> {
    let is_shown = |row: &&Row| shown.iter().any(|one| one.key == row.key);
    rows.iter().filter(move |row| !is_shown(row)).map(Row::status)
}

fn rest(rows: &[Row], shown: &[&Row]) -> String {
    let (done, other): (Vec<_>, Vec<_>) = unseen(rows, shown).partition(|status| status.is_final());
    let (done, other) = (done.len(), other.len());
    paint(DIM, format!("  … and {} more: {done} over, {other} to come", done + other))
}

fn hidden(rows: &[Row], shown: &[&Row]) -> String {
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for status in unseen(rows, shown) {
        *counts.entry(status).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    let each = counts.iter().map(|(status, number)| format!("{number} {status}"));
    let each = each.collect::<Vec<_>>().join(", ");
    paint(DIM, format!("  … and {all} more: {each}"))
}
