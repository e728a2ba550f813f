//! Tables for people.

use comfy_table::{ContentArrangement, Table, presets};
use skep_protocol::{RunStatus, StepStatus};

use crate::output::{CYAN, DIM, GREEN, RED, YELLOW, paint};

/// Draws a table without lines: columns are aligned, nothing is cut.
pub(crate) fn draw(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().map(|word| paint(DIM, word)));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.to_string();
    lines.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Returns the state of a run in its colour.
pub(crate) fn run_status(status: RunStatus) -> String {
    let style = match status {
        RunStatus::Running | RunStatus::Waiting | RunStatus::Unwinding => CYAN,
        RunStatus::Completed => GREEN,
        RunStatus::Failed | RunStatus::Stuck => RED,
        RunStatus::Paused | RunStatus::Cancelled | RunStatus::Compensated => YELLOW,
    };
    paint(style, status)
}

/// Returns the state of a step in its colour.
pub(crate) fn step_status(status: StepStatus) -> String {
    let style = match status {
        StepStatus::Scheduled | StepStatus::Running => CYAN,
        StepStatus::Completed => GREEN,
        StepStatus::Failed => RED,
        StepStatus::Waiting | StepStatus::Cancelled => YELLOW,
        StepStatus::Pending | StepStatus::Skipped => DIM,
    };
    paint(style, status)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn colour_does_not_move_columns() {
        let row = |name: &str, status| vec![name.to_owned(), run_status(status), "x".to_owned()];
        let rows = [row("one", RunStatus::Completed), row("three", RunStatus::Stuck)];
        let table = draw(&["NAME", "STATUS", "LAST"], rows);
        expect![[r#"
            NAME   STATUS     LAST
            one    completed  x
            three  stuck      x
        "#]]
        .assert_eq(&(anstream::adapter::strip_str(&table).to_string() + "\n"));
    }
}
