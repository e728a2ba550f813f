//! What is told in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use skep_protocol::{Event, IgnoreReason, RunId, Timestamp};

use super::check::{CHECKS, Found};
use super::director::Done;
use super::history::History;
use crate::human;
use crate::output::{self, Format, GREEN, RED, paint};

/// How many violations of a check are told in full.
const TOLD: usize = 5;
/// How many records of a run are told with each.
const RECORDS: usize = 12;

/// What came out.
pub(super) struct Report {
    seed: u64,
    done: Done,
    counts: Counts,
    checks: Vec<(&'static str, &'static str, Vec<Found>)>,
    evidence: BTreeMap<RunId, Vec<String>>,
}

/// What happened, in numbers.
#[derive(Debug, Default)]
struct Counts {
    asked: usize,
    runs: BTreeMap<String, usize>,
    attempts: usize,
    completed: usize,
    lost: usize,
    again: usize,
    stale: usize,
    duplicates: usize,
    takeovers: usize,
    stuck: usize,
    records: usize,
    deeds: usize,
    /// The longest time in which nothing completed while things were broken, and since when.
    longest_gap: (Duration, Duration),
}

impl Report {
    /// Looks at everything.
    pub(super) fn of(history: &History, seed: u64, done: Done) -> Self {
        let looked = CHECKS.iter().map(|one| (one.numbers, one.demands, (one.look)(history)));
        let checks: Vec<_> = looked.collect();
        let told = checks.iter().flat_map(|(_, _, found)| found.iter().take(TOLD));
        let runs = told.filter_map(|found| found.run);
        let evidence = runs.map(|run| (run, history.tail_of(run, RECORDS))).collect();
        Self { seed, done, counts: Counts::of(history), checks, evidence }
    }

    /// Returns whether everything holds that has to.
    pub(super) fn holds(&self) -> bool {
        self.checks.iter().all(|(_, _, found)| found.is_empty())
    }

    pub(super) fn print(&self, format: Format) {
        match format {
            Format::Json => output::json(&self.to_json()),
            Format::Text => self.lines().into_iter().for_each(output::data),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut faults: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for ((word, group), count) in &self.done.faults {
            faults.entry(word).or_default().insert(group, *count);
        }
        let counts = &self.counts;
        let checks = self.checks.iter().map(|(numbers, demands, found)| {
            let violations = found.iter().take(TOLD).map(|found| {
                let journal = found.run.and_then(|run| self.evidence.get(&run));
                json!({ "number": found.number, "what": found.what, "journal": journal })
            });
            json!({
                "numbers": numbers,
                "demands": demands,
                "violated": found.len(),
                "violations": violations.collect::<Vec<_>>(),
            })
        });
        json!({
            "seed": self.seed,
            "holds": self.holds(),
            "faults": faults,
            "ended_by_themselves": self.done.ended,
            "runs_asked_for": counts.asked,
            "runs": counts.runs,
            "attempts": counts.attempts,
            "attempts_completed": counts.completed,
            "attempts_lost": counts.lost,
            "attempts_scheduled_again": counts.again,
            "reports_stale": counts.stale,
            "reports_duplicate": counts.duplicates,
            "takeovers": counts.takeovers,
            "runs_stuck": counts.stuck,
            "records": counts.records,
            "deeds": counts.deeds,
            "longest_gap_ms": counts.longest_gap.0.as_millis(),
            "longest_gap_since_ms": counts.longest_gap.1.as_millis(),
            "checks": checks.collect::<Vec<_>>(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let counts = &self.counts;
        let of = |counts: &mut dyn Iterator<Item = String>| counts.collect::<Vec<_>>().join(", ");
        let faults = self.done.faults.iter();
        let faults = of(&mut faults.map(|((word, group), n)| format!("{n} × {word} {group}")));
        let runs = of(&mut counts.runs.iter().map(|(status, n)| format!("{n} {status}")));
        let (gap, since) = counts.longest_gap;
        let (gap, since) = (human::duration(gap), since.as_secs_f64());
        let mut lines = vec![
            format!("seed      {}", self.seed),
            format!("faults    {faults}"),
            format!("runs      {} asked for: {runs}; {} were stuck", counts.asked, counts.stuck),
            format!(
                "attempts  {} scheduled, {} of them again: {} completed, {} lost",
                counts.attempts, counts.again, counts.completed, counts.lost
            ),
            format!("reports   {} stale, {} duplicate", counts.stale, counts.duplicates),
            format!("journals  {} records, {} take-overs", counts.records, counts.takeovers),
            format!("agents    {} deeds written down", counts.deeds),
            format!("longest time in which nothing completed: {gap}, from {since:.1} s on"),
        ];
        let mut ended: BTreeMap<&str, usize> = BTreeMap::new();
        self.done.ended.iter().for_each(|one| *ended.entry(one).or_default() += 1);
        lines.extend(ended.iter().map(|(one, times)| format!("{one} ({times} times)")));
        for (numbers, demands, found) in &self.checks {
            let mark = if found.is_empty() { paint(GREEN, "✔") } else { paint(RED, "✘") };
            lines.push(format!("{mark} {numbers:<9} {demands}"));
            for one in found.iter().take(TOLD) {
                lines.push(format!("    {}: {}", one.number, one.what));
                let journal = one.run.and_then(|run| self.evidence.get(&run));
                lines.extend(journal.into_iter().flatten().map(|line| format!("      {line}")));
            }
            if found.len() > TOLD {
                lines.push(format!("    and {} more", found.len() - TOLD));
            }
        }
        lines
    }
}

impl Counts {
    fn of(history: &History) -> Self {
        let mut counts = Self {
            asked: history.asked.len(),
            deeds: history.deeds.len(),
            records: history.entries.len(),
            ..Self::default()
        };
        let mut completed: Vec<Timestamp> = Vec::new();
        for record in history.events() {
            counts.take_in(&record.event);
            if matches!(record.event, Event::AttemptCompleted(_)) {
                completed.push(record.at);
            }
        }
        let took_over = |epochs: &std::collections::BTreeSet<u64>| epochs.len().saturating_sub(1);
        let mut epochs: BTreeMap<_, std::collections::BTreeSet<u64>> = BTreeMap::new();
        for entry in &history.entries {
            epochs.entry(entry.partition).or_default().insert(entry.epoch);
        }
        counts.takeovers = epochs.values().map(took_over).sum();
        completed.sort_unstable();
        // Afterwards there is less and less to do.
        let (begun, mended) = history.broken;
        completed.retain(|at| *at <= mended);
        let gaps = completed.windows(2).map(|two| (two[1].since(two[0]), two[0].since(begun)));
        counts.longest_gap = gaps.max().unwrap_or_default();
        counts
    }

    fn take_in(&mut self, event: &Event) {
        if let Some(status) = event.ending() {
            *self.runs.entry(status.to_string()).or_default() += 1;
        }
        if let Event::AttemptScheduled(event) = event {
            self.attempts += 1;
            self.again += usize::from(event.attempt > 1);
        }
        if let Event::ReportIgnored(event) = event {
            match event.reason {
                IgnoreReason::Stale => self.stale += 1,
                IgnoreReason::Duplicate => self.duplicates += 1,
                IgnoreReason::Unknown => {}
            }
        }
        self.completed += usize::from(matches!(event, Event::AttemptCompleted(_)));
        self.lost += usize::from(matches!(event, Event::AttemptLost { .. }));
        self.stuck += usize::from(matches!(event, Event::RunStuck { .. }));
    }
}
