//! A comparison for people.

use super::compare::{Comparison, Row, Verdict};

const HEAD: [&str; 9] =
    ["benchmark", "each", "time", "baseline", "ratio", "instructions", "baseline", "ratio", ""];
/// Columns of words; those of numbers end at the same place.
const WORDS: [usize; 3] = [0, 1, 8];
const UNKNOWN: &str = "-";

/// Returns the table, a line for each benchmark.
pub(super) fn of(comparison: &Comparison<'_>) -> String {
    let rows = comparison.rows.iter().map(cells);
    let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match WORDS
            .contains(&column)
        {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn cells(row: &Row<'_>) -> [String; 9] {
    let before = row.before.as_ref();
    let told = |number: Option<f64>, tell: fn(f64) -> String| {
        number.map_or_else(|| UNKNOWN.to_owned(), tell)
    };
    let verdict = match row.verdict() {
        Verdict::Alike => "",
        Verdict::Slower => "slower",
        Verdict::Faster => "faster",
        Verdict::New => "new",
    };
    [
        row.found.name.clone(),
        row.found.each.clone(),
        time(row.found.nanoseconds),
        told(before.map(|before| before.nanoseconds), time),
        told(row.ratio_of_time(), |ratio| format!("{ratio:.2}")),
        told(row.found.instructions, number),
        told(before.and_then(|before| before.instructions), number),
        told(row.ratio_of_instructions(), |ratio| format!("{ratio:.3}")),
        verdict.to_owned(),
    ]
}

fn time(nanoseconds: f64) -> String {
    scaled(nanoseconds, &["ns", "µs", "ms", "s"])
}

fn number(number: f64) -> String {
    scaled(number, &["", "k", "M", "G", "T"])
}

/// Writes four digits and the unit, each of which is a thousand of the one before.
fn scaled(mut number: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while number >= 999.95
        && let Some(larger) = units.next()
    {
        (number, unit) = (number / 1_000.0, larger);
    }
    let digits = match number {
        _ if number < 10.0 => 3,
        _ if number < 100.0 => 2,
        _ => 1,
    };
    format!("{number:.digits$} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::sheet::tests::sheet;
    use super::*;

    #[test]
    fn a_line_tells_all_of_a_benchmark() {
        let found = sheet(
            1.0,
            &[
                ("short", 7.0, Some(1_234.0)),
                ("a long one", 1_870_000_000.0, Some(17_760_000_000.0)),
                ("not counted", 99_996.0, None),
                ("of today", 12_345.0, Some(88.0)),
            ],
        );
        let before = sheet(
            1.0,
            &[
                ("short", 8.0, Some(1_234.0)),
                ("a long one", 2_000_000_000.0, Some(15_000_000_000.0)),
                ("not counted", 50_000.0, Some(1_000.0)),
            ],
        );
        let table = of(&Comparison::of(&found, Some(&before)));
        expect![[r#"
            benchmark    each       time  baseline  ratio  instructions  baseline  ratio
            short        step   7.000 ns  8.000 ns   0.88       1.234 k   1.234 k  1.000
            a long one   step    1.870 s   2.000 s   0.94       17.76 G   15.00 G  1.184  slower
            not counted  step  100.00 µs  50.00 µs   2.00             -   1.000 k      -  slower
            of today     step   12.35 µs         -      -         88.00         -      -  new
        "#]]
        .assert_eq(&table);
    }
}
