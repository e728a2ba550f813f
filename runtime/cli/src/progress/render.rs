//! The drawing of a run on a terminal: a few lines that fit, drawn again as it goes on.

use skep_protocol::{RunStatus, StepStatus, Timestamp};

use super::Progress;
use super::rows::{Instance, Row};
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
}

const SPINNER: &[char] = &['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const BAR: usize = 12;
/// Fewer columns than these are left for words: the bar goes.
const WORDS: usize = 40;

/// Draws a run, at most `frame.height` lines.
pub(crate) fn draw(progress: &Progress, frame: Frame) -> Vec<String> {
    let mut lines = vec![head(progress, frame.now)];
    let rows = progress.rows.all();
    let space = frame.height.saturating_sub(1).max(1);
    let shown = choose(rows, space);
    let widest = shown.iter().map(|row| 2 * row.depth() + row.id().chars().count()).max();
    let column = widest.unwrap_or_default().clamp(8, 32);
    lines.extend(shown.iter().map(|row| row_line(progress, row, column, frame)));
    if shown.len() < rows.len() {
        lines.push(rest(rows, &shown));
    }
    lines
}

/// Says in one line how a run ended.
pub(crate) fn summary(progress: &Progress) -> String {
    let status = progress.status.unwrap_or(RunStatus::Running);
    let took =
        progress.started.zip(progress.ended).map(|(from, to)| human::duration(to.since(from)));
    let took = took.map(|took| format!(" in {took}")).unwrap_or_default();
    let steps = progress.rows.all().iter().map(steps).sum();
    let attempts = usize::try_from(progress.attempts).unwrap_or(usize::MAX);
    let work = format!("{}, {}", human::count(steps, "step"), human::count(attempts, "attempt"));
    let (mark, word) = run_mark(status);
    let mut line = format!("{mark} {} {word}{took} ({work})", paint(BOLD, &progress.workflow));
    if let Some(failure) = &progress.failure {
        line.push_str(&format!("\n  {failure}"));
    }
    line
}

fn steps(row: &Row) -> usize {
    if row.is_many() { row.total() } else { usize::from(!row.group) }
}

fn head(progress: &Progress, now: Timestamp) -> String {
    let status = progress.status.unwrap_or(RunStatus::Running);
    let took = progress.started.map(|from| progress.ended.unwrap_or(now).since(from));
    let took = took.map(human::duration).unwrap_or_default();
    let (mark, word) = run_mark(status);
    let word =
        if progress.cancelling && !status.is_final() { "cancelling".to_owned() } else { word };
    let mark = if status == RunStatus::Running { paint(CYAN, spinner(now)) } else { mark };
    format!(
        "{mark} {}  {word}  {took}  {}",
        paint(BOLD, &progress.workflow),
        paint(DIM, progress.run)
    )
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

fn spinner(now: Timestamp) -> char {
    let frames = SPINNER.len() as u64;
    SPINNER[usize::try_from(now.as_millis() / 100 % frames).unwrap_or_default()]
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

fn rest(rows: &[Row], shown: &[&Row]) -> String {
    let hidden = rows.iter().filter(|row| !shown.iter().any(|one| one.key == row.key));
    let (mut done, mut other) = (0, 0);
    for row in hidden {
        *(if row.status().is_final() { &mut done } else { &mut other }) += 1;
    }
    paint(DIM, format!("  … and {} more: {done} over, {other} to come", done + other))
}

fn row_line(progress: &Progress, row: &Row, column: usize, frame: Frame) -> String {
    let status = row.status();
    let indent = "  ".repeat(row.depth());
    let name = row.id().to_owned();
    let pad = " ".repeat(column.saturating_sub(indent.len() + name.chars().count()));
    let mark = match status {
        StepStatus::Pending => paint(DIM, '·'),
        StepStatus::Scheduled | StepStatus::Running => paint(CYAN, spinner(frame.now)),
        StepStatus::Waiting => paint(YELLOW, '◌'),
        StepStatus::Completed => paint(GREEN, '✔'),
        StepStatus::Failed => paint(RED, '✘'),
        StepStatus::Skipped => paint(DIM, '–'),
        StepStatus::Cancelled => paint(YELLOW, '■'),
    };
    let name = if status == StepStatus::Pending { paint(DIM, name) } else { name };
    let space = frame.width.saturating_sub(column + 8);
    let (plain, styled) = words(progress, row, frame.now, space);
    let styled = if plain.chars().count() > space {
        human::first_line(&plain, space.max(10))
    } else {
        styled
    };
    format!("  {indent}{mark} {name}{pad}  {styled}").trim_end().to_owned()
}

/// Returns what is to be said of a row, without and with style.
fn words(progress: &Progress, row: &Row, now: Timestamp, space: usize) -> (String, String) {
    let status = row.status();
    let mut words: Vec<(String, String)> = Vec::new();
    let mut say = |plain: String, styled: String| words.push((plain, styled));
    if row.is_many() && status != StepStatus::Pending {
        let total = progress.rows.total(row);
        let (plain, styled) = bar(row, total);
        if space >= WORDS + BAR {
            say(plain, styled);
        }
        let counts = counters(row, total);
        say(counts.clone(), counts);
    }
    if let Some(time) = time(row, status, now) {
        say(time.clone(), paint(DIM, &time));
    }
    let one = row.one();
    if let Some(one) = one.filter(|one| one.attempt > 1) {
        let text = format!("attempt {}", one.attempt);
        say(text.clone(), paint(YELLOW, &text));
    }
    if let Some(note) = note(progress, row, status, now) {
        let note = human::first_line(&note, 120);
        let style = if status == StepStatus::Failed { RED } else { YELLOW };
        say(note.clone(), paint(style, &note));
    }
    let join = |texts: Vec<String>| texts.join("  ");
    let (plain, styled) = words.into_iter().unzip();
    (join(plain), join(styled))
}

fn time(row: &Row, status: StepStatus, now: Timestamp) -> Option<String> {
    if matches!(status, StepStatus::Pending | StepStatus::Skipped) {
        return None;
    }
    let all = || row.own.values().chain(row.items.values());
    let started = row.one().and_then(|one| one.started);
    let started = started.or_else(|| all().filter_map(|one| one.started).min())?;
    let ended = if status.is_final() { all().filter_map(|one| one.ended).max()? } else { now };
    Some(human::duration(ended.since(started)))
}

fn counters(row: &Row, total: usize) -> String {
    let counts = row.counts;
    let text = format!("{}/{total}", counts.done());
    let more = [(counts.failed, "failed"), (counts.active, "under way")];
    let more = more.iter().filter(|(number, _)| *number > 0);
    more.fold(text, |text, (number, word)| format!("{text}, {number} {word}"))
}

fn bar(row: &Row, total: usize) -> (String, String) {
    let done = row.counts.done().min(total);
    let full = (BAR * done).checked_div(total).unwrap_or(BAR);
    let (full, empty) = ("━".repeat(full), "─".repeat(BAR - full));
    (format!("{full}{empty}"), format!("{}{}", paint(CYAN, full), paint(DIM, empty)))
}

fn note(progress: &Progress, row: &Row, status: StepStatus, now: Timestamp) -> Option<String> {
    if !status.is_final() {
        let waiting = row.own.keys().chain(row.items.keys());
        if let Some(reason) = waiting.filter_map(|step| progress.waiting.get(step)).next() {
            return Some(reason.clone());
        }
    }
    let one = row.one();
    if let Some(one) = one.filter(|_| !row.is_many()) {
        return single_note(one, now);
    }
    if status == StepStatus::Completed {
        return None;
    }
    one.and_then(|one| one.note.clone()).or_else(|| row.last_failure.clone())
}

fn single_note(one: &Instance, now: Timestamp) -> Option<String> {
    let later = one.not_before.filter(|at| *at > now && !one.status.is_final());
    if let (None, Some(progress)) = (later, &one.progress) {
        return Some(progress.clone());
    }
    match (later, &one.note, &one.agent) {
        (Some(at), Some(note), _) => {
            Some(format!("in {}, after: {note}", human::duration(at.since(now))))
        }
        (Some(at), None, _) => Some(format!("in {}", human::duration(at.since(now)))),
        (None, Some(note), _) => Some(note.clone()),
        (None, None, Some(agent)) => Some(format!("by {agent}")),
        (None, None, None) => None,
    }
}
