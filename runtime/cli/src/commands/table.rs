//! Tables for people: as wide as they need, on a terminal no wider than it is.

use clap::builder::styling::Style;
use comfy_table::{ContentArrangement, Table, presets};
use skep_protocol::{RunStatus, StepStatus};

use crate::human;
use crate::output::{self, CYAN, DIM, GREEN, RED, YELLOW, paint};

/// Columns between two columns.
const GAP: usize = 2;

/// What becomes of a column where there is no space for all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is shown whole.
    Whole,
    /// Its texts lose their middle.
    Middle,
    /// Of its ids the end is shown, which names a run as well.
    End,
    /// Its words go on below.
    Words,
}

impl Fit {
    /// Returns the fewest columns that make sense.
    const fn least(self) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Middle => 8,
            Self::End => 9,
            Self::Words => 14,
        }
    }

    fn shorten(self, text: &str, width: usize) -> Vec<String> {
        let count = text.chars().count();
        if count <= width {
            return vec![text.to_owned()];
        }
        match self {
            Self::Whole => vec![text.to_owned()],
            Self::Middle => vec![human::middle(text, width)],
            Self::End => {
                let end = text.chars().skip(count + 1 - width);
                vec![std::iter::once('…').chain(end).collect()]
            }
            Self::Words => wrap(text, width),
        }
    }
}

/// A column: its head, how it is shortened, and how early it is left out (0: never).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column(pub(crate) &'static str, pub(crate) Fit, pub(crate) u8);

/// A text in a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Creates a text in a style.
    pub(crate) fn painted(style: Style, text: impl std::fmt::Display) -> Self {
        Self { text: text.to_string(), style }
    }

    fn draw(&self, fit: Fit, width: usize) -> String {
        let lines = fit.shorten(&self.text, width).into_iter();
        lines.map(|line| paint(self.style, line)).collect::<Vec<_>>().join("\n")
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// Draws a table for stdout: whole into a pipe, fitted on a terminal.
pub(crate) fn draw(columns: &[Column], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    fitted(columns, rows.into_iter().collect(), output::columns())
}

fn fitted(columns: &[Column], rows: Vec<Vec<Cell>>, width: Option<usize>) -> String {
    let natural = columns.iter().enumerate().map(|(at, Column(head, ..))| {
        let cells = rows.iter().map(|row| row[at].text.chars().count());
        cells.max().unwrap_or_default().max(head.len())
    });
    let kept = widths(columns, &natural.collect::<Vec<_>>(), width.unwrap_or(usize::MAX));
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(kept.iter().map(|(at, _)| paint(DIM, columns[*at].0)));
    table.add_rows(rows.iter().map(|row| {
        let cell = |(at, width): &(usize, usize)| row[*at].draw(columns[*at].1, *width);
        kept.iter().map(cell).collect::<Vec<_>>()
    }));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.to_string();
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Returns the columns that are shown, and how wide each of them is.
fn widths(columns: &[Column], natural: &[usize], width: usize) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = natural.iter().copied().enumerate().collect();
    loop {
        let tried = squeezed(columns, &kept, width);
        let next = kept.iter().map(|(at, _)| *at).max_by_key(|at| columns[*at].2);
        match (tried, next.filter(|at| columns[*at].2 > 0)) {
            ((squeezed, 0), _) | ((squeezed, _), None) => return squeezed,
            ((_, _), Some(next)) => kept.retain(|(at, _)| *at != next),
        }
    }
}

/// Shortens columns, ids first, and returns by how much the table is too wide still.
fn squeezed(
    columns: &[Column],
    kept: &[(usize, usize)],
    width: usize,
) -> (Vec<(usize, usize)>, usize) {
    let mut kept = kept.to_vec();
    let gaps = GAP * kept.len().saturating_sub(1);
    let all: usize = kept.iter().map(|(_, width)| width).sum();
    let mut over = (all + gaps).saturating_sub(width);
    for fit in [Fit::End, Fit::Words, Fit::Middle] {
        for (at, width) in kept.iter_mut().filter(|(at, _)| columns[*at].1 == fit) {
            let least = fit.least().max(columns[*at].0.len());
            let cut = over.min(width.saturating_sub(least));
            (*width, over) = (*width - cut, over - cut);
        }
    }
    (kept, over)
}

/// Breaks a text between its words; a word that is too long loses its middle.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = human::middle(word, width);
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            Some(_) | None => lines.push(word),
        }
    }
    lines
}

/// Returns the state of a run in its colour.
pub(crate) fn run_status(status: RunStatus) -> Cell {
    let style = match status {
        RunStatus::Running | RunStatus::Waiting | RunStatus::Unwinding => CYAN,
        RunStatus::Completed => GREEN,
        RunStatus::Failed | RunStatus::Stuck => RED,
        RunStatus::Paused | RunStatus::Cancelled | RunStatus::Compensated => YELLOW,
    };
    Cell::painted(style, status)
}

/// Returns the state of a step in its colour.
pub(crate) fn step_status(status: StepStatus) -> Cell {
    let style = match status {
        StepStatus::Scheduled | StepStatus::Running => CYAN,
        StepStatus::Completed => GREEN,
        StepStatus::Failed => RED,
        StepStatus::Waiting | StepStatus::Cancelled => YELLOW,
        StepStatus::Pending | StepStatus::Skipped => DIM,
    };
    Cell::painted(style, status)
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&paint(self.style, &self.text))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const COLUMNS: &[Column] = &[
        Column("RUN", Fit::End, 0),
        Column("WORKFLOW", Fit::Middle, 0),
        Column("STATUS", Fit::Whole, 0),
        Column("TOOK", Fit::Whole, 1),
        Column("NOTE", Fit::Words, 2),
    ];

    fn check(width: Option<usize>, expected: &Expect) {
        let row = |name: &str, status, took: &str, note: &str| {
            let run = "01a1fcff-a6d8-71ab-ab15-ee4e1d93f357";
            vec![run.into(), name.into(), run_status(status), took.into(), note.into()]
        };
        let rows = vec![
            row("one", RunStatus::Completed, "12 ms", ""),
            row("collect-and-review", RunStatus::Stuck, "2 min 05 s", "no live agent offers it"),
        ];
        let table = anstream::adapter::strip_str(&fitted(COLUMNS, rows, width)).to_string();
        let widest = table.lines().map(|line| line.chars().count()).max();
        assert!(widest <= width.or(Some(usize::MAX)), "{widest:?} columns:\n{table}");
        expected.assert_eq(&(table + "\n"));
    }

    #[test]
    fn a_table_is_no_wider_than_the_terminal() {
        check(
            None,
            &expect![[r#"
            RUN                                   WORKFLOW            STATUS     TOOK        NOTE
            01a1fcff-a6d8-71ab-ab15-ee4e1d93f357  one                 completed  12 ms
            01a1fcff-a6d8-71ab-ab15-ee4e1d93f357  collect-and-review  stuck      2 min 05 s  no live agent offers it
        "#]],
        );
        check(
            Some(99),
            &expect![[r#"
            RUN                              WORKFLOW            STATUS     TOOK        NOTE
            …ff-a6d8-71ab-ab15-ee4e1d93f357  one                 completed  12 ms
            …ff-a6d8-71ab-ab15-ee4e1d93f357  collect-and-review  stuck      2 min 05 s  no live agent offers it
        "#]],
        );
        check(
            Some(70),
            &expect![[r#"
            RUN        WORKFLOW            STATUS     TOOK        NOTE
            …1d93f357  one                 completed  12 ms
            …1d93f357  collect-and-review  stuck      2 min 05 s  no live agent
                                                                  offers it
        "#]],
        );
        check(
            Some(40),
            &expect![[r#"
            RUN        WORKFLOW            STATUS
            …1d93f357  one                 completed
            …1d93f357  collect-and-review  stuck
        "#]],
        );
    }
}
