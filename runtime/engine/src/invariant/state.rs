//! Invariants of a state.

use std::collections::BTreeSet;

use skep_protocol::limits::{MAX_EARLY_SIGNALS, MAX_STEPS_PER_RUN};

use super::{Checked, demand};
use crate::partition::Partition;
use crate::run::step::{Phase, StepState};
use crate::run::{NodeId, Run, ScopeId};

pub(crate) fn check(partition: &Partition) -> Checked {
    let mut timers = BTreeSet::new();
    for run in partition.runs() {
        run_is_consistent(run)?;
        for id in run.all_nodes() {
            timers.extend(run.timers_of(id, &run.standing(id)));
            step_is_consistent(run, id)?;
        }
    }
    let weight: usize = partition.runs().map(Run::weight).sum();
    demand(weight == partition.runs_weight(), "I-17", || {
        format!("runs take {weight} bytes, {} are counted", partition.runs_weight())
    })?;
    demand(timers == *partition.timers(), "I-16", || {
        format!("timers {:?} are kept, {timers:?} follow from the state", partition.timers())
    })
}

fn run_is_consistent(run: &Run) -> Checked {
    let id = run.id();
    let own = |node: &&StepState| node.compensates.is_none();
    let steps = run.state.nodes.iter().filter(own).count();
    let limit = MAX_STEPS_PER_RUN.max(run.plan.workflow().steps().len());
    demand(steps <= limit, "I-17", || format!("run {id} has {steps} steps"))?;
    let early = run.state.signals.early.len();
    demand(early <= MAX_EARLY_SIGNALS, "I-17", || format!("run {id} keeps {early} signals"))?;
    for number in 0..run.state.scopes.len() {
        let scope = ScopeId(u32::try_from(number).unwrap_or(u32::MAX));
        demand(run.is_supervised_well(scope), "I-13", || {
            format!("run {id}: it was not kept how far the supervision of {scope:?} is")
        })?;
    }
    for scope in run.state.scopes.iter() {
        let open = scope.nodes().filter(|node| !run.is_over(*node)).count();
        let under_way = scope.owner.is_none_or(|owner| !run.is_over(owner));
        demand(!under_way || open == scope.open as usize, "I-8", || {
            format!("run {id}: {open} steps of {:?} are open, not {}", scope.owner, scope.open)
        })?;
    }
    let standing = run.all_nodes().map(|node| run.standing(node));
    let (busy, waiting) = standing.fold((0, 0), |(busy, waiting), standing| {
        (busy + u32::from(standing.busy), waiting + u32::from(standing.waiting))
    });
    demand((busy, waiting) == (run.soft.busy, run.soft.waiting), "I-8", || {
        format!("run {id}: {busy} steps are busy and {waiting} wait")
    })
}

fn step_is_consistent(run: &Run, id: NodeId) -> Checked {
    let node = run.node(id);
    let name = || format!("{}/{}", run.id(), run.path(id));
    if node.phase.is_final() {
        let kept = node.input.is_some() || node.checkpoint.is_some() || node.stop.is_some();
        demand(!kept, "I-17", || format!("{} is over and keeps what it needed", name()))?;
        let kept = node.released && node.output.is_some();
        demand(!kept, "I-17", || format!("{} keeps an output that nobody reads", name()))?;
    }
    if let Phase::Expanded(progress) = node.phase {
        let items = run.items_of(id);
        let ended = items.iter().filter(|item| run.is_over(**item)).count();
        let started = |item: &&NodeId| !matches!(run.node(**item).phase, Phase::Pending);
        let active = items.iter().filter(started).count() - ended.min(items.len());
        let limit = run.definition(id).for_each().and_then(|fan| fan.max_parallel);
        demand(ended == progress.ended as usize, "I-8", || {
            format!("{}: {ended} items are over, not {}", name(), progress.ended)
        })?;
        demand(limit.is_none_or(|limit| active <= limit.get() as usize), "I-19", || {
            format!("{}: {active} items at once", name())
        })?;
    }
    if node.item_of.is_none() && node.compensates.is_none() && !node.phase.is_final() {
        let counted = run.tally(id);
        demand(counted == node.needs, "I-7", || {
            format!("{}: its needs are {counted:?}, not {:?}", name(), node.needs)
        })?;
    }
    Ok(())
}
