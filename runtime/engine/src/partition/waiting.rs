//! What the steps of a run wait for, told to people.

mod down;

use std::collections::BTreeSet;

use skep_protocol::{StepPath, Timestamp, WaitingCause, WaitingFor, WaitingView};
use skep_workflow::Join;

use crate::run::step::{Phase, Progress};
use crate::run::{NodeId, Run};

/// So many waiting steps are told of, beyond one for each step of the definition.
const MOST: usize = 1_000;
/// So many of the steps that one waits for are named.
const NAMED: usize = 5;

/// Returns what waits: first what was asked for. Of a step of the definition at least one place is
/// told of, however often the others occur.
pub(super) fn of(run: &Run, asked: &[StepPath]) -> Vec<WaitingView> {
    let mut told = down::from(run, asked);
    let first: BTreeSet<StepPath> = told.iter().map(|view| view.step.clone()).collect();
    let (mut known, mut more) = (BTreeSet::new(), MOST);
    for id in run.all_nodes() {
        let node = run.node(id);
        let kind = (node.step, node.compensates.is_some());
        if more == 0 && known.contains(&kind) {
            continue;
        }
        let Some(view) = view(run, id) else { continue };
        more -= usize::from(!known.insert(kind));
        if !first.contains(&view.step) {
            told.push(view);
        }
    }
    told
}

fn view(run: &Run, id: NodeId) -> Option<WaitingView> {
    let node = run.node(id);
    let told = |reason: String| WaitingView::new(run.path(id), reason);
    Some(match &node.phase {
        Phase::Pending => return pending(run, id),
        Phase::Scheduled { .. } | Phase::Retrying(_) if run.state.paused => paused(run, id),
        Phase::Child { .. } if run.is_withheld(id) => paused(run, id),
        Phase::Scheduled { not_before, .. } => {
            let capability = run.work(id).capability?;
            let agent = format!("waits for an agent that offers {capability}");
            match node.attempt {
                1 => told(agent),
                attempt => {
                    told(format!("attempt {attempt} {agent}, from {} on", moment(*not_before)))
                }
            }
        }
        Phase::Retrying(_) => told("waits for the decision about another attempt".to_owned()),
        Phase::Child { child, .. } => {
            told(format!("waits for run {child}")).because(WaitingCause::Run { run: *child })
        }
        Phase::Waiting { waiting_for, until } => {
            let until = until.map(|until| format!(", until {} at the latest", moment(until)));
            let until = until.unwrap_or_default();
            match &**waiting_for {
                WaitingFor::Time => told(format!("waits for time to pass{until}")),
                WaitingFor::Signal(name) => {
                    let signal = Some(name.to_string());
                    WaitingView { signal, ..told(format!("waits for the signal {name}{until}")) }
                }
            }
        }
        Phase::Failed if run.is_stuck(id) => {
            let cause = node.failure.as_deref().map_or_else(String::new, ToString::to_string);
            let reason =
                format!("failed for good ({cause}): resume the run to try again, or skip the step");
            told(reason).because(WaitingCause::Stuck)
        }
        Phase::Expanded(progress) => return held_back(run, id, *progress),
        Phase::Taken { .. }
        | Phase::Group { .. }
        | Phase::Completed
        | Phase::Failed
        | Phase::Skipped { .. }
        | Phase::Cancelled => return None,
    })
}

/// Says what a step waits for that has not begun.
fn pending(run: &Run, id: NodeId) -> Option<WaitingView> {
    let node = run.node(id);
    if let Some((fan, index)) = node.item_of {
        // Those that may not begin yet are told of with their `for_each`.
        let progress = run.node(fan).phase.progress()?;
        return (run.state.paused && index < progress.admitted).then(|| paused(run, id));
    }
    if run.state.paused {
        return Some(paused(run, id));
    }
    if let Some(of) = node.compensates {
        return Some(in_turn(run, id, of));
    }
    if run.is_held(node.scope) {
        let reason = "waits until its group has decided what starts over".to_owned();
        return Some(WaitingView::new(run.path(id), reason));
    }
    for_others(run, id)
}

/// Says of a step which steps have to end before it begins.
fn for_others(run: &Run, id: NodeId) -> Option<WaitingView> {
    let open = open_needs(run, id);
    let mut named = open.iter().take(NAMED).map(|need| run.path(*need));
    let waits_for = Some(named.next()?);
    let and_for: Vec<StepPath> = named.collect();
    let mut names =
        waits_for.iter().chain(&and_for).map(StepPath::as_str).collect::<Vec<_>>().join(", ");
    if open.len() > NAMED {
        names.push_str(&format!(" and {} more", open.len() - NAMED));
    }
    let reason = match (open.len(), enough(run, id)) {
        (1, _) => format!("waits for step {names}"),
        (many, Some(left)) if (left as usize) < many => {
            format!("waits for {left} of the steps {names}")
        }
        (_, _) => format!("waits for steps {names}"),
    };
    Some(WaitingView { waits_for, and_for, ..WaitingView::new(run.path(id), reason) })
}

/// Says what the compensation of a step waits for that has not begun.
fn in_turn(run: &Run, id: NodeId, of: NodeId) -> WaitingView {
    let before = run.made_good_before(of);
    let what = before.and_then(|first| run.node(first).compensates);
    let what = what.map_or_else(
        || "everything that depends on its step".to_owned(),
        |first| format!("step {}", run.path(first)),
    );
    let reason = format!("waits until {what} was made good");
    let waits_for = before.map(|first| run.path(first));
    WaitingView { waits_for, ..WaitingView::new(run.path(id), reason) }
}

/// Says of the first item that may not begin yet what it waits for, and for how many more that is
/// so.
fn held_back(run: &Run, fan: NodeId, progress: Progress) -> Option<WaitingView> {
    if progress.known < progress.total {
        return None;
    }
    let (begun, held) = run.items_of(fan).split_at_checked(progress.admitted as usize)?;
    let is_open = |item: &&NodeId| !run.is_over(**item);
    let mut held = held.iter().filter(is_open);
    let first = *held.next()?;
    let alike = u32::try_from(held.count()).unwrap_or(u32::MAX);
    if run.state.paused {
        return Some(WaitingView { alike, ..paused(run, first) });
    }
    let limit = run.definition(fan).for_each()?.max_parallel?;
    let mut under_way = begun.iter().filter(is_open);
    let waits_for = under_way.next().map(|item| run.path(*item));
    let count = under_way.count() + usize::from(waits_for.is_some());
    let reason = format!("waits: {count} of {limit} items are under way (max_parallel)");
    Some(WaitingView { waits_for, alike, ..WaitingView::new(run.path(first), reason) })
}

fn paused(run: &Run, id: NodeId) -> WaitingView {
    let mut reason = "the run is paused".to_owned();
    if let Some(paused) = run.paused() {
        let by = paused.by.map(|by| format!(" by {by}")).unwrap_or_default();
        reason.push_str(&format!("{by} since {}", moment(paused.since)));
    }
    WaitingView::new(run.path(id), reason).because(WaitingCause::Paused)
}

/// Returns the steps that a step which has not started waits for.
fn open_needs(run: &Run, id: NodeId) -> Vec<NodeId> {
    let scope = run.node(id).scope;
    let needs = run.definition(id).needs().iter();
    let needs = needs.filter_map(|step| run.in_scope(scope, *step));
    needs.filter(|need| !run.is_over(*need)).collect()
}

/// Returns how many more of its needs have to complete for a step to begin, if that is not to be
/// all of them.
fn enough(run: &Run, id: NodeId) -> Option<u32> {
    let wanted = match run.definition(id).join() {
        Join::Unwritten | Join::All => return None,
        Join::Any => 1,
        Join::AtLeast(wanted) => wanted,
    };
    Some(wanted.saturating_sub(run.node(id).needs.completed.into()))
}

fn moment(at: Timestamp) -> String {
    let moment = i64::try_from(at.as_millis()).ok();
    let moment = moment.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(|| at.to_string(), |moment| moment.to_string())
}
