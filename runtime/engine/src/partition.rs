//! The fold of one journal.

mod fold;
mod follow;
mod inputs;
mod late;
mod memory;
mod snapshot;
mod waiting;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use skep_protocol::{
    AttemptId, Hash, PartitionId, PausedView, RunId, RunStatus, Signal, StepPath, Timestamp,
    WaitingView,
};
use skep_workflow::Workflow;

use crate::decide::{self, Decision};
use crate::desk::{Desk, Obstacle, Parsed};
use crate::effect::{Change, Effect};
use crate::error::{FoldError, RestoreError};
use crate::input::{Handled, Input, Reply};
use crate::larder::{Larder, Waiter};
use crate::recall::{Around, NoRecall, Recall};
use crate::run::Run;
use crate::run::standing::Index;
use crate::wake::{Wake, WakeReason};
use inputs::ParsedInputs;
use late::{Attempts, Late};
use memory::{DoneOver, Finished, Notice, Workflows};

pub(crate) use memory::fingerprint;
pub use snapshot::Frozen;

/// The state of all live runs of one partition, and the decisions about them.
#[derive(Debug, Clone)]
pub struct Partition {
    id: PartitionId,
    epoch: u64,
    workflows: Workflows,
    /// Each shared with the [`Frozen`] states that were taken since it changed.
    runs: BTreeMap<RunId, Arc<Run>>,
    /// Runs that ended and whose parents are to be told.
    notices: BTreeMap<RunId, Notice>,
    finished: Finished,
    done_over: DoneOver,
    late: Late,
    index: Index,
    larder: Larder,
    inputs: ParsedInputs,
    /// Empty between inputs.
    parsed: RefCell<Parsed>,
    /// The size of what followed from the last input.
    made: usize,
}

impl Partition {
    /// Creates the state before the first record of a journal.
    pub fn new(id: PartitionId) -> Self {
        Self {
            id,
            epoch: 0,
            workflows: Workflows::default(),
            runs: BTreeMap::new(),
            notices: BTreeMap::new(),
            finished: Finished::default(),
            done_over: DoneOver::default(),
            late: Late::default(),
            index: Index::default(),
            larder: Larder::default(),
            inputs: ParsedInputs::default(),
            parsed: RefCell::default(),
            made: 0,
        }
    }

    /// Creates a state that knows a definition, for the history of one run.
    pub(crate) fn of_workflow(id: PartitionId, workflow: &Workflow) -> Self {
        let mut partition = Self::new(id);
        partition.workflows.know(workflow.clone());
        partition
    }

    /// Returns which partition this is.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Decides what follows from `input`, applies it, and goes on until nothing more follows; if
    /// that is much, the rest is put off to the next [`Input::Wake`], which is due at once.
    /// Whatever is cut off or given up may have been begun.
    ///
    /// # Errors
    /// [`FoldError`] if a decision contradicts the state: a bug. Nothing may be appended, the
    /// partition has to stop.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Result<Handled, FoldError> {
        self.handle_recalling(input, now, &NoRecall)
    }

    /// Does as [`handle`](Self::handle) does, and asks what was never begun of that which is cut
    /// off or given up.
    ///
    /// # Errors
    /// As there.
    pub fn handle_recalling(
        &mut self,
        input: Input,
        now: Timestamp,
        recall: &dyn Recall,
    ) -> Result<Handled, FoldError> {
        let around = Around { now, recall };
        let mut handled = Handled::default();
        self.made = 0;
        match input {
            Input::Wake => self.wake(around, &mut handled)?,
            Input::BlobFetched { blob, bytes } => {
                let changes = &mut self.index.changes;
                let waiters = self.larder.fetched(&blob, bytes.as_ref(), changes);
                self.index.frontier.extend(waiters.iter().filter_map(Waiter::node));
            }
            Input::TookOver { .. } => {
                self.decide(input, around, &mut handled)?;
                self.follow_expansions(around, &mut handled)?;
            }
            Input::Lost { ref attempt, .. } => {
                let attempt = attempt.clone();
                self.decide(input, around, &mut handled)?;
                if handled.records.is_empty() {
                    self.owe_again(&attempt);
                }
            }
            Input::Start { .. }
            | Input::Accepted { .. }
            | Input::Retry { .. }
            | Input::Cancel { .. }
            | Input::Pause { .. }
            | Input::Resume { .. }
            | Input::Skip { .. }
            | Input::Drop { .. }
            | Input::Signal(_)
            | Input::ChildEnded { .. }
            | Input::Report { .. }
            | Input::Held { .. }
            | Input::Failed { .. }
            | Input::ParentNotified { .. } => self.decide(input, around, &mut handled)?,
        }
        self.follow(around, &mut handled)?;
        self.parsed.get_mut().clear();
        Ok(handled)
    }

    fn decide(
        &mut self,
        input: Input,
        around: Around<'_>,
        handled: &mut Handled,
    ) -> Result<(), FoldError> {
        let (outside, asker) = (Waiter::of(&input), decide::Asker::of(&input));
        if let Input::Start { workflow, .. }
        | Input::Accepted { workflow, .. }
        | Input::Retry { workflow, .. } = &input
        {
            self.workflows.offer(workflow);
        }
        let desk = Desk::new(around, &self.larder, &self.parsed);
        let decision = decide::decide(self, input, &desk);
        let missing = desk.missing.take();
        let made = desk.made.take();
        let decided = match (decision, missing.first()) {
            (Err(Obstacle::Missing), Some(blob)) => {
                Decision { records: Vec::new(), reply: Some(Reply::NeedsBlob(*blob)) }
            }
            (Ok(decision), _) => {
                handled.blobs.extend(made);
                asker.bounded(decision)
            }
            (Err(_), _) => Decision::default(),
        };
        if let Some(waiter) = outside {
            self.larder.waits_for(waiter, &missing, &mut self.index.changes);
        }
        handled.reply = decided.reply;
        for record in decided.records {
            self.fold(&record)?;
            handled.records.push(record);
        }
        self.workflows.withdraw();
        Ok(())
    }

    /// Says again what is owed for an attempt, if it is: whoever believes it lost is wrong.
    fn owe_again(&mut self, attempt: &AttemptId) {
        let Some(run) = self.runs.get(&attempt.run) else { return };
        let id = run.find(&attempt.step);
        if let Some(id) = id.filter(|id| run.node(*id).attempt == attempt.attempt) {
            run.owe_again(id, &mut self.index);
        }
    }

    /// Returns how what is owed changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.index.changes)
    }

    /// Returns everything that is owed, from the state alone. After a recovery: perform this, then
    /// hand in [`Input::TookOver`].
    pub fn outstanding(&self) -> Vec<Effect> {
        let mut owed = Vec::new();
        for run in self.runs.values() {
            owed.extend(run.all_nodes().flat_map(|id| run.owed(id)));
        }
        owed.extend(self.notices.iter().map(|(child, notice)| notice.effect(*child)));
        owed.extend(self.larder.owed());
        owed
    }

    /// Returns when time matters next.
    pub fn next_wake(&self) -> Option<Wake> {
        if !self.index.put_off.is_empty() {
            return Some(Wake { at: Timestamp::EPOCH, reason: WakeReason::PutOff });
        }
        let timer = self.index.timers.first()?;
        Some(Wake { at: timer.at, reason: timer.reason.into() })
    }

    /// Returns the whole state, to be kept as a droppable cache of the journal.
    pub fn snapshot(&self) -> Bytes {
        let mut bytes = Vec::new();
        self.freeze().write_onto(&mut bytes);
        bytes.into()
    }

    /// Returns the same to be written elsewhere, while this one goes on.
    pub fn freeze(&self) -> Frozen {
        snapshot::freeze(self)
    }

    /// Checks that a snapshot can be read back, as the state it was taken of. That takes less
    /// memory than to do so.
    ///
    /// # Errors
    /// [`RestoreError`] if it cannot.
    pub fn check_snapshot(id: PartitionId, bytes: &[u8]) -> Result<(), RestoreError> {
        snapshot::check(id, bytes)
    }

    /// Reads a snapshot back.
    ///
    /// # Errors
    /// [`RestoreError`] if the bytes are not a snapshot of this partition.
    pub fn restore(id: PartitionId, bytes: &[u8]) -> Result<Self, RestoreError> {
        snapshot::restore(id, bytes)
    }

    /// Returns the hash of the state: equal after any replay of the same records.
    pub fn digest(&self) -> Hash {
        self.freeze().digest()
    }

    /// Returns the epoch of the last take-over; 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns whether the partition holds the definition of this digest.
    pub fn knows(&self, digest: Hash) -> bool {
        self.workflows.plan(digest).is_some()
    }

    /// Returns the text of a definition that the partition holds.
    pub fn source(&self, digest: Hash) -> Option<&str> {
        Some(self.workflows.plan(digest)?.workflow().source())
    }

    /// Returns a definition that the partition holds.
    pub fn workflow(&self, digest: Hash) -> Option<&Workflow> {
        Some(self.workflows.plan(digest)?.workflow())
    }

    /// Returns how many runs are not over.
    pub fn live_runs(&self) -> usize {
        self.runs.len()
    }

    /// Returns how much memory live runs take, about, in bytes: what they were given and what came
    /// out of their steps. What was dropped may count for as much again, and some KiB of each run.
    pub fn weight(&self) -> usize {
        self.index.weight + self.larder.weight()
    }

    /// Returns what all live runs together take.
    pub(crate) const fn runs_weight(&self) -> usize {
        self.index.weight
    }

    /// Returns whether a signal would be kept for a step that may ask for it later.
    pub fn would_keep(&self, signal: &Signal) -> bool {
        self.run(signal.run).is_some_and(|run| run.would_keep(signal))
    }

    /// Returns the state of a run that is live, or ended recently.
    pub fn status(&self, run: RunId) -> Option<RunStatus> {
        self.runs.get(&run).map(|run| run.status()).or_else(|| self.finished.status(run))
    }

    /// Returns what the steps of a run wait for: first those asked for and what they wait for, down
    /// to the causes; of the others, if too many wait, not all.
    pub fn waiting(&self, run: RunId, asked: &[StepPath]) -> Vec<WaitingView> {
        self.runs.get(&run).map(|run| waiting::of(run, asked)).unwrap_or_default()
    }

    /// Returns who paused a run, if it is paused.
    pub fn paused(&self, run: RunId) -> Option<PausedView> {
        self.runs.get(&run)?.paused()
    }

    /// Checks every invariant that can be seen in the state alone.
    ///
    /// # Errors
    /// The number of the invariant and what violates it.
    pub fn check_invariants(&self) -> Result<(), crate::invariant::Violation> {
        crate::invariant::check(self)
    }

    pub(crate) fn run(&self, run: RunId) -> Option<&Run> {
        self.runs.get(&run).map(|run| &**run)
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(|run| &**run)
    }

    pub(crate) fn timers(&self) -> &crate::wake::Timers {
        &self.index.timers
    }

    /// Returns how a run ended, if it did so recently.
    pub(crate) fn ended(&self, run: RunId) -> Option<RunStatus> {
        self.finished.status(run)
    }

    /// Returns what agents may report yet of a step of a run that is over.
    pub(crate) fn late(&self, run: RunId, step: &StepPath) -> Option<&Attempts> {
        self.late.of(run, step).filter(|_| self.finished.status(run).is_some())
    }

    pub(crate) fn owes_notice(&self, run: RunId) -> bool {
        self.notices.contains_key(&run)
    }

    /// Returns the run that does this one over, if one does and that is remembered.
    pub(crate) fn done_over_by(&self, run: RunId) -> Option<RunId> {
        self.done_over.by(run)
    }

    /// Returns what a run was started from, live or not.
    pub(crate) fn fingerprint_of(&self, run: RunId) -> Option<u64> {
        match self.runs.get(&run) {
            Some(live) => Some(fingerprint(live.state.started.digest, &live.state.started.inputs)),
            None => self.finished.fingerprint(run),
        }
    }
}
