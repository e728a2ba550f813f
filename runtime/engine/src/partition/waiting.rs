//! What the steps of a run wait for, told to people.

use skep_protocol::{Timestamp, WaitingFor, WaitingView};

use crate::run::step::Phase;
use crate::run::{NodeId, Run};

/// Steps that are told of; a fan-out of thousands is not.
const MOST: usize = 100;

pub(super) fn of(run: &Run) -> Vec<WaitingView> {
    let view = |id| {
        let (step, reason, signal) = (run.path(id), reason(run, id)?, signal(run, id));
        let waits_for = open_need(run, id).map(|need| run.path(need));
        Some(WaitingView { step, reason, signal, waits_for })
    };
    run.all_nodes().filter_map(view).take(MOST).collect()
}

fn signal(run: &Run, id: NodeId) -> Option<String> {
    match &run.node(id).phase {
        Phase::Waiting { waiting_for: WaitingFor::Signal(name), .. } => Some(name.to_string()),
        Phase::Waiting { waiting_for: WaitingFor::Time, .. }
        | Phase::Pending
        | Phase::Scheduled { .. }
        | Phase::Taken { .. }
        | Phase::Retrying(_)
        | Phase::Child { .. }
        | Phase::Expanded(_)
        | Phase::Group { .. }
        | Phase::Completed
        | Phase::Failed
        | Phase::Skipped { .. }
        | Phase::Cancelled => None,
    }
}

fn reason(run: &Run, id: NodeId) -> Option<String> {
    let node = run.node(id);
    Some(match &node.phase {
        Phase::Scheduled { .. } | Phase::Pending if run.state.paused => {
            "the run is paused".to_owned()
        }
        Phase::Child { .. } if run.is_withheld(id) => "the run is paused".to_owned(),
        Phase::Scheduled { not_before, .. } => {
            let capability = run.work(id).capability?;
            let agent = format!("waits for an agent that offers {capability}");
            match node.attempt {
                1 => agent,
                attempt => format!("attempt {attempt} {agent}, from {} on", moment(*not_before)),
            }
        }
        Phase::Retrying(_) => "waits for the decision about another attempt".to_owned(),
        Phase::Child { child, .. } => format!("waits for run {child}"),
        Phase::Waiting { waiting_for, until } => {
            let until = until.map(|until| format!(", until {} at the latest", moment(until)));
            match waiting_for {
                WaitingFor::Time => format!("waits for time to pass{}", until.unwrap_or_default()),
                WaitingFor::Signal(name) => {
                    format!("waits for the signal {name}{}", until.unwrap_or_default())
                }
            }
        }
        Phase::Pending if node.compensates.is_some() => {
            "waits until everything that depends on its step was made good".to_owned()
        }
        Phase::Failed if run.stuck().any(|stuck| stuck == id) => {
            let cause = node.failure.as_deref().map_or_else(String::new, ToString::to_string);
            format!("failed for good ({cause}): resume the run to try again, or skip the step")
        }
        Phase::Pending if node.item_of.is_none() && node.needs.open > 0 => {
            format!("waits for step {}", run.path(open_need(run, id)?))
        }
        Phase::Pending
        | Phase::Taken { .. }
        | Phase::Expanded(_)
        | Phase::Group { .. }
        | Phase::Completed
        | Phase::Failed
        | Phase::Skipped { .. }
        | Phase::Cancelled => return None,
    })
}

/// Returns the first step that a step which has not started waits for.
fn open_need(run: &Run, id: NodeId) -> Option<NodeId> {
    let node = run.node(id);
    let begun = node.phase != Phase::Pending || node.item_of.is_some() || run.state.paused;
    let needs = run.definition(id).needs().iter().filter(|_| !begun);
    let mut needs = needs.filter_map(|step| run.in_scope(node.scope, *step));
    needs.find(|need| !run.is_over(*need)).filter(|_| node.compensates.is_none())
}

fn moment(at: Timestamp) -> String {
    let moment = i64::try_from(at.as_millis()).ok();
    let moment = moment.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(|| at.to_string(), |moment| moment.to_string())
}
