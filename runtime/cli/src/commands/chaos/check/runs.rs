//! What is demanded of runs and journals, by the journals alone.

use std::collections::{BTreeMap, BTreeSet};

use skep_protocol::{AttemptId, Event, IgnoreReason, RunId, RunStatus, StepPath};

use super::super::history::{History, LABEL};
use super::Found;

fn ends(history: &History) -> BTreeMap<RunId, Vec<RunStatus>> {
    let mut ends: BTreeMap<RunId, Vec<RunStatus>> = BTreeMap::new();
    for record in history.events() {
        let list = ends.entry(record.run).or_default();
        list.extend(record.event.ending());
    }
    ends
}

/// I-1.
pub(super) fn end_once(history: &History) -> Vec<Found> {
    let ends = ends(history);
    let mut found = Vec::new();
    for asked in history.asked.iter().filter(|asked| asked.acknowledged) {
        if !ends.contains_key(&asked.run) {
            found.push(Found::of_run("I-1", asked.run, "acknowledged, and in no journal"));
        }
    }
    let ours = history.ours();
    // Of those that were not acknowledged, too: whoever is in the journal ends.
    for (run, ends) in ends.into_iter().filter(|(run, _)| ours.contains(run)) {
        match ends.as_slice() {
            [_] => {}
            [] => found.push(Found::of_run("I-1", run, "does not end")),
            many => found.push(Found::of_run("I-1", run, format!("ends as {many:?}"))),
        }
    }
    found
}

/// I-2.
pub(super) fn start_once(history: &History) -> Vec<Found> {
    let asked = history.by_run();
    let mut starts: BTreeMap<RunId, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for record in history.events() {
        let Event::RunStarted(started) = &record.event else { continue };
        let times = starts.entry(record.run).or_default();
        *times += 1;
        if *times == 2 {
            found.push(Found::of_run("I-2", record.run, "is started twice"));
        }
        let ours = started.labels.get(LABEL) == Some(&history.label);
        if ours && started.parent.is_none() && !asked.contains_key(&record.run) {
            found.push(Found::of_run("I-2", record.run, "nobody asked for it"));
        }
    }
    found
}

/// Returns the attempt that is over with an event.
fn outcome(run: RunId, event: &Event) -> Option<AttemptId> {
    let id = |step: &StepPath, attempt| AttemptId { run, step: step.clone(), attempt };
    if let Event::AttemptCompleted(event) = event {
        return Some(id(&event.step, event.attempt));
    }
    if let Event::AttemptFailed(event) = event {
        return Some(id(&event.step, event.attempt));
    }
    let Event::AttemptLost { step, attempt, .. } = event else { return None };
    Some(id(step, *attempt))
}

/// I-3.
pub(super) fn apply_once(history: &History) -> Vec<Found> {
    let mut over: BTreeSet<AttemptId> = BTreeSet::new();
    let mut found = Vec::new();
    for record in history.events() {
        let Some(id) = outcome(record.run, &record.event) else { continue };
        if !over.insert(id.clone()) {
            let what = format!("attempt {} of {} is over twice", id.attempt, id.step);
            found.push(Found::of_run("I-3", id.run, what));
        }
    }
    found
}

/// I-4.
pub(super) fn stale_is_without_effect(history: &History) -> Vec<Found> {
    let mut stale: BTreeSet<(AttemptId, &str)> = BTreeSet::new();
    let mut found = Vec::new();
    for record in history.events() {
        if let Event::ReportIgnored(event) = &record.event
            && event.reason == IgnoreReason::Stale
        {
            let (step, attempt) = (event.step.clone(), event.attempt);
            stale.insert((AttemptId { run: record.run, step, attempt }, event.agent.as_str()));
        }
        let Event::AttemptCompleted(event) = &record.event else { continue };
        let (step, attempt) = (event.step.clone(), event.attempt);
        let id = AttemptId { run: record.run, step, attempt };
        if stale.contains(&(id, event.agent.as_str())) {
            let what = format!("attempt {attempt} of {} was stale and completes", event.step);
            found.push(Found::of_run("I-4", record.run, what));
        }
    }
    found
}

/// I-5.
pub(super) fn epochs_rise(history: &History) -> Vec<Found> {
    let mut epochs = BTreeMap::new();
    let mut found = Vec::new();
    for entry in &history.entries {
        let last = epochs.entry(entry.partition).or_insert(entry.epoch);
        if entry.epoch < *last {
            let what = format!(
                "partition {}, message {}: epoch {} follows epoch {last}",
                entry.partition, entry.seq, entry.epoch
            );
            found.push(Found { number: "I-5", what, run: None });
        }
        *last = entry.epoch.max(*last);
    }
    found
}

/// I-11.
pub(super) fn stuck_is_seen(history: &History) -> Vec<Found> {
    let stuck: BTreeSet<RunId> = history
        .events()
        .filter(|record| matches!(record.event, Event::RunStuck { .. }))
        .map(|record| record.run)
        .collect();
    let asked = history.by_run();
    let unseen = stuck.difference(&history.seen_stuck).filter(|run| asked.contains_key(run));
    unseen.map(|run| Found::of_run("I-11", *run, "is stuck, and no query shows it")).collect()
}

/// What no client should be told.
pub(super) fn no_surprise(history: &History) -> Vec<Found> {
    let found = history.surprises.iter();
    found.map(|what| Found { number: "client", what: what.clone(), run: None }).collect()
}

/// Returns the steps that completed at least once, of each run.
fn completed(history: &History) -> BTreeMap<RunId, BTreeSet<String>> {
    let mut steps: BTreeMap<RunId, BTreeSet<String>> = BTreeMap::new();
    for id in history.completed().into_keys() {
        steps.entry(id.run).or_default().insert(id.step.to_string());
    }
    steps
}

/// Whatever the journals say of how they came about: this is what had to come out.
pub(super) fn match_the_oracle(history: &History) -> Vec<Found> {
    let (ends, completed) = (ends(history), completed(history));
    let mut found = Vec::new();
    for asked in &history.asked {
        let Some(&[end]) = ends.get(&asked.run).map(Vec::as_slice) else { continue };
        if asked.cancelled && end == RunStatus::Cancelled {
            continue;
        }
        if end != asked.kind.ends {
            let what = format!("{} ends as {end}, not {}", asked.kind.name, asked.kind.ends);
            found.push(Found::of_run("oracle", asked.run, what));
            continue;
        }
        let none = BTreeSet::new();
        let steps = completed.get(&asked.run).unwrap_or(&none);
        for step in asked.kind.completes.iter().filter(|step| !steps.contains(**step)) {
            let what = format!("{}: `{step}` never completed", asked.kind.name);
            found.push(Found::of_run("oracle", asked.run, what));
        }
    }
    found
}
