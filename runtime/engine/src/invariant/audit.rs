//! Invariants of a journal, seen record by record and without the engine's state: a second,
//! simpler opinion.

mod compensation;
mod step;
mod supervision;

use std::collections::{BTreeMap, BTreeSet};

use skep_protocol::{
    Event, Failure, Record, ReportIgnored, RunId, RunRecord, StepKept, StepPath, StepStatus,
    Timestamp,
};
use skep_workflow::{Join, Step, Workflow};

use super::{Checked, Violation, demand};
use crate::partition::Partition;
use step::Bounds;

/// Watches the records of one journal.
#[derive(Debug, Default)]
pub struct Audit {
    epoch: u64,
    runs: BTreeMap<RunId, RunSeen>,
}

#[derive(Debug)]
struct RunSeen {
    workflow: Workflow,
    steps: BTreeMap<StepPath, StepSeen>,
    /// Something other than the items of a `for_each` began.
    began: bool,
    /// Since when it is paused.
    paused: Option<Timestamp>,
    cancelled: bool,
    unwinding: bool,
    over: bool,
    /// The attempts that were reported after the end.
    late: BTreeSet<(StepPath, u32)>,
}

#[derive(Debug, Default)]
struct StepSeen {
    status: Option<StepStatus>,
    attempt: u32,
    attempt_open: bool,
    taken: Option<Timestamp>,
    /// Since when its attempt waits for an agent.
    due: Timestamp,
    until: Option<Timestamp>,
    began: Option<Timestamp>,
    failures: u32,
    fallback: bool,
    last_failure: Option<Failure>,
    /// The first attempt that its policy counts, and when it had begun.
    first: Option<(u32, Timestamp)>,
    /// When it may start again, as its last failure asked for.
    asked: Option<Timestamp>,
    /// When steps of the group were started again.
    restarts: Vec<Timestamp>,
    /// Whose failure was the cause of the last one.
    cause: Option<skep_workflow::StepIndex>,
    deed: Option<compensation::Deed>,
    /// For a compensation: it is over, or an operator said so.
    settled: bool,
}

impl Audit {
    /// Looks at the next record; `partition` has applied it and is asked for definitions only.
    ///
    /// # Errors
    /// The first invariant that the record violates.
    pub fn record(&mut self, record: &Record, partition: &Partition) -> Result<(), Violation> {
        match record {
            Record::OwnerChanged(changed) => {
                let rises = changed.epoch == self.epoch + 1;
                self.epoch = changed.epoch;
                demand(rises, "I-5", || format!("epoch {} is not the next", changed.epoch))
            }
            Record::WorkflowAdded(_) => Ok(()),
            Record::Run(record) => self.of_run(record, partition),
        }
    }

    /// Returns how often steps of all runs completed, by path: to be held against the world.
    pub fn completed(&self) -> impl Iterator<Item = (RunId, &StepPath)> {
        self.runs.iter().flat_map(|(run, seen)| {
            let steps = seen.steps.iter();
            let done = steps.filter(|(_, step)| step.status == Some(StepStatus::Completed));
            done.map(|(path, _)| (*run, path))
        })
    }

    fn of_run(&mut self, record: &RunRecord, partition: &Partition) -> Checked {
        let RunRecord { run, at, event } = record;
        if let Event::RunStarted(started) = event {
            let fresh = !self.runs.contains_key(run);
            let Some(workflow) = partition.workflow(started.digest).cloned() else { return Ok(()) };
            let (steps, late) = (BTreeMap::new(), BTreeSet::new());
            let (began, cancelled, unwinding, over) = (false, false, false, false);
            let paused = None;
            let seen = RunSeen { workflow, steps, began, paused, cancelled, unwinding, over, late };
            self.runs.insert(*run, seen);
            return demand(fresh, "I-2", || format!("run {run} is started twice"));
        }
        let Some(seen) = self.runs.get_mut(run) else { return Ok(()) };
        if let Event::ReportIgnored(report) = event
            && seen.over
        {
            return seen.reported_late(report);
        }
        let later = matches!(event, Event::DeadLetterDropped { .. });
        let notice = later || matches!(event, Event::ParentNotified {});
        demand(!seen.over || notice, "I-1", || format!("run {run} goes on after its end"))?;
        if later {
            return demand(seen.over, "I-1", || format!("run {run} goes on and is a dead letter"));
        }
        seen.over |= event.ends_run();
        seen.cancelled |= matches!(event, Event::CancelRequested { .. });
        seen.unwinding |= matches!(event, Event::UnwindStarted { .. });
        if matches!(event, Event::RunPaused { .. } | Event::RunResumed { .. }) {
            let paused = matches!(event, Event::RunPaused { .. });
            seen.stood_still(*at);
            seen.paused = paused.then_some(*at);
        }
        if matches!(event, Event::RunResumed { .. }) {
            seen.resumed();
        }
        seen.made_good(event)?;
        if let Event::StepKept(kept) = event {
            return seen.kept(kept);
        }
        let Some(path) = event.step() else { return Ok(()) };
        if let Some(of) = path.compensated() {
            seen.compensation(&of, event)?;
        } else if starts(event) {
            seen.began |= !matches!(event, Event::StepExpanded(_));
            demand(!seen.cancelled, "I-15", || format!("{path} starts after the cancellation"))?;
            seen.may_start(path, event)?;
        }
        seen.of_step(path, event, *at)
    }
}

/// Returns a moment as if the run had not been paused since.
fn active(first: Timestamp, paused: Option<Timestamp>, now: Timestamp) -> Timestamp {
    paused.map_or(first, |since| first.after(now.since(first.max(since))))
}

/// Returns whether something starts with an event.
fn starts(event: &Event) -> bool {
    matches!(
        event,
        Event::AttemptScheduled(_)
            | Event::ChildStarted(_)
            | Event::StepExpanded(_)
            | Event::GroupStarted { .. }
            | Event::WaitStarted(_)
    )
}

/// Returns the path of the step as a whole, if this is one of its items.
fn whole(path: &StepPath) -> StepPath {
    let text = path.as_str();
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[last..].find('[') {
        Some(bracket) => StepPath::new(&text[..last + bracket]),
        None => path.clone(),
    }
}

impl RunSeen {
    /// What the run before did counts as done here.
    fn kept(&mut self, kept: &StepKept) -> Checked {
        demand(!self.began, "I-7", || format!("{} is kept after steps began", kept.step))?;
        let step = self.steps.entry(kept.step.clone()).or_default();
        step.status = Some(kept.status).filter(|status| status.is_final());
        step.attempt = kept.attempt;
        step.deed = kept.deed.then_some(compensation::Deed::Certain);
        Ok(())
    }

    /// I-4: what is reported after the end is recorded once, of attempts that there were.
    fn reported_late(&mut self, report: &ReportIgnored) -> Checked {
        let ReportIgnored { step, attempt, .. } = report;
        let last = self.steps.get(step).map_or(0, |seen| seen.attempt);
        let what = || format!("attempt {attempt} of {step} is reported late");
        demand((1..=last).contains(attempt), "I-4", || format!("{} and never was", what()))?;
        let once = self.late.insert((step.clone(), *attempt));
        demand(once, "I-4", || format!("{}, twice", what()))
    }

    fn definition(&self, path: &StepPath) -> Option<&Step> {
        let whole = whole(&path.compensated().unwrap_or_else(|| path.clone()));
        let name = whole.as_str().rsplit('/').next()?;
        Some(self.workflow.step(self.workflow.find(name)?))
    }

    fn sibling(&self, path: &StepPath, name: &str) -> Option<StepStatus> {
        let sibling = match path.as_str().rsplit_once('/') {
            Some((around, _)) => StepPath::new(around).inner(name),
            None => StepPath::new(name),
        };
        self.steps.get(&sibling)?.status
    }

    /// I-7: what completed never runs again; what starts has what it depends on.
    fn may_start(&self, path: &StepPath, event: &Event) -> Checked {
        let status = self.steps.get(path).and_then(|step| step.status);
        let over = status.is_some_and(StepStatus::is_final);
        demand(!over, "I-7", || format!("{path} is over and starts again: {event:?}"))?;
        let Some(step) = self.definition(path) else { return Ok(()) };
        let asks = step.condition().is_some_and(skep_workflow::Condition::asks_status);
        let needs = step.needs().iter();
        let needs: Vec<_> = needs
            .map(|need| self.sibling(&whole(path), self.workflow.step(*need).id().as_str()))
            .collect();
        let completed = needs.iter().filter(|n| **n == Some(StepStatus::Completed)).count();
        let skipped = needs.iter().filter(|n| **n == Some(StepStatus::Skipped)).count();
        let open = needs.iter().filter(|n| !n.is_some_and(StepStatus::is_final)).count();
        let holds = match step.join() {
            Join::Unwritten => completed == needs.len() || (asks && open == 0),
            Join::All => completed + skipped == needs.len() || (asks && open == 0),
            Join::Any => completed >= 1 || (asks && open == 0) || needs.is_empty(),
            Join::AtLeast(n) => completed >= n as usize || (asks && open == 0),
        };
        demand(holds, "I-7", || format!("{path} starts while its needs are {needs:?}"))
    }

    fn of_step(&mut self, path: &StepPath, event: &Event, at: Timestamp) -> Checked {
        if let Event::GroupRestarted { .. } = event {
            self.start_over(&format!("{path}/"));
            self.steps.entry(path.clone()).or_default().restarts.clear();
            return Ok(());
        }
        self.of_supervision(path, event, at)?;
        let definition = self.definition(path);
        let remedy = definition.and_then(Step::compensate).filter(|_| path.compensated().is_some());
        let falls_back = matches!(event, Event::AttemptScheduled(event) if event.fallback)
            || self.steps.get(path).is_some_and(|step| step.fallback);
        let fallback = definition.and_then(Step::fallback).filter(|_| falls_back);
        let paused = self.paused;
        let bounds = match remedy {
            Some(remedy) => Bounds {
                policy: skep_workflow::RetryPolicy::clone(&remedy.retry),
                timeout: Some(remedy.timeout),
                deadline: None,
                paused,
            },
            None if fallback.is_some() => Bounds {
                policy: fallback
                    .map(|fallback| skep_workflow::RetryPolicy::clone(&fallback.retry))
                    .unwrap_or_default(),
                timeout: fallback.map(|fallback| fallback.timeout),
                deadline: definition.and_then(Step::deadline),
                paused,
            },
            None => Bounds {
                policy: definition.map(|step| step.retry().clone()).unwrap_or_default(),
                timeout: definition.and_then(Step::timeout),
                deadline: definition.and_then(Step::deadline),
                paused,
            },
        };
        let step = self.steps.entry(path.clone()).or_default();
        step.note_deed(event);
        step.of_attempt(event, at, &bounds)?;
        step.of_whole(path, event, at, &bounds)?;
        if matches!(event, Event::StepCompleted { .. }) {
            self.absorb(path);
        }
        Ok(())
    }

    /// The run is paused or goes on: nothing was offered meanwhile, and no time passed for retries.
    fn stood_still(&mut self, at: Timestamp) {
        for step in self.steps.values_mut() {
            step.first =
                step.first.map(|(attempt, first)| (attempt, active(first, self.paused, at)));
            if step.taken.is_none() {
                step.due = step.due.max(at);
            }
        }
    }

    /// A group starts over: what is inside may run again, under higher attempt numbers.
    fn start_over(&mut self, inside: &str) {
        for (path, step) in &mut self.steps {
            if path.as_str().starts_with(inside) {
                let (attempt, deed) = (step.attempt, step.deed);
                *step = StepSeen { attempt, deed, ..StepSeen::default() };
            }
        }
    }
}
