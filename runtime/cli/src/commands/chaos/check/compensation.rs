//! What is demanded of compensations: by what the agents did, and what of it was applied.

use std::collections::{BTreeMap, BTreeSet};

use skep_protocol::{RunId, RunStatus, Timestamp};

use super::super::deeds::What;
use super::super::history::{Asked, History};
use super::Found;

/// When something that was applied began first and was done, by the deeds.
#[derive(Debug, Clone, Copy)]
struct Span {
    begun: Timestamp,
    done: Timestamp,
}

/// I-10.
pub(super) fn made_good(history: &History) -> Vec<Found> {
    let (spans, mut found) = spans(history);
    let compensated: BTreeSet<RunId> = history
        .events()
        .filter(|record| record.event.ending() == Some(RunStatus::Compensated))
        .map(|record| record.run)
        .collect();
    for asked in history.asked.iter().filter(|asked| compensated.contains(&asked.run)) {
        found.extend(of_run(asked, &spans));
    }
    found
}

/// Returns the compensations whose completion was applied, and those that were applied twice.
fn spans(history: &History) -> (BTreeMap<(RunId, String), Span>, Vec<Found>) {
    let mut begun = BTreeMap::new();
    let mut done = BTreeMap::new();
    for deed in &history.deeds {
        let step = deed.step.to_string();
        match deed.what {
            What::Begun => {
                begun.entry((deed.run, step)).or_insert(deed.at);
            }
            What::Done => {
                done.entry((deed.id(), deed.agent.as_str())).or_insert(deed.at);
            }
            What::Failed | What::Left => {}
        }
    }
    let (mut spans, mut twice) = (BTreeMap::new(), Vec::new());
    for (id, (agent, at)) in history.completed() {
        let key = (id.run, id.step.to_string());
        let Some(step) = id.step.compensated() else { continue };
        let done = done.get(&(id.clone(), agent)).copied().unwrap_or(at);
        let span = Span { begun: begun.get(&key).copied().unwrap_or(done), done };
        if spans.insert((id.run, step.to_string()), span).is_some() {
            twice.push(Found::of_run("I-10", id.run, format!("{step} is made good twice")));
        }
    }
    (spans, twice)
}

/// Of a run that is compensated, everything that has to be made good is, row after row.
fn of_run(asked: &Asked, spans: &BTreeMap<(RunId, String), Span>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut latest: Option<(&str, Timestamp)> = None;
    for row in asked.kind.undone {
        let mut row_done = latest;
        for step in *row {
            let Some(span) = spans.get(&(asked.run, (*step).to_owned())) else {
                found.push(Found::of_run("I-10", asked.run, format!("{step} is not made good")));
                continue;
            };
            if let Some((before, done)) = latest
                && span.begun < done
            {
                let what = format!(
                    "{step} begins to be made good at {}, before {before} is, at {done}",
                    span.begun
                );
                found.push(Found::of_run("I-10", asked.run, what));
            }
            if row_done.is_none_or(|(_, done)| done < span.done) {
                row_done = Some((*step, span.done));
            }
        }
        latest = row_done;
    }
    found
}
