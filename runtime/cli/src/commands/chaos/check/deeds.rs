//! What is demanded of the deeds of agents, held against the journals.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skep_protocol::{AttemptId, Event, RunId, Timestamp};

use super::super::deeds::{Deed, What};
use super::super::history::{History, whole};
use super::Found;

/// Clocks of processes on one machine, read at about the same time.
const CLOCKS_DIFFER: Duration = Duration::from_millis(50);

fn of_attempt(deed: &Deed, what: &str) -> Found {
    let Deed { run, step, attempt, agent, at, .. } = deed;
    Found::of_run("I-7", *run, format!("attempt {attempt} of {step}, by {agent} at {at}: {what}"))
}

/// I-4: a store can tell two attempts apart, whoever sent them.
pub(super) fn tokens_differ(history: &History) -> Vec<Found> {
    let mut holders: BTreeMap<(RunId, &str, u64), &str> = BTreeMap::new();
    let mut found = Vec::new();
    for deed in history.deeds.iter().filter(|deed| deed.what == What::Begun) {
        let key = (deed.run, deed.step.as_str(), deed.token);
        let holder = *holders.entry(key).or_insert(deed.agent.as_str());
        if holder != deed.agent.as_str() {
            let what = format!("has the fencing token {} that {holder} has", deed.token);
            found.push(Found { number: "I-4", ..of_attempt(deed, &what) });
        }
    }
    found
}

/// I-6.
pub(super) fn begun_was_scheduled(history: &History) -> Vec<Found> {
    let scheduled: BTreeMap<AttemptId, Timestamp> = history
        .events()
        .filter_map(|record| {
            let Event::AttemptScheduled(event) = &record.event else { return None };
            let (step, attempt) = (event.step.clone(), event.attempt);
            Some((AttemptId { run: record.run, step, attempt }, record.at))
        })
        .collect();
    let begun = history.deeds.iter().filter(|deed| deed.what == What::Begun);
    let found = begun.filter_map(|deed| match scheduled.get(&deed.id()) {
        Some(at) if *at <= deed.at.after(CLOCKS_DIFFER) => None,
        Some(at) => Some(of_attempt(deed, &format!("begun before it was scheduled at {at}"))),
        None => Some(of_attempt(deed, "begun, and nobody scheduled it")),
    });
    found.map(|found| Found { number: "I-6", ..found }).collect()
}

/// I-7: a completion that was applied has its deed.
pub(super) fn completed_was_done(history: &History) -> Vec<Found> {
    let ours = history.ours();
    // When is not asked: a coordinator looks at its clock before it looks at what came.
    let done = history.deeds.iter().filter(|deed| deed.what == What::Done);
    let done: BTreeSet<(AttemptId, &str)> =
        done.map(|deed| (deed.id(), deed.agent.as_str())).collect();
    let mut found = Vec::new();
    for (id, (agent, at)) in history.completed() {
        if ours.contains(&id.run) && !done.contains(&(id.clone(), agent)) {
            let (step, attempt) = (&id.step, id.attempt);
            let what =
                format!("attempt {attempt} of {step} completed at {at}; {agent} never did it");
            found.push(Found::of_run("I-7", id.run, what));
        }
    }
    found
}

/// I-7: by the deeds alone, nothing is begun before what the definition puts before it.
pub(super) fn needs_were_done(history: &History) -> Vec<Found> {
    let mut done: BTreeMap<(RunId, &str), Timestamp> = BTreeMap::new();
    for deed in history.deeds.iter().filter(|deed| deed.what == What::Done) {
        let first = done.entry((deed.run, deed.step.as_str())).or_insert(deed.at);
        *first = deed.at.min(*first);
    }
    let asked = history.by_run();
    let mut found = Vec::new();
    for deed in history.deeds.iter().filter(|deed| deed.what == What::Begun) {
        let Some(asked) = asked.get(&deed.run) else { continue };
        let step = whole(deed.step.as_str());
        let before = asked.kind.order.iter().filter(|(_, after)| *after == step);
        for (before, _) in before {
            let parts = asked.kind.completes.iter().filter(|part| whole(part) == *before);
            for part in parts {
                let first = done.get(&(deed.run, *part));
                if first.is_none_or(|first| *first > deed.at) {
                    found.push(of_attempt(deed, &format!("begun before `{part}` was done")));
                }
            }
        }
    }
    found
}

/// I-19: each agent, from one deed to the next.
pub(super) fn slots_hold(history: &History) -> Vec<Found> {
    let mut open: BTreeMap<&str, BTreeMap<AttemptId, usize>> = BTreeMap::new();
    let mut found = Vec::new();
    for deed in &history.deeds {
        let held = open.entry(deed.agent.as_str()).or_default();
        let times = held.entry(deed.id()).or_default();
        match deed.what {
            What::Begun => *times += 1,
            What::Done | What::Failed | What::Left => *times = times.saturating_sub(1),
        }
        held.retain(|_, times| *times > 0);
        let busy: usize = held.values().sum();
        if busy > history.slots {
            let what = format!("performs {busy} tasks at once, of {} slots", history.slots);
            found.push(Found { number: "I-19", ..of_attempt(deed, &what) });
        }
    }
    found
}
