//! One row of the drawing: a name, how far it is, how long it took, what it waits for.

use skep_protocol::{StepStatus, Timestamp};

use super::Progress;
use super::render::{Frame, Motion, spinner};
use super::rows::{Instance, Row};
use crate::human;
use crate::output::{CYAN, DIM, GREEN, RED, YELLOW, paint};

const BAR: usize = 12;
/// Fewer columns than these are left for words: the bar goes.
const WORDS: usize = 40;
/// Fewer columns than these are left for a reason that is longer: it gets a line of its own.
const REASON: usize = 24;
/// The longest reason that is shown.
const LONGEST_REASON: usize = 120;
/// So many items that failed are named at the end.
const NAMED: usize = 3;

/// A row as lines.
#[derive(Debug)]
pub(super) struct Drawn {
    /// What is always there.
    pub(super) line: String,
    /// Why it waits or failed, where the line has no space for that.
    pub(super) below: Option<Below>,
}

/// A reason without a line yet.
#[derive(Debug)]
pub(super) struct Below {
    /// The line of its own.
    pub(super) line: String,
    /// What fits into the line of the row, if there is no other.
    pub(super) appended: String,
}

/// Returns how wide the column of names is: as the longest needs it, but never most of the width.
pub(super) fn column(shown: &[&Row], width: usize) -> usize {
    let widest = shown.iter().map(|row| 2 * row.depth() + row.id().chars().count()).max();
    widest.unwrap_or_default().clamp(8, (width * 2 / 5).max(8))
}

/// Draws a row.
pub(super) fn draw(progress: &Progress, row: &Row, column: usize, frame: Frame) -> Drawn {
    let status = row.status();
    let indent = "  ".repeat(row.depth().min(column / 4));
    let name = human::middle(row.id(), column.saturating_sub(indent.len()));
    let pad = " ".repeat(column.saturating_sub(indent.len() + name.chars().count()));
    let name = if status == StepStatus::Pending { paint(DIM, name) } else { name };
    let space = frame.width.saturating_sub(column + 8);
    let mut words = words(progress, row, frame.now, space);
    let style = if status == StepStatus::Failed { RED } else { YELLOW };
    let mark = mark(row, status, frame);
    let mut below = None;
    if let Some(note) = note(progress, row, status, frame) {
        let note = human::first_line(&note, LONGEST_REASON);
        let rest = space.saturating_sub(words.width());
        let cut = |width| paint(style, human::first_line(&note, width));
        if note.chars().count() <= rest || rest >= REASON {
            words.say(note.chars().count(), cut(rest));
        } else {
            let deeper = format!("  {indent}    ");
            let line = format!("{deeper}{}", cut(frame.width.saturating_sub(deeper.len())));
            let appended = if rest > 8 { format!("  {}", cut(rest)) } else { String::new() };
            below = Some(Below { line, appended });
        }
    }
    let line = format!("  {indent}{mark} {name}{pad}  {}", words.text);
    Drawn { line: line.trim_end().to_owned(), below }
}

/// Names items that failed, one line each.
pub(super) fn failed_items(row: &Row, width: usize) -> Vec<String> {
    let indent = "  ".repeat(row.depth() + 2);
    let failed = row.items.iter().filter(|(_, one)| one.status == StepStatus::Failed);
    let line = |(step, one): (&skep_protocol::StepPath, &Instance)| {
        let step = step.as_str().rsplit('/').next().unwrap_or_default();
        let step = human::middle(step, (width / 3).max(8));
        let text = format!("{step}  {}", one.note.as_deref().unwrap_or_default());
        let text = human::first_line(&text, width.saturating_sub(indent.len() + 2));
        format!("{indent}{} {text}", paint(RED, '✘'))
    };
    let mut lines: Vec<String> = failed.take(NAMED).map(line).collect();
    if row.counts.failed > NAMED {
        let more = row.counts.failed - NAMED;
        lines.push(format!("{indent}{}", paint(DIM, format!("… and {more} more failed"))));
    }
    lines
}

fn mark(row: &Row, status: StepStatus, frame: Frame) -> String {
    match status {
        StepStatus::Pending => paint(DIM, '·'),
        StepStatus::Scheduled | StepStatus::Running if row.is_queued() => paint(CYAN, '○'),
        StepStatus::Scheduled | StepStatus::Running if frame.motion == Motion::Still => {
            paint(CYAN, '●')
        }
        StepStatus::Scheduled | StepStatus::Running => paint(CYAN, spinner(frame.now)),
        StepStatus::Waiting => paint(YELLOW, '◌'),
        StepStatus::Completed => paint(GREEN, '✔'),
        StepStatus::Failed => paint(RED, '✘'),
        StepStatus::Skipped => paint(DIM, '–'),
        StepStatus::Cancelled => paint(YELLOW, '■'),
    }
}

/// What is said of a row, and how many columns it takes.
#[derive(Debug, Default)]
struct Words {
    text: String,
    columns: usize,
}

impl Words {
    fn say(&mut self, columns: usize, styled: impl AsRef<str>) {
        if self.columns > 0 {
            self.text.push_str("  ");
            self.columns += 2;
        }
        self.text.push_str(styled.as_ref());
        self.columns += columns;
    }

    /// Returns the columns that are taken when something follows.
    const fn width(&self) -> usize {
        if self.columns == 0 { 0 } else { self.columns + 2 }
    }
}

/// Says how far a row is and how long it takes: in a narrow place, with fewer words.
fn words(progress: &Progress, row: &Row, now: Timestamp, space: usize) -> Words {
    let status = row.status();
    let mut words = Words::default();
    let time = time(row, status, now);
    let timed = time.as_ref().map_or(0, |time| time.chars().count() + 2);
    if row.is_many() && status != StepStatus::Pending {
        let total = progress.rows.total(row);
        let counts = counters(row, total, space.saturating_sub(timed));
        let columns = counts.chars().count();
        if space >= WORDS + BAR && BAR + 2 + columns + timed <= space {
            words.say(BAR, bar(row, total));
        }
        words.say(columns, counts);
    }
    if let Some(time) = time {
        words.say(time.chars().count(), paint(DIM, &time));
    }
    if let Some(one) = row.one().filter(|one| one.attempt > 1) {
        let by = if one.fallback { ", the fallback's" } else { "" };
        let text = format!("attempt {}{by}", one.attempt);
        if words.width() + text.len() <= space {
            words.say(text.len(), paint(YELLOW, &text));
        }
    }
    words
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

/// Says how many are over, and as much more as there is space for.
fn counters(row: &Row, total: usize, space: usize) -> String {
    let counts = row.counts;
    let mut text = format!("{}/{total}", counts.done());
    let words =
        [(counts.failed, "failed"), (counts.active, "under way"), (counts.queued, "queued")];
    for (number, word) in words {
        let more = format!(", {number} {word}");
        if number > 0 && text.len() + more.len() <= space {
            text.push_str(&more);
        }
    }
    text
}

fn bar(row: &Row, total: usize) -> String {
    let done = row.counts.done().min(total);
    let full = (BAR * done).checked_div(total).unwrap_or(BAR);
    let (full, empty) = ("━".repeat(full), "─".repeat(BAR - full));
    format!("{}{}", paint(CYAN, full), paint(DIM, empty))
}

fn note(progress: &Progress, row: &Row, status: StepStatus, frame: Frame) -> Option<String> {
    let one = row.one();
    // Of a back-off it is known until when, and what for.
    let backs_off = one.is_some_and(|one| !row.is_many() && one.is_due_after(frame.now));
    if !status.is_final() && !backs_off {
        let waiting = row.own.keys().chain(row.items.keys());
        if let Some(reason) = waiting.filter_map(|step| progress.waiting.get(step)).next() {
            return Some(reason.clone());
        }
    }
    if let Some(one) = one.filter(|_| !row.is_many()) {
        return single_note(one, frame.now);
    }
    if status == StepStatus::Completed {
        return None;
    }
    // What stays on the terminal names the items that failed in lines of their own.
    let last = row.last_failure.as_ref().filter(|_| frame.motion == Motion::Moving);
    one.and_then(|one| one.note.clone()).or_else(|| last.cloned())
}

fn single_note(one: &Instance, now: Timestamp) -> Option<String> {
    let later = one.not_before.filter(|_| one.is_due_after(now));
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
