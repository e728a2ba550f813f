//! Law 2 for a partition: records change the state, and nothing is decided.

use std::sync::Arc;

use skep_protocol::{
    ChildOutcome, Event, OwnerChanged, Record, RunId, RunRecord, RunStarted, RunStatus, Timestamp,
};

use super::Partition;
use super::memory::{Ended, Notice, fingerprint};
use crate::effect::{Change, EffectKey};
use crate::error::FoldError;
use crate::run::started::Started;
use crate::run::{NodeId, Run, RunState};

impl Partition {
    /// Applies a record of the journal; decides nothing, and tells of no changes: what is owed
    /// after a replay is [`outstanding`](Self::outstanding).
    ///
    /// # Errors
    /// [`FoldError`] if the record does not follow from those before it. The state is not to be
    /// used any more then.
    pub fn apply(&mut self, record: &Record) -> Result<(), FoldError> {
        let folded = self.fold(record);
        self.index.changes.clear();
        folded
    }

    /// Applies a record.
    pub(super) fn fold(&mut self, record: &Record) -> Result<(), FoldError> {
        match record {
            Record::OwnerChanged(OwnerChanged { epoch, .. }) => {
                if *epoch != self.epoch + 1 {
                    return Err(FoldError::Epoch { current: self.epoch, found: *epoch });
                }
                self.epoch = *epoch;
                Ok(())
            }
            Record::WorkflowAdded(added) => self.workflows.add(added),
            Record::Run(RunRecord { run, at, event }) => self.apply_to_run(*run, *at, event),
        }
    }

    fn apply_to_run(&mut self, run: RunId, at: Timestamp, event: &Event) -> Result<(), FoldError> {
        match event {
            Event::RunStarted(started) => self.start(run, at, started),
            Event::RunCompleted { outputs } => {
                let outcome = ChildOutcome::Completed(outputs.clone());
                self.end(run, RunStatus::Completed, outcome)
            }
            Event::RunFailed { failure } => {
                self.end(run, RunStatus::Failed, ChildOutcome::Failed(failure.clone()))
            }
            Event::RunCancelled {} => {
                let left = self.runs.get(&run).is_some_and(|run| run.leaves_something());
                self.end(run, RunStatus::Cancelled, ChildOutcome::Cancelled { left })
            }
            Event::RunCompensated { failure } => {
                self.end(run, RunStatus::Compensated, ChildOutcome::Compensated(failure.clone()))
            }
            Event::DeadLetterDropped { .. } => self.letter_dropped(run),
            Event::ParentNotified {} => {
                if self.notices.remove(&run).is_none() {
                    let what = "a notice that nobody owes";
                    return Err(FoldError::OutOfPlace { run, what });
                }
                self.index.changes.push(Change::Settled(EffectKey::Parent(run)));
                Ok(())
            }
            Event::RunPaused { .. }
            | Event::RunResumed { .. }
            | Event::CancelRequested { .. }
            | Event::UnwindStarted { .. }
            | Event::RunStuck { .. }
            | Event::CompensationSkipped { .. }
            | Event::SignalReceived { .. }
            | Event::StepKept(_)
            | Event::StepSkipped { .. }
            | Event::StepExpanded(_)
            | Event::GroupStarted { .. }
            | Event::GroupRestarted { .. }
            | Event::RestartDecided { .. }
            | Event::StepRestarted { .. }
            | Event::RestartsExhausted { .. }
            | Event::WaitStarted(_)
            | Event::ChildStarted(_)
            | Event::AttemptScheduled(_)
            | Event::AttemptTaken { .. }
            | Event::AttemptReleased { .. }
            | Event::CheckpointSaved { .. }
            | Event::AttemptCompleted(_)
            | Event::AttemptFailed(_)
            | Event::AttemptLost { .. }
            | Event::ReportIgnored(_)
            | Event::StepCompleted { .. }
            | Event::StepStopping { .. }
            | Event::StepFailed { .. }
            | Event::StepCancelled { .. } => match self.runs.get_mut(&run) {
                Some(live) => Arc::make_mut(live).apply(event, at, &mut self.index),
                None => self.came_late(run, event),
            },
        }
    }

    /// Of a run that is over, only a report that came late is told. It may be forgotten by now:
    /// whoever decided it remembered more.
    fn came_late(&mut self, run: RunId, event: &Event) -> Result<(), FoldError> {
        if let Event::ReportIgnored(report) = event {
            self.late.recorded(run, &report.step, report.attempt);
            return Ok(());
        }
        Err(FoldError::UnknownRun { run })
    }

    fn letter_dropped(&self, run: RunId) -> Result<(), FoldError> {
        if self.runs.contains_key(&run) {
            return Err(FoldError::OutOfPlace { run, what: "a dead letter while it goes on" });
        }
        Ok(())
    }

    fn start(&mut self, id: RunId, at: Timestamp, started: &RunStarted) -> Result<(), FoldError> {
        if self.runs.contains_key(&id) || self.finished.status(id).is_some() {
            return Err(FoldError::RunExists { run: id });
        }
        if let Some(retry) = &started.retry {
            self.done_over.note(retry.run, id);
        }
        let digest = started.digest;
        let (plan, last) =
            self.workflows.begin(digest).ok_or(FoldError::UnknownWorkflow { digest })?;
        let state = RunState::new(id, at, Started::new(started, last), &plan);
        let mut run = Run::new(self.id, plan, state);
        run.begin(&mut self.index);
        self.index.weight += run.weigh();
        self.runs.insert(id, Arc::new(run));
        Ok(())
    }

    fn end(
        &mut self,
        id: RunId,
        status: RunStatus,
        outcome: ChildOutcome,
    ) -> Result<(), FoldError> {
        let run = self.runs.remove(&id).ok_or(FoldError::UnknownRun { run: id })?;
        self.index.weight -= run.weight();
        if !run.all_nodes().all(|node| run.is_over(node)) {
            return run.out_of_place("its end while steps are under way");
        }
        for (step, attempts) in run.unheard() {
            self.late.push(id, step, attempts);
        }
        let started = &run.state.started;
        self.workflows.end(started.digest);
        let fingerprint = fingerprint(started.digest, &started.inputs);
        self.finished.push(id, Ended { status, fingerprint });
        self.larder.run_ended(id, &mut self.index.changes);
        for steps in [&mut self.index.frontier, &mut self.index.put_off] {
            let left = steps.range((id, NodeId(0))..=(id, NodeId::RUN));
            let left: Vec<_> = left.copied().collect();
            for step in left {
                steps.remove(&step);
            }
        }
        if let Some(parent) = started.parent().clone() {
            let notice = Notice { parent, outcome };
            self.index.changes.push(Change::Owed(notice.effect(id)));
            self.notices.insert(id, notice);
        }
        Ok(())
    }

    /// Puts everything that is not over into the frontier: what a recovery starts from.
    pub(super) fn look_at_everything(&mut self) {
        for run in self.runs.values() {
            for node in run.all_nodes().filter(|node| !run.is_over(*node)) {
                run.enqueue(node, &mut self.index);
            }
            run.enqueue_run(&mut self.index);
        }
    }
}
