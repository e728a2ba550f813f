//! A run that is over, folded again from its history, and what the run that does it over keeps.
//!
//! What completed is kept, unless it was made good since, follows from what has another outcome
//! this time, or was asked for. All else runs again. A group that did not complete begins anew, as
//! a unit; of a `for_each` those items run again that did not complete.

mod again;

use std::collections::BTreeMap;

use skep_protocol::limits::MAX_RECORD_BYTES;
use skep_protocol::{
    Event, PartitionId, Payload, Record, RunId, RunRecord, RunStarted, RunStatus, StepExpanded,
    StepKept, StepPath, StepStatus,
};
use skep_workflow::Workflow;

use crate::partition::Partition;
use crate::run::step::Phase;
use crate::run::{NodeId, Run, ScopeId};
use crate::size;
use again::Choice;

/// What is to run again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Again {
    /// A step that runs again although it may have completed.
    pub from: Option<StepPath>,
    /// What follows from it does not run again, if it completed.
    pub only: bool,
    /// The inputs are others.
    pub inputs_change: bool,
}

/// Why a run cannot be done over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct CannotRetry {
    /// What is in the way.
    pub cause: String,
    /// What can be done.
    pub help: String,
}

impl CannotRetry {
    /// A run is done over once: two would count their attempts alike, under the same idempotency
    /// keys, and make good the same deeds. The next one goes on from what the first one did.
    pub fn done_over(by: RunId) -> Self {
        Self {
            cause: format!("run {by} does it over"),
            help: format!("should that one fail, do it over in its turn: skep retry {by}"),
        }
    }
}

/// A run that is over.
#[derive(Debug)]
pub struct Past {
    partition: Partition,
    run: RunId,
    status: RunStatus,
    outputs: BTreeMap<StepPath, Payload>,
    items: BTreeMap<StepPath, Vec<Payload>>,
}

impl Past {
    /// Folds the history of a run.
    ///
    /// # Errors
    /// [`CannotRetry`] if the run is not over, or not all of its history is there.
    pub fn new(workflow: &Workflow, history: &[RunRecord]) -> Result<Self, CannotRetry> {
        let unknown = || CannotRetry {
            cause: "what it did is not known any more: the beginning of its history was trimmed"
                .to_owned(),
            help: "start it anew: skep run".to_owned(),
        };
        let run = history.first().ok_or_else(unknown)?.run;
        let mut ends = history.iter().map(|record| record.event.ending()).enumerate();
        let end = ends.find_map(|(at, status)| Some((at, status?)));
        let (end, status) = end.ok_or_else(|| goes_on(run, history))?;
        let partition = Partition::of_workflow(PartitionId::new(0), workflow);
        let (outputs, items) = (BTreeMap::new(), BTreeMap::new());
        let mut past = Self { partition, run, status, outputs, items };
        for record in &history[..end] {
            past.partition.apply(&Record::Run(record.clone())).map_err(|_| unknown())?;
            past.take_down(&record.event);
        }
        // With a part missing, something would be under way to this day.
        let is_whole = past
            .partition
            .run(run)
            .is_some_and(|run| run.all_nodes().all(|node| run.is_over(node)));
        if is_whole { Ok(past) } else { Err(unknown()) }
    }

    /// Returns how the run was started.
    pub fn started(&self) -> RunStarted {
        self.live().state.started.event()
    }

    /// Returns how it ended.
    pub const fn status(&self) -> RunStatus {
        self.status
    }

    /// Returns the run that it was to do over, if it was cancelled before it began to: whoever does
    /// it over does that one over.
    pub fn stands_for(&self) -> Option<RunId> {
        let retry =
            self.live().state.started.retry().as_ref().filter(|_| self.live().to_keep() > 0);
        retry.map(|retry| retry.run)
    }

    /// Returns what another run that does it over takes down before any step begins.
    ///
    /// # Errors
    /// [`CannotRetry`] if there is no such step, if nothing would run, or if a step would run again
    /// after which there is no way back.
    pub fn keep(&self, again: &Again) -> Result<Vec<Event>, CannotRetry> {
        debug_assert_eq!(self.stands_for(), None, "it did nothing by itself");
        let choice = Choice::new(self.live(), self.status, again)?;
        let mut kept = Kept { past: self, choice: &choice, facts: Vec::new() };
        for id in choice.in_order() {
            kept.of_root(id);
        }
        Ok(kept.facts)
    }

    fn live(&self) -> &Run {
        self.partition.run(self.run).expect("it was there when all was folded")
    }

    fn take_down(&mut self, event: &Event) {
        if let Event::StepExpanded(StepExpanded { step, items, offset, .. }) = event {
            self.put_items(step.clone(), *offset, items);
        }
        if let Event::StepKept(kept) = event
            && let (Some(item), Some((fan, index))) = (&kept.item, kept.step.as_item())
        {
            self.put_items(fan, index, std::slice::from_ref(item));
        }
        if let (Some(output), Some(step)) = (output(event), event.step()) {
            self.outputs.insert(step.clone(), output.clone());
        }
    }

    fn put_items(&mut self, fan: StepPath, offset: u32, items: &[Payload]) {
        let known = self.items.entry(fan).or_default();
        let end = offset as usize + items.len();
        if known.len() < end {
            known.resize(end, Payload::null());
        }
        known[offset as usize..end].clone_from_slice(items);
    }
}

fn goes_on(run: RunId, history: &[RunRecord]) -> CannotRetry {
    let mut stuck = None;
    for record in history {
        if let Event::RunStuck { step, .. } = &record.event {
            stuck = Some(step);
        } else if let Event::RunResumed { .. } | Event::CompensationSkipped { .. } = &record.event {
            stuck = None;
        }
    }
    match stuck {
        Some(step) => CannotRetry {
            cause: format!("it is stuck: `{step}` failed for good"),
            help: format!("try it again: skep resume {run}; or take it as done: skep skip {run}"),
        },
        None => CannotRetry {
            cause: "it is not over".to_owned(),
            help: format!("wait for its end, or end it: skep cancel {run}"),
        },
    }
}

/// Returns what came out of a step with this event.
fn output(event: &Event) -> Option<&Payload> {
    if let Event::AttemptCompleted(done) = event {
        return Some(&done.output);
    }
    if let Event::StepCompleted { output, .. } = event {
        return output.as_ref();
    }
    if let Event::StepKept(kept) = event { kept.output.as_ref() } else { None }
}

/// Gathers what is kept.
struct Kept<'a> {
    past: &'a Past,
    choice: &'a Choice<'a>,
    facts: Vec<Event>,
}

impl Kept<'_> {
    fn run(&self) -> &Run {
        self.past.live()
    }

    fn of_root(&mut self, id: NodeId) {
        if !self.choice.is_again(id) {
            return self.as_it_was(id);
        }
        let items = self.past.items.get(&self.run().path(id)).map_or(0, Vec::len);
        if self.choice.goes_on(id) && items == self.run().items_of(id).len() {
            return self.goes_on(id);
        }
        self.runs_again(id, self.choice.is_same(id));
    }

    /// A step is as it was, with everything inside it.
    fn as_it_was(&mut self, id: NodeId) {
        for inner in in_use(self.run(), id) {
            self.as_it_was(inner);
        }
        let run = self.run();
        let items = run.is_fan(id).then(|| run.items_of(id).len());
        let path = run.path(id);
        let status = run.node(id).phase.status();
        let output = self.past.outputs.get(&path).filter(|_| status == StepStatus::Completed);
        let (output, item) = (output.cloned(), self.item(&path));
        let items = items.and_then(|items| u32::try_from(items).ok());
        self.tell(id, |kept| StepKept { status, output, item, items, ..kept });
    }

    /// A `for_each` goes on: the items that completed are kept.
    fn goes_on(&mut self, id: NodeId) {
        let step = self.run().path(id);
        let items = self.past.items.get(&step).cloned().unwrap_or_default();
        let total = u32::try_from(items.len()).expect("items are bounded");
        let mut part = StepExpanded { step: step.clone(), items: Vec::new(), offset: 0, total };
        let mut bytes = 0;
        for (index, item) in (0..).zip(items) {
            let size = size::payload(&item);
            if bytes + size > MAX_RECORD_BYTES / 4 && !part.items.is_empty() {
                let (step, items) = (step.clone(), Vec::new());
                let next = StepExpanded { step, items, offset: index, total };
                self.facts.push(Event::StepExpanded(std::mem::replace(&mut part, next)));
                bytes = 0;
            }
            bytes += size;
            part.items.push(item);
        }
        self.facts.push(Event::StepExpanded(part));
        for item in self.run().items_of(id).to_vec() {
            match self.choice.is_item_kept(item) {
                true => self.as_it_was(item),
                false => self.runs_again(item, true),
            }
        }
    }

    /// A step runs again; `same` if as the same thing, under the same key.
    fn runs_again(&mut self, id: NodeId, same: bool) {
        for inner in inside(self.run(), id) {
            self.runs_again(inner, same);
        }
        let node = self.run().node(id);
        let deed = node.deed.as_deref().filter(|deed| !deed.settled);
        if deed.is_none() && node.attempt == 0 {
            return;
        }
        let same = same && node.phase != Phase::Completed && !was_made_good(self.run(), id);
        let run = self.run();
        let known = (node.phase == Phase::Completed && run.plan.keeps(run.step_index(id)))
            .then(|| self.past.outputs.get(&run.path(id)))
            .flatten();
        let output = deed.and_then(|deed| deed.output.as_ref()).or(known).cloned();
        let item = deed.and_then(|deed| deed.item.clone().or_else(|| self.item_around(id)));
        self.tell(id, |kept| {
            let origin = kept.origin.filter(|_| same);
            StepKept { status: StepStatus::Pending, output, item, origin, ..kept }
        });
    }

    fn tell(&mut self, id: NodeId, more: impl FnOnce(StepKept) -> StepKept) {
        let (run, node) = (self.run(), self.run().node(id));
        let deed = node.deed.as_deref().is_some_and(|deed| !deed.settled);
        let kept = StepKept {
            step: run.path(id),
            status: StepStatus::Pending,
            attempt: node.attempt,
            deed,
            origin: Some(node.origin.unwrap_or(self.past.run)),
            output: None,
            item: None,
            items: None,
        };
        let mut kept = more(kept);
        // Of a step that does not run again only its compensation asks for the key.
        kept.origin = kept.origin.filter(|_| kept.deed || !kept.status.is_final());
        self.facts.push(Event::StepKept(Box::new(kept)));
    }

    /// Returns the item that a step sees.
    fn item_around(&self, id: NodeId) -> Option<Payload> {
        let (item, _) = self.run().nearest_item(id)?;
        self.item(&self.run().path(item))
    }

    fn item(&self, path: &StepPath) -> Option<Payload> {
        let (fan, index) = path.as_item()?;
        self.past.items.get(&fan)?.get(index as usize).cloned()
    }
}

/// Returns what is inside a step in its last round: its items, or its inner steps.
fn in_use(run: &Run, id: NodeId) -> Vec<NodeId> {
    if run.is_fan(id) {
        return run.items_of(id).to_vec();
    }
    let scope = run.node(id).inner.as_ref().and_then(|inner| inner.scope);
    scope.map(|scope| run.scope(scope).nodes().collect()).unwrap_or_default()
}

/// Returns what is or was inside a step.
fn inside(run: &Run, id: NodeId) -> Vec<NodeId> {
    let Some(inner) = &run.node(id).inner else { return Vec::new() };
    let scope: Option<ScopeId> = inner.scope;
    let steps = scope.map(|scope| run.scope(scope).nodes());
    inner.items.iter().copied().chain(steps.into_iter().flatten()).collect()
}

/// Returns whether a step, or anything inside it, was made good.
fn was_made_good(run: &Run, id: NodeId) -> bool {
    run.node(id).deed.as_deref().is_some_and(|deed| deed.settled)
        || inside(run, id).into_iter().any(|inner| was_made_good(run, inner))
}
