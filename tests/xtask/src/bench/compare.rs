//! Which figures are others than those of the baseline.

use anyhow::{Result, bail};

use super::sheet::{Figure, Settings, Sheet};

/// Instructions differ by less than this share from one time to the next.
const NOISE_OF_INSTRUCTIONS: f64 = 0.02;
/// So does the time, on a machine that others use, too.
const NOISE_OF_TIME: f64 = 0.25;

/// What was found, and what it was held against.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    pub(super) rows: Vec<Row<'a>>,
    /// Benchmarks of the baseline that were not run.
    missing: Vec<&'a str>,
    settings: &'a Settings,
    before: Option<&'a Settings>,
}

/// One benchmark.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) found: &'a Figure,
    pub(super) before: Option<Before>,
}

/// What the baseline says of a benchmark.
#[derive(Debug)]
pub(super) struct Before {
    /// As this machine would have taken it.
    pub(super) nanoseconds: f64,
    pub(super) instructions: Option<f64>,
}

/// What is to be said of a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Alike,
    Slower,
    Faster,
    New,
}

impl<'a> Comparison<'a> {
    pub(super) fn of(found: &'a Sheet, baseline: Option<&'a Sheet>) -> Self {
        let scale =
            baseline.map_or(1.0, |baseline| found.settings.yardstick / baseline.settings.yardstick);
        let known = baseline.map(|baseline| &baseline.figures[..]).unwrap_or_default();
        let rows = found.figures.iter().map(|found| {
            let same = |other: &&Figure| other.name == found.name && other.each == found.each;
            let before = known.iter().find(same).map(|before| Before {
                nanoseconds: before.nanoseconds * scale,
                instructions: before.instructions,
            });
            Row { found, before }
        });
        let run = |name: &str| found.figures.iter().any(|figure| figure.name == name);
        let missing = known.iter().map(|figure| figure.name.as_str()).filter(|name| !run(name));
        let (settings, before) = (&found.settings, baseline.map(|baseline| &baseline.settings));
        Self { rows: rows.collect(), missing: missing.collect(), settings, before }
    }

    /// Returns what else there is to know; of a filtered run, nothing of what it left out.
    pub(super) fn remarks(&self, filtered: bool) -> Vec<String> {
        let Some(before) = self.before else {
            return vec!["there is no baseline: `--save` makes one".to_owned()];
        };
        let mut remarks = Vec::new();
        let settings = [
            ("processor", &before.processor, &self.settings.processor),
            ("cores", &before.cores, &self.settings.cores),
            ("compiler", &before.compiler, &self.settings.compiler),
        ];
        for (name, before, found) in settings.iter().filter(|(_, before, found)| before != found) {
            remarks.push(format!("{name}: `{found}`, but the baseline has `{before}`"));
        }
        if !filtered && !self.missing.is_empty() {
            remarks.push(format!("only in the baseline: {}", self.missing.join(", ")));
        }
        let slower = self.rows.iter().filter(|row| row.verdict() == Verdict::Slower).count();
        remarks.push(format!("{slower} of {} slower than the baseline", self.rows.len()));
        remarks
    }

    /// Fails if one is slower by more than so many per cent.
    pub(super) fn deny(&self, percent: f64) -> Result<()> {
        let worst = 1.0 + percent / 100.0;
        let denied = |row: &&Row<'_>| row.ratio().is_some_and(|(ratio, _)| ratio > worst);
        let denied: Vec<&str> =
            self.rows.iter().filter(denied).map(|row| row.found.name.as_str()).collect();
        if !denied.is_empty() {
            bail!("slower by more than {percent} %: {}", denied.join(", "));
        }
        Ok(())
    }
}

impl Row<'_> {
    pub(super) fn verdict(&self) -> Verdict {
        match self.ratio() {
            None => Verdict::New,
            Some((ratio, noise)) if ratio > 1.0 + noise => Verdict::Slower,
            Some((ratio, noise)) if ratio < 1.0 / (1.0 + noise) => Verdict::Faster,
            Some(_) => Verdict::Alike,
        }
    }

    pub(super) fn ratio_of_time(&self) -> Option<f64> {
        Some(self.found.nanoseconds / self.before.as_ref()?.nanoseconds)
    }

    pub(super) fn ratio_of_instructions(&self) -> Option<f64> {
        Some(self.found.instructions? / self.before.as_ref()?.instructions?)
    }

    /// Returns the ratio that decides, and how far from 1 it may be for nothing: that of the
    /// instructions if they are known, for whatever else the machine does has no part in it.
    fn ratio(&self) -> Option<(f64, f64)> {
        let by_instructions = self.ratio_of_instructions().map(|it| (it, NOISE_OF_INSTRUCTIONS));
        by_instructions.or_else(|| Some((self.ratio_of_time()?, NOISE_OF_TIME)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sheet::tests::sheet;
    use super::*;

    #[test]
    fn instructions_decide_where_they_are_known() {
        let check = |found: (f64, Option<f64>), before: (f64, Option<f64>), expected: Verdict| {
            let (found, before) =
                (sheet(1.0, &[("a", found.0, found.1)]), sheet(1.0, &[("a", before.0, before.1)]));
            let comparison = Comparison::of(&found, Some(&before));
            assert_eq!(comparison.rows[0].verdict(), expected, "{comparison:?}");
        };
        let counted = |number: f64| Some(number);
        check((900.0, counted(103.0)), (100.0, counted(100.0)), Verdict::Slower);
        check((900.0, counted(101.0)), (100.0, counted(100.0)), Verdict::Alike);
        check((900.0, counted(97.0)), (100.0, counted(100.0)), Verdict::Faster);
        check((900.0, None), (100.0, counted(100.0)), Verdict::Slower);
        check((120.0, counted(900.0)), (100.0, None), Verdict::Alike);
        check((126.0, None), (100.0, None), Verdict::Slower);
        check((79.0, None), (100.0, None), Verdict::Faster);
    }

    #[test]
    fn the_time_is_what_this_machine_would_have_taken() {
        let (found, before) =
            (sheet(200.0, &[("a", 30.0, None)]), sheet(100.0, &[("a", 10.0, None)]));
        let comparison = Comparison::of(&found, Some(&before));
        assert_eq!(comparison.rows[0].before.as_ref().map(|it| it.nanoseconds), Some(20.0));
        assert_eq!(comparison.rows[0].ratio_of_time(), Some(1.5));
    }

    #[test]
    fn what_the_baseline_does_not_know_is_new() {
        let (found, before) = (sheet(1.0, &[("a", 30.0, None)]), sheet(1.0, &[("b", 10.0, None)]));
        let comparison = Comparison::of(&found, Some(&before));
        assert_eq!(comparison.rows[0].verdict(), Verdict::New);
        let remarks = ["only in the baseline: b", "0 of 1 slower than the baseline"];
        assert_eq!(comparison.remarks(false), remarks);
        assert_eq!(comparison.remarks(true), remarks[1..]);
        assert!(comparison.deny(0.0).is_ok());
        let comparison = Comparison::of(&found, None);
        assert_eq!(comparison.rows[0].verdict(), Verdict::New);
        assert_eq!(comparison.remarks(false), ["there is no baseline: `--save` makes one"]);
    }

    #[test]
    fn another_processor_is_told() {
        let found = sheet(1.0, &[]);
        let mut before = found.clone();
        before.settings.processor = "6502".to_owned();
        let remarks = Comparison::of(&found, Some(&before)).remarks(false);
        assert_eq!(remarks[0], "processor: `Z80`, but the baseline has `6502`");
    }

    #[test]
    fn only_what_is_slower_by_more_is_denied() {
        let found = [("a", 1.0, Some(104.0)), ("b", 1.0, Some(106.0)), ("c", 1.0, Some(50.0))];
        let before = found.map(|(name, time, _)| (name, time, Some(100.0)));
        let (found, before) = (sheet(1.0, &found), sheet(1.0, &before));
        let comparison = Comparison::of(&found, Some(&before));
        assert!(comparison.deny(6.5).is_ok());
        let error = comparison.deny(5.0).unwrap_err().to_string();
        assert_eq!(error, "slower by more than 5 %: b");
        assert_eq!(comparison.deny(3.0).unwrap_err().to_string(), "slower by more than 3 %: a, b");
    }
}
