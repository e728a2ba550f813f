//! What is worked out once per workflow, so that no event has to.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use skep_workflow::{Reference, Step, StepIndex, StepKind, StepPart, Workflow};

use crate::effect::TaskSpec;
use crate::run::ScopeId;
use crate::run::step::StepState;
use crate::run::work::Performer;

/// A workflow, and who reads what in it.
#[derive(Debug)]
pub(crate) struct Plan {
    workflow: Workflow,
    steps: Vec<StepPlan>,
    /// The names that some step waits for.
    signals: BTreeSet<String>,
    /// The steps of the top level before anything happened to them.
    fresh: Arc<[StepState]>,
}

#[derive(Debug, Default, Clone)]
struct StepPlan {
    /// Its position among the steps of its scope.
    slot: u32,
    /// How many steps of its scope read it, themselves or by something inside them.
    readers: u32,
    /// The steps of its scope that it reads, itself or by something inside it.
    reads: Vec<StepIndex>,
    /// Its output stays for as long as the run does: a compensation may read it.
    keeps: bool,
    /// So do the items around it, or around something inside it.
    keeps_items: bool,
    /// Its output is read by somebody, or is part of an output that is.
    wanted: bool,
    specs: Specs,
}

/// What agents are asked to do for a step, by who performs it; worked out when it is first asked
/// for.
#[derive(Debug, Default, Clone)]
struct Specs {
    own: OnceLock<Option<Arc<TaskSpec>>>,
    fallback: OnceLock<Option<Arc<TaskSpec>>>,
    compensation: OnceLock<Option<Arc<TaskSpec>>>,
}

impl Plan {
    pub(crate) fn new(workflow: Workflow) -> Self {
        let mut steps = vec![StepPlan::default(); workflow.steps().len()];
        number_slots(workflow.roots(), &mut steps);
        for step in workflow.steps() {
            number_slots(step.children(), &mut steps);
            for read in step.reads() {
                if let Some(reader) = lifted(&workflow, step.index(), *read) {
                    steps[reader.as_usize()].reads.push(*read);
                }
            }
        }
        for reader in 0..steps.len() {
            let mut reads = std::mem::take(&mut steps[reader].reads);
            reads.sort_unstable();
            reads.dedup();
            for read in &reads {
                steps[read.as_usize()].readers += 1;
            }
            steps[reader].reads = reads;
        }
        for step in workflow.steps() {
            keep_for_compensation(&workflow, step, &mut steps);
        }
        for step in workflow.steps() {
            let of_parent = step.parent().is_some_and(|parent| steps[parent.as_usize()].wanted);
            let plan = &mut steps[step.index().as_usize()];
            plan.wanted = of_parent || plan.keeps || plan.readers > 0 || step.outputs_read();
        }
        let signals = workflow.steps().iter().filter_map(|step| match step.kind() {
            StepKind::Signal { name, .. } => Some(name.to_string()),
            StepKind::Agent { .. }
            | StepKind::Workflow { .. }
            | StepKind::Wait(_)
            | StepKind::Group => None,
        });
        let signals = signals.collect();
        let fresh = workflow.roots().iter().map(|step| {
            let mut fresh = StepState::pending(step.as_u32(), ScopeId::ROOT, None);
            let needs = workflow.step(*step).needs().len();
            fresh.needs.open = u16::try_from(needs).expect("edges are bounded");
            fresh.readers =
                u16::try_from(steps[step.as_usize()].readers).expect("steps are bounded");
            fresh
        });
        let fresh = fresh.collect();
        Self { workflow, steps, signals, fresh }
    }

    /// Returns the steps of the top level of a run that begins.
    pub(crate) const fn fresh(&self) -> &Arc<[StepState]> {
        &self.fresh
    }

    pub(crate) fn workflow(&self) -> &Workflow {
        &self.workflow
    }

    pub(crate) fn step(&self, step: StepIndex) -> &Step {
        self.workflow.step(step)
    }

    pub(crate) fn slot(&self, step: StepIndex) -> u32 {
        self.steps[step.as_usize()].slot
    }

    pub(crate) fn readers(&self, step: StepIndex) -> u32 {
        self.steps[step.as_usize()].readers
    }

    pub(crate) fn reads(&self, step: StepIndex) -> &[StepIndex] {
        &self.steps[step.as_usize()].reads
    }

    pub(crate) fn wanted(&self, step: StepIndex) -> bool {
        self.steps[step.as_usize()].wanted
    }

    pub(crate) fn keeps(&self, step: StepIndex) -> bool {
        self.steps[step.as_usize()].keeps
    }

    pub(crate) fn keeps_items(&self, step: StepIndex) -> bool {
        self.steps[step.as_usize()].keeps_items
    }

    /// Returns what the attempts of a step have in common; nothing if no agent is asked.
    pub(crate) fn spec(&self, step: StepIndex, performer: Performer) -> Option<&Arc<TaskSpec>> {
        let specs = &self.steps[step.as_usize()].specs;
        let spec = match performer {
            Performer::Own => &specs.own,
            Performer::Fallback => &specs.fallback,
            Performer::Compensation => &specs.compensation,
        };
        let work_out = || TaskSpec::new(self.workflow.name(), self.step(step), performer);
        spec.get_or_init(|| work_out().map(Arc::new)).as_ref()
    }

    /// Returns the name of a signal if some step waits for it.
    pub(crate) fn signal(&self, name: &str) -> Option<&str> {
        self.signals.get(name).map(String::as_str)
    }

    /// Returns whether a step may start although its scope stops: it asked for it.
    pub(crate) fn cleans_up(&self, step: StepIndex) -> bool {
        self.step(step).condition().is_some_and(skep_workflow::Condition::asks_status)
    }

    /// Returns the steps inside a group, or those of the whole workflow.
    pub(crate) fn inside(&self, group: Option<StepIndex>) -> &[StepIndex] {
        match group {
            Some(group) => self.step(group).children(),
            None => self.workflow.roots(),
        }
    }

    /// Returns the sub-workflow of a step as written: `NAME` or `NAME@VERSION`.
    pub(crate) fn reference(step: &Step) -> Option<String> {
        match step.kind() {
            StepKind::Workflow { name, version: None, .. } => Some(name.to_string()),
            StepKind::Workflow { name, version: Some(version), .. } => {
                Some(format!("{name}@{version}"))
            }
            StepKind::Agent { .. }
            | StepKind::Wait(_)
            | StepKind::Signal { .. }
            | StepKind::Group => None,
        }
    }
}

fn number_slots(siblings: &[StepIndex], steps: &mut [StepPlan]) {
    for (slot, step) in (0..).zip(siblings) {
        steps[step.as_usize()].slot = slot;
    }
}

/// Notes what the compensation of a step may read, whenever that will be.
fn keep_for_compensation(workflow: &Workflow, step: &Step, steps: &mut [StepPlan]) {
    let Some(remedy) = step.compensate() else { return };
    for read in remedy.with.reads() {
        match read {
            Reference::Step(read, StepPart::Output | StepPart::Outputs) => {
                steps[read.as_usize()].keeps = true;
            }
            Reference::Output => steps[step.index().as_usize()].keeps |= is_group(step),
            Reference::Item => {
                let mut at = Some(step.index());
                while let Some(index) = at {
                    steps[index.as_usize()].keeps_items = true;
                    at = workflow.step(index).parent();
                }
            }
            Reference::Step(_, StepPart::Status)
            | Reference::Input(_)
            | Reference::Inputs
            | Reference::Index
            | Reference::RunId
            | Reference::RunWorkflow
            | Reference::Signal
            | Reference::Error => {}
        }
    }
}

fn is_group(step: &Step) -> bool {
    matches!(step.kind(), StepKind::Group)
}

/// Returns the step around `reader` that has the same scope as `read`.
fn lifted(workflow: &Workflow, reader: StepIndex, read: StepIndex) -> Option<StepIndex> {
    let scope = workflow.step(read).parent();
    let mut at = reader;
    loop {
        let parent = workflow.step(at).parent();
        if parent == scope {
            return (at != read).then_some(at);
        }
        at = parent?;
    }
}
