//! Laws 3 and 4 for one step: what is owed for it, and when time matters to it.
//!
//! Both follow from the state of the step and its run alone. Whoever changes a step compares what
//! stood before with what stands after, and so keeps effects and timers at the cost of the step.

use std::collections::BTreeSet;
use std::sync::Arc;

use skep_protocol::{AttemptId, CancelReason, Parent, RunId, StartRun, Timestamp, WaitingFor};

use super::step::{Phase, StepState};
use super::{NodeId, Run};
use crate::effect::{Change, Effect, EffectKey, OfferTask, Terms};
use crate::wake::{Timer, TimerReason, Timers};

/// What follows from the states of all runs of a partition, kept as they change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    pub(crate) timers: Timers,
    pub(crate) changes: Vec<Change>,
    /// The steps about which something may have to be decided. In an order of its own, so that
    /// one more step to look at, as after a recovery, changes nothing about what is decided.
    pub(crate) frontier: BTreeSet<(RunId, NodeId)>,
    /// Those that have to wait for the next wake, because much was decided already.
    pub(crate) put_off: BTreeSet<(RunId, NodeId)>,
    /// How much memory the runs take together at most, about, in bytes.
    pub(crate) weight: usize,
}

/// What is owed for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owe {
    Nothing,
    Offer { attempt: u32, not_before: Timestamp, taken: bool },
    Withheld { attempt: u32 },
    Child { child: RunId, not_before: Timestamp },
}

/// What follows from the state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    owe: Owe,
    cancel: Option<RunId>,
    timers: [Option<(Timestamp, TimerReason)>; 2],
    pub(crate) busy: bool,
    pub(crate) waiting: bool,
}

impl Run {
    /// Returns what follows from the state of a step.
    pub(crate) fn standing(&self, id: NodeId) -> Standing {
        let node = self.node(id);
        let cancel = match node.phase {
            Phase::Child { child, .. }
                if (self.state.cancelling.is_some() || node.stop.is_some())
                    && !self.is_withheld(id) =>
            {
                Some(child)
            }
            Phase::Pending
            | Phase::Scheduled { .. }
            | Phase::Taken { .. }
            | Phase::Retrying(_)
            | Phase::Child { .. }
            | Phase::Waiting { .. }
            | Phase::Expanded(_)
            | Phase::Group { .. }
            | Phase::Completed
            | Phase::Failed
            | Phase::Skipped { .. }
            | Phase::Cancelled => None,
        };
        let busy = matches!(
            node.phase,
            Phase::Scheduled { .. }
                | Phase::Taken { .. }
                | Phase::Retrying(_)
                | Phase::Child { .. }
        );
        let waiting = matches!(node.phase, Phase::Waiting { .. });
        let timers = [self.phase_timer(id, node), self.deadline_timer(id, node)];
        Standing { owe: self.owe(id, node), cancel, timers, busy, waiting }
    }

    fn owe(&self, id: NodeId, node: &StepState) -> Owe {
        let attempt = node.attempt;
        match &node.phase {
            Phase::Scheduled { .. } if self.state.paused => Owe::Withheld { attempt },
            Phase::Scheduled { not_before, .. } => {
                Owe::Offer { attempt, not_before: *not_before, taken: false }
            }
            Phase::Taken { .. } => {
                Owe::Offer { attempt, not_before: Timestamp::EPOCH, taken: true }
            }
            Phase::Child { .. } if self.is_withheld(id) => Owe::Nothing,
            Phase::Child { child, not_before } => {
                Owe::Child { child: *child, not_before: *not_before }
            }
            Phase::Pending
            | Phase::Retrying(_)
            | Phase::Waiting { .. }
            | Phase::Expanded(_)
            | Phase::Group { .. }
            | Phase::Completed
            | Phase::Failed
            | Phase::Skipped { .. }
            | Phase::Cancelled => Owe::Nothing,
        }
    }

    fn phase_timer(&self, id: NodeId, node: &StepState) -> Option<(Timestamp, TimerReason)> {
        match &node.phase {
            Phase::Scheduled { .. } if self.state.paused => None,
            Phase::Scheduled { queued, .. } => self.take_by(id, *queued),
            Phase::Taken { since, .. } => {
                Some((since.after(self.work(id).timeout?), TimerReason::Timeout))
            }
            Phase::Child { not_before, .. } if node.stop.is_none() && !self.is_withheld(id) => {
                Some((not_before.after(self.definition(id).timeout()?), TimerReason::Timeout))
            }
            Phase::Waiting { waiting_for, until } => {
                let reason = match &**waiting_for {
                    WaitingFor::Time => TimerReason::Wait,
                    WaitingFor::Signal(_) => TimerReason::SignalTimeout,
                };
                until.map(|until| (until, reason))
            }
            Phase::Pending
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

    /// Returns until when an agent has to take an attempt that waits since `queued`, and why.
    fn take_by(&self, id: NodeId, queued: Timestamp) -> Option<(Timestamp, TimerReason)> {
        let work = self.work(id);
        let waits =
            work.queue_timeout.map(|bound| (queued.after(bound), TimerReason::QueueTimeout));
        let within = self.node(id).first.zip(work.retry.within);
        let within = within.map(|(first, within)| (first.after(within), TimerReason::RetryWithin));
        [waits, within].into_iter().flatten().min()
    }

    fn deadline_timer(&self, id: NodeId, node: &StepState) -> Option<(Timestamp, TimerReason)> {
        let own = node.item_of.is_none() && node.compensates.is_none();
        if node.stop.is_some() || !own || node.phase.is_final() {
            return None;
        }
        let began = node.began.get()?;
        Some((began.after(self.definition(id).deadline()?), TimerReason::Deadline))
    }

    /// Changes a step and keeps effects, timers and counters in step with it.
    pub(crate) fn change(
        &mut self,
        id: NodeId,
        index: &mut Index,
        change: impl FnOnce(&mut StepState),
    ) {
        let before = self.standing(id);
        change(self.node_mut(id));
        let after = self.standing(id);
        if before != after {
            self.compare(id, &before, &after, index);
        }
    }

    /// Tells how what follows from a step changed.
    pub(crate) fn compare(
        &mut self,
        id: NodeId,
        before: &Standing,
        after: &Standing,
        index: &mut Index,
    ) {
        self.soft.busy = self.soft.busy + u32::from(after.busy) - u32::from(before.busy);
        self.soft.waiting =
            self.soft.waiting + u32::from(after.waiting) - u32::from(before.waiting);
        if before.timers != after.timers {
            for (at, reason) in before.timers.into_iter().flatten() {
                index.timers.remove(&Timer { at, run: self.id(), node: id, reason });
            }
            index.timers.extend(self.timers_of(id, after));
        }
        if before.owe != after.owe {
            self.compare_owed(id, before.owe, after.owe, index);
        }
        match (before.cancel, after.cancel) {
            (None, Some(_)) => index.changes.extend(self.cancellation(id, after).map(Change::Owed)),
            (Some(child), None) => {
                index.changes.push(Change::Settled(EffectKey::CancelChild(child)));
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }

    fn compare_owed(&self, id: NodeId, before: Owe, after: Owe, index: &mut Index) {
        let key = |owe| match owe {
            Owe::Nothing => None,
            Owe::Offer { attempt, .. } | Owe::Withheld { attempt } => {
                Some(EffectKey::Attempt(self.attempt_id(id, attempt)))
            }
            Owe::Child { child, .. } => Some(EffectKey::StartChild(child)),
        };
        if let Owe::Withheld { attempt } = after {
            index.changes.push(Change::Withheld(self.attempt_id(id, attempt)));
            return;
        }
        if let Some(settled) = key(before).filter(|before| Some(before) != key(after).as_ref()) {
            index.changes.push(Change::Settled(settled));
        }
        index.changes.extend(self.effect(id, after).map(Change::Owed));
    }

    /// Returns the last attempt of a step.
    pub(crate) fn current_attempt(&self, id: NodeId) -> AttemptId {
        self.attempt_id(id, self.node(id).attempt)
    }

    fn attempt_id(&self, id: NodeId, attempt: u32) -> AttemptId {
        AttemptId { run: self.id(), step: self.path(id), attempt }
    }

    pub(crate) fn timers_of(
        &self,
        id: NodeId,
        standing: &Standing,
    ) -> impl Iterator<Item = Timer> + use<> {
        let run = self.id();
        let timer = move |(at, reason)| Timer { at, run, node: id, reason };
        standing.timers.into_iter().flatten().map(timer)
    }

    /// Returns the attempt of a step that is offered to nobody because the run is paused.
    pub(crate) fn withheld(&self, id: NodeId) -> Option<OfferTask> {
        let withheld = matches!(self.owe(id, self.node(id)), Owe::Withheld { .. });
        withheld.then(|| self.offer(id, Timestamp::EPOCH)).flatten()
    }

    /// Returns everything that is owed for a step.
    pub(crate) fn owed(&self, id: NodeId) -> impl Iterator<Item = Effect> {
        let standing = self.standing(id);
        self.effect(id, standing.owe).into_iter().chain(self.cancellation(id, &standing))
    }

    /// Says again what is owed for a step, because the world forgot it.
    pub(crate) fn owe_again(&self, id: NodeId, index: &mut Index) {
        index.changes.extend(self.owed(id).map(Change::Owed));
    }

    fn cancellation(&self, id: NodeId, standing: &Standing) -> Option<Effect> {
        let child = standing.cancel?;
        let reason = match (self.node(id).stop, &self.state.cancelling) {
            (None | Some(CancelReason::RunCancelled), Some(reason)) => reason.clone(),
            (_, _) => "the step that started it stops".to_owned(),
        };
        Some(Effect::CancelChild { child, reason })
    }

    fn effect(&self, id: NodeId, owe: Owe) -> Option<Effect> {
        match owe {
            Owe::Nothing | Owe::Withheld { .. } => None,
            Owe::Offer { not_before, .. } => {
                Some(Effect::OfferTask(Box::new(self.offer(id, not_before)?)))
            }
            Owe::Child { child, not_before } => {
                let start = Box::new(self.child_start(id, child)?);
                Some(Effect::StartChild { start, not_before })
            }
        }
    }

    fn offer(&self, id: NodeId, not_before: Timestamp) -> Option<OfferTask> {
        let node = self.node(id);
        let take_by = if let Phase::Scheduled { queued, .. } = node.phase {
            self.take_by(id, queued).map(|(at, _)| at)
        } else {
            None
        };
        let terms = Terms {
            origin: node.compensates.map_or(node, |of| self.node(of)).origin,
            checkpoint: node.checkpoint.clone(),
            deadline: self.deadline(id),
            taken_by: node.phase.taker().cloned(),
            take_by,
            rounds: self.rounds(id),
        };
        Some(OfferTask {
            id: self.attempt_id(id, node.attempt),
            partition: self.partition,
            fencing_token: self.fencing_token(id),
            input: node.input.clone()?,
            not_before,
            is_retry: node.is_repeated(),
            terms: terms.into(),
            spec: Arc::clone(self.plan.spec(self.step_index(id), self.performer(id))?),
        })
    }

    /// Returns the number of the attempt, which for a compensation goes on after those of the step
    /// that it makes good.
    fn fencing_token(&self, id: NodeId) -> u64 {
        let node = self.node(id);
        let before = node.compensates.map_or(0, |of| self.node(of).attempt);
        u64::from(before) + u64::from(node.attempt)
    }

    /// Returns when a step and everything around it has to be over. What cleans up outlasts what is
    /// around it.
    fn deadline(&self, id: NodeId) -> Option<Timestamp> {
        if self.node(id).compensates.is_some() {
            return None;
        }
        let mut at = Some(id);
        let mut earliest = None;
        while let Some(id) = at {
            let node = self.node(id);
            let own = node.began.get().zip(self.definition(id).deadline());
            let own =
                own.filter(|_| node.item_of.is_none()).map(|(began, bound)| began.after(bound));
            earliest = [earliest, own].into_iter().flatten().min();
            at = match node.item_of {
                Some((fan, _)) => Some(fan),
                None if self.plan.cleans_up(self.step_index(id)) => None,
                None => self.scope(node.scope).owner,
            };
        }
        earliest
    }

    fn child_start(&self, id: NodeId, child: RunId) -> Option<StartRun> {
        let node = self.node(id);
        let reference = crate::plan::Plan::reference(self.definition(id))?;
        Some(StartRun {
            run: child,
            workflow: self.state.started.pinned.get(&reference)?.to_string(),
            inputs: node.input.clone()?,
            parent: Some(Parent { run: self.id(), step: self.path(id), attempt: node.attempt }),
            depth: self.state.started.depth() + 1,
            labels: self.state.started.labels().clone(),
        })
    }
}
