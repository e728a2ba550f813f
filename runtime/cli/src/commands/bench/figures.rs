//! What benchmarks found, for people and for machines.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::settings::Settings;
use crate::human;
use crate::output::{self, DIM, Format, paint};

/// What one time found: figures by name, whose end is the unit.
pub(super) type Sample = BTreeMap<&'static str, f64>;

/// What a benchmark found, several times.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) benchmark: &'static str,
    /// How many runs there were each time.
    pub(super) runs: Option<u32>,
    pub(super) settings: Settings,
    pub(super) samples: Vec<Sample>,
}

impl Figures {
    /// Prints them.
    pub(super) fn print(&self, format: Format) {
        match format {
            Format::Json => output::json_line(&self.to_json()),
            Format::Text => output::data(self.to_text()),
        }
    }

    fn to_json(&self) -> Value {
        let mut object = Map::new();
        let settings = &self.settings;
        object.insert("benchmark".to_owned(), self.benchmark.into());
        object.insert("broker".to_owned(), settings.broker().into());
        if let Some(lane) = settings.lane() {
            object.insert("lane".to_owned(), lane.into());
        }
        if let Some(runs) = self.runs {
            object.insert("runs".to_owned(), runs.into());
        }
        let mut spread = Map::new();
        for (name, values) in self.by_name() {
            object.insert(name.to_owned(), rounded(median(&values)).into());
            let (least, most) = (values[0], values[values.len() - 1]);
            spread.insert(name.to_owned(), json!([rounded(least), rounded(most)]));
        }
        object.insert("times".to_owned(), self.samples.len().into());
        object.insert("spread".to_owned(), spread.into());
        object.insert("settings".to_owned(), settings.to_json());
        object.into()
    }

    fn to_text(&self) -> String {
        let settings = &self.settings;
        let lane = settings.lane().map_or_else(String::new, |lane| format!(", {lane} lane"));
        let runs = self
            .runs
            .map_or_else(String::new, |runs| format!(", {}", human::count(runs as usize, "run")));
        let mut text = format!("{} ({}{lane}{runs})", self.benchmark, settings.broker());
        for (name, values) in self.by_name() {
            let (least, most) = (values[0], values[values.len() - 1]);
            let spread = format!("{} to {}", shown(least), shown(most));
            let spread = if values.len() > 1 { paint(DIM, spread) } else { String::new() };
            text += &format!("\n  {:<24}{:>12}  {spread}", words(name), shown(median(&values)));
        }
        text += &format!("\n  {}", paint(DIM, settings.to_text(self.samples.len())));
        text
    }

    /// Returns the values of each figure, sorted.
    fn by_name(&self) -> BTreeMap<&'static str, Vec<f64>> {
        let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for (name, value) in self.samples.iter().flatten() {
            values.entry(name).or_default().push(*value);
        }
        values.values_mut().for_each(|values| values.sort_unstable_by(f64::total_cmp));
        values
    }
}

/// Returns the value below which so many percent of all are; none of none.
pub(super) fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil().max(1.0);
    sorted.get(rank as usize - 1).copied()
}

fn median(sorted: &[f64]) -> f64 {
    percentile(sorted, 50.0).unwrap_or_default()
}

/// Returns a figure as exactly as it means something.
pub(super) fn rounded(value: f64) -> f64 {
    if value.abs() >= 1_000.0 { value.round() } else { (value * 1_000.0).round() / 1_000.0 }
}

fn shown(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => thousands(value.round() as i64),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn thousands(value: i64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && digit != '-' {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Returns the name of a figure as people say it: `steps_per_s` is "steps/s".
fn words(name: &str) -> String {
    let unit = |end: &str, unit: &str| Some(format!("{} {unit}", name.strip_suffix(end)?));
    let words = name.strip_suffix("_per_s").map(|what| format!("{what}/s"));
    let words = words.or_else(|| unit("_ms", "ms")).or_else(|| unit("_mib", "MiB"));
    words.unwrap_or_else(|| name.to_owned()).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn figures_are_medians() {
        let sample = |value: f64| Sample::from([("steps_per_s", value), ("p50_ms", value / 1e5)]);
        let figures = Figures {
            benchmark: "chain",
            runs: Some(2_000),
            settings: Settings::of_tests(),
            samples: [30_000.0, 10_000.4, 20_000.0].map(sample).to_vec(),
        };
        expect![[r#"
            chain (nats, direct lane, 2000 runs)
              p50 ms                         0.200  0.100 to 0.300
              steps/s                       20 000  10 000 to 30 000
              median of 3; skep 0.0.0, 2 cores"#]]
        .assert_eq(&anstream::adapter::strip_str(&figures.to_text()).to_string());
        let json = figures.to_json();
        assert_eq!(json["steps_per_s"], 20_000.0);
        assert_eq!(json["spread"]["steps_per_s"], json!([10_000.0, 30_000.0]));
        assert_eq!((&json["lane"], &json["runs"]), (&json!("direct"), &json!(2_000)));
    }

    #[test]
    fn of_few_values_the_largest_is_the_99th_percentile() {
        assert_eq!(percentile(&[], 50.0), None);
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 50.0), Some(2.0));
        assert_eq!(percentile(&[1.0, 2.0, 3.0], 99.0), Some(3.0));
        let many: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((percentile(&many, 50.0), percentile(&many, 99.0)), (Some(100.0), Some(198.0)));
    }
}
