//! What the steps of a run wait for, told to people.

use skep_protocol::{WaitingFor, WaitingView};
use skep_workflow::StepKind;

use crate::run::step::Phase;
use crate::run::{NodeId, Run};

/// Steps that are told of; a fan-out of thousands is not.
const MOST: usize = 100;

pub(super) fn of(run: &Run) -> Vec<WaitingView> {
    let view = |id| Some(WaitingView { step: run.path(id), reason: reason(run, id)? });
    run.all_nodes().filter_map(view).take(MOST).collect()
}

fn reason(run: &Run, id: NodeId) -> Option<String> {
    let node = run.node(id);
    Some(match &node.phase {
        Phase::Scheduled { .. } if run.state.paused => "the run is paused".to_owned(),
        Phase::Scheduled { not_before, .. } => {
            let StepKind::Agent { capability, .. } = run.definition(id).kind() else { return None };
            match node.attempt {
                1 => format!("an agent that offers {capability}"),
                attempt => {
                    format!(
                        "attempt {attempt} by an agent that offers {capability}, from {not_before} on"
                    )
                }
            }
        }
        Phase::Retrying(_) => "the decision about another attempt".to_owned(),
        Phase::Child { child, .. } => format!("run {child}"),
        Phase::Waiting { waiting_for: WaitingFor::Time, until } => match until {
            Some(until) => format!("the time {until}"),
            None => "time".to_owned(),
        },
        Phase::Waiting { waiting_for: WaitingFor::Signal(name), until } => match until {
            Some(until) => format!("the signal {name}, until {until}"),
            None => format!("the signal {name}"),
        },
        Phase::Pending if node.item_of.is_none() && node.needs.open > 0 => {
            let scope = node.scope;
            let needs = run.definition(id).needs().iter();
            let open = needs.filter_map(|step| run.in_scope(scope, *step));
            let mut open = open.filter(|need| !run.node(*need).phase.is_final());
            format!("step {}", run.path(open.next()?))
        }
        Phase::Pending if run.state.paused => "the run is paused".to_owned(),
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
