//! Law 2: an event changes the state, and nothing is decided.

use skep_protocol::{
    AttemptCompleted, AttemptFailed, AttemptScheduled, CancelReason, ChildStarted, Event, Failure,
    Payload, SignalId, SkipReason, StepExpanded, StepPath, StepStatus, Timestamp, WaitStarted,
    WaitingFor,
};
use skep_workflow::{Join, OnFailure};

use super::standing::Index;
use super::step::{Phase, Progress, Setback, StepState};
use super::{NodeId, Run, ScopeId, may_be_sent};
use crate::error::FoldError;

mod inner_events;
mod step_events;

pub(super) type Applied = Result<(), FoldError>;

impl Run {
    /// Looks at all of a run that has just started.
    pub(crate) fn begin(&self, index: &mut Index) {
        self.enqueue_scope(ScopeId::ROOT, index);
        self.enqueue_run(index);
    }

    /// Applies an event of this run; those that start or end a run are the partition's.
    pub(crate) fn apply(&mut self, event: &Event, at: Timestamp, index: &mut Index) -> Applied {
        self.becomes_heavier(event, index);
        match event {
            Event::RunPaused { by } => self.set_paused(Some(by), at, index),
            Event::RunResumed { .. } => self.resumed(at, index),
            Event::CancelRequested { reason } => self.cancel(reason, index),
            Event::SignalReceived { name, id, payload } => {
                self.receive(name, (id, payload), index);
                Ok(())
            }
            Event::UnwindStarted { failure } => self.unwind_started(failure.as_ref(), index),
            Event::RunStarted(_)
            | Event::RunCompleted { .. }
            | Event::RunFailed { .. }
            | Event::RunCancelled {}
            | Event::RunCompensated { .. }
            | Event::DeadLetterDropped { .. }
            | Event::ParentNotified {} => self.out_of_place("an event of the partition"),
            Event::StepKept(event) => self.step_kept(event, at, index),
            Event::StepSkipped { .. }
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
            | Event::RunStuck { .. }
            | Event::CompensationSkipped { .. }
            | Event::StepCompleted { .. }
            | Event::StepStopping { .. }
            | Event::StepFailed { .. }
            | Event::StepCancelled { .. } => self.apply_to_step(event, at, index),
        }
    }

    pub(crate) fn out_of_place(&self, what: &'static str) -> Applied {
        Err(FoldError::OutOfPlace { run: self.id(), what })
    }

    /// Changes what concerns every step of the run: the only events that look at all of them.
    fn change_all(&mut self, index: &mut Index, change: impl FnOnce(&mut Self)) {
        let all = || (0..self.next_node().0).map(NodeId);
        let before: Vec<_> = all().map(|id| self.standing(id)).collect();
        change(self);
        for (id, before) in (0..).map(NodeId).zip(before) {
            let after = self.standing(id);
            if before != after {
                self.compare(id, &before, &after, index);
            }
            if !self.node(id).phase.is_final() {
                self.enqueue(id, index);
            }
        }
    }

    fn resumed(&mut self, at: Timestamp, index: &mut Index) -> Applied {
        let stuck: Vec<_> = self.stuck().collect();
        if self.state.paused {
            self.set_paused(None, at, index)?;
        } else if stuck.is_empty() {
            return self.out_of_place("the resumption of a run that goes on");
        }
        stuck.into_iter().try_for_each(|id| self.compensation_again(id, index))
    }

    /// Somebody paused the run, or it goes on.
    fn set_paused(&mut self, by: Option<&String>, at: Timestamp, index: &mut Index) -> Applied {
        let paused = by.is_some();
        if self.state.paused == paused {
            return self.out_of_place("a second pause");
        }
        self.change_all(index, |run| {
            let withheld: Vec<_> = run.all_nodes().map(|id| run.is_withheld(id)).collect();
            let orders = &mut *run.state.orders;
            orders.paused = paused;
            let since = std::mem::replace(&mut orders.paused_at, paused.then_some(at));
            orders.paused_by = by.cloned();
            for (number, node) in run.state.nodes.changed_mut() {
                if let Some(first) = node.first_began(since, at) {
                    node.seldom.first = Some(first);
                }
                match &mut node.phase {
                    // The wait for an agent starts over, since nothing was offered meanwhile.
                    Phase::Scheduled { queued, .. } => *queued = at.max(*queued),
                    Phase::Child { not_before, .. } if withheld[number] => {
                        *not_before = at.max(*not_before);
                    }
                    Phase::Pending
                    | Phase::Taken { .. }
                    | Phase::Retrying(_)
                    | Phase::Child { .. }
                    | Phase::Waiting { .. }
                    | Phase::Expanded(_)
                    | Phase::Group { .. }
                    | Phase::Completed
                    | Phase::Failed
                    | Phase::Skipped { .. }
                    | Phase::Cancelled => {}
                }
            }
        });
        Ok(())
    }

    fn cancel(&mut self, reason: &str, index: &mut Index) -> Applied {
        if self.state.cancelling.is_some() {
            return self.out_of_place("a second cancellation");
        }
        self.change_all(index, |run| run.state.orders.cancelling = Some(reason.to_owned()));
        self.enqueue_run(index);
        Ok(())
    }

    /// Puts a step into the frontier.
    pub(crate) fn enqueue(&self, id: NodeId, index: &mut Index) {
        index.frontier.insert((self.id(), id));
    }

    /// Puts the run as a whole into the frontier.
    pub(crate) fn enqueue_run(&self, index: &mut Index) {
        index.frontier.insert((self.id(), NodeId::RUN));
    }

    pub(super) fn enqueue_scope(&self, scope: ScopeId, index: &mut Index) {
        for id in self.scope(scope).nodes() {
            if !self.node(id).phase.is_final() {
                self.enqueue(id, index);
            }
        }
    }

    /// Puts whatever is around a scope into the frontier.
    pub(super) fn enqueue_owner(&self, scope: ScopeId, index: &mut Index) {
        match self.scope(scope).owner {
            Some(owner) => self.enqueue(owner, index),
            None => self.enqueue_run(index),
        }
    }

    /// Draws the consequences of the end of a step for what is around and after it.
    fn ended(&mut self, id: NodeId, index: &mut Index) {
        let node = self.node_mut(id);
        node.drop_needed();
        let (item_of, scope) = (node.item_of, node.scope);
        if let Some(of) = node.compensates {
            node.released = true;
            node.output = None;
            if node.phase == Phase::Completed {
                self.made_good(of, index);
            } else {
                self.compensation_failed(index);
            }
            return;
        }
        match item_of {
            Some((fan, _)) => {
                if !self.plan.keeps_items(self.step_index(id)) {
                    self.state.items.remove(&id);
                }
                self.item_ended(fan, id, index);
            }
            None => {
                self.needs_ended(id, index);
                self.release_reads(id);
                self.step_of_scope_ended(id, scope, index);
            }
        }
        self.release(id);
    }

    fn item_ended(&mut self, fan: NodeId, item: NodeId, index: &mut Index) {
        let completed = self.node(item).phase == Phase::Completed;
        let skipped = matches!(self.node(item).phase, Phase::Skipped { .. });
        let Phase::Expanded(progress) = &mut self.node_mut(fan).phase else { return };
        progress.ended += 1;
        progress.failed += u32::from(!completed && !skipped);
        let admitted = progress.admitted;
        // The whole goes first: with one failure too many, no further item starts.
        self.enqueue(fan, index);
        // One that was kept before its turn had no place that another could take.
        let had_place = self.node(item).item_of.is_some_and(|(_, number)| number < admitted);
        if had_place {
            self.admit_next(fan, index);
        }
    }

    /// Lets the next item of a `for_each` start that is not over yet.
    fn admit_next(&mut self, fan: NodeId, index: &mut Index) {
        while let Phase::Expanded(progress) = &mut self.node_mut(fan).phase
            && progress.admitted < progress.total
        {
            let next = progress.admitted;
            progress.admitted += 1;
            let item = self.items_of(fan)[next as usize];
            if !self.is_over(item) {
                return self.enqueue(item, index);
            }
        }
    }

    fn needs_ended(&mut self, id: NodeId, index: &mut Index) {
        let scope = self.node(id).scope;
        let phase = &self.node(id).phase;
        let tainted = matches!(phase, Phase::Skipped { tainted: true });
        let status = phase.status();
        let plan = std::sync::Arc::clone(&self.plan);
        for step in plan.step(self.step_index(id)).dependents() {
            let Some(dependent) = self.in_scope(scope, *step) else { continue };
            let needs = &mut self.node_mut(dependent).needs;
            needs.open -= 1;
            let failed = matches!(status, StepStatus::Failed | StepStatus::Cancelled);
            needs.completed += u16::from(status == StepStatus::Completed);
            needs.skipped += u16::from(status == StepStatus::Skipped);
            needs.troubled += u16::from(failed || tainted);
            let early = matches!(plan.step(*step).join(), Join::Any | Join::AtLeast(_));
            if needs.open == 0 || early {
                self.enqueue(dependent, index);
            }
        }
    }

    fn step_of_scope_ended(&mut self, id: NodeId, scope: ScopeId, index: &mut Index) {
        let fails = self.fails(id);
        let supervised = self.supervision(scope).is_some();
        if supervised {
            self.supervised_ended(id, fails);
        }
        let stops = self.plan.workflow().on_failure() != OnFailure::Continue && !supervised;
        let state = self.scope_mut(scope);
        state.open -= 1;
        let over = state.open == 0;
        if fails && state.failed.is_none() {
            state.failed = Some(id);
            if stops {
                state.stopping = true;
                self.enqueue_scope(scope, index);
            }
        }
        if over || supervised {
            self.enqueue_owner(scope, index);
        }
    }
}
