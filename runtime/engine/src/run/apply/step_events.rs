//! Events about one step.

use super::*;

impl Run {
    #[expect(clippy::too_many_lines, reason = "a table with a line for each kind of event")]
    pub(super) fn apply_to_step(
        &mut self,
        event: &Event,
        at: Timestamp,
        index: &mut Index,
    ) -> Applied {
        let Some(path) = event.step() else { return self.out_of_place("a step event of no step") };
        let id = self.find(path).ok_or_else(|| self.unknown(path))?;
        match event {
            Event::AttemptScheduled(event) => self.scheduled(id, event, at, index),
            Event::AttemptCompleted(event) => self.attempt_completed(id, event, index),
            Event::AttemptFailed(event) => self.attempt_failed(id, event, at, index),
            Event::AttemptTaken { attempt, agent, .. } => {
                self.check_attempt(id, *attempt)?;
                self.shift(id, Phase::Taken { agent: agent.clone(), since: at }, index)?;
                self.node_mut(id).seldom.first.get_or_insert(at);
                Ok(())
            }
            Event::AttemptReleased { attempt, .. } => self.released(id, *attempt, at, index),
            Event::AttemptLost { attempt, .. } => self.lost(id, *attempt, index),
            Event::CheckpointSaved { attempt, checkpoint, .. } => {
                self.check_attempt(id, *attempt)?;
                self.node_mut(id).seldom.checkpoint = Some(checkpoint.clone());
                Ok(())
            }
            Event::ReportIgnored(_) => {
                let node = self.node_mut(id);
                node.ignored = node.ignored.saturating_add(1);
                Ok(())
            }
            Event::ChildStarted(event) => self.child_started(id, event, at, index),
            Event::WaitStarted(event) => self.wait_started(id, event, at, index),
            Event::StepExpanded(event) => self.expanded(id, event, at, index),
            Event::GroupStarted { .. } => self.group_started(id, at, index),
            Event::GroupRestarted { round, not_before, .. } => {
                self.group_restarted(id, *round, *not_before, index)
            }
            Event::RestartDecided { failed, .. } => {
                self.restart_decided(id, (self.find(failed), at), index)
            }
            Event::StepRestarted { not_before, .. } => self.step_restarted(id, *not_before, index),
            Event::RestartsExhausted { .. } => self.restarts_exhausted(id, index),
            Event::StepStopping { reason, .. } => self.stopping(id, *reason, index),
            Event::StepSkipped { reason, .. } => self.skipped(id, reason, index),
            Event::StepCompleted { output, signal, .. } => {
                self.completed(id, output.as_ref(), signal.as_ref(), index)
            }
            Event::StepFailed { failure, .. } => {
                self.cut_off(id, event, at)?;
                // A sub-workflow that outlasted a deadline may have failed in its own way.
                if matches!(self.node(id).phase, Phase::Child { .. }) && !self.is_to_come(id, at) {
                    self.note_deed(id);
                }
                self.failed(id, failure, index)
            }
            Event::StepCancelled { .. } => {
                self.cut_off(id, event, at)?;
                self.end(id, Phase::Cancelled, index)
            }
            Event::RunStuck { .. } => self.stuck_noted(id),
            Event::CompensationSkipped { .. } => self.compensation_skipped(id, index),
            Event::RunStarted(_)
            | Event::RunPaused { .. }
            | Event::RunResumed { .. }
            | Event::CancelRequested { .. }
            | Event::RunCompleted { .. }
            | Event::RunFailed { .. }
            | Event::RunCancelled {}
            | Event::UnwindStarted { .. }
            | Event::RunCompensated { .. }
            | Event::ParentNotified {}
            | Event::DeadLetterDropped { .. }
            | Event::StepKept(_)
            | Event::SignalReceived { .. } => self.out_of_place("a step event of no step"),
        }
    }

    fn released(&mut self, id: NodeId, attempt: u32, at: Timestamp, index: &mut Index) -> Applied {
        self.check_attempt(id, attempt)?;
        // Who gives back what was not seen to be taken does not bring its time forward.
        let unseen = match self.node(id).phase {
            Phase::Scheduled { not_before, .. } => Some(not_before),
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
            | Phase::Cancelled => None,
        };
        let not_before = unseen.unwrap_or(at);
        let node = self.node_mut(id);
        if unseen.is_none() && node.tries + node.losses <= 1 {
            // It is the first one still, and did not begin.
            node.seldom.first = None;
        }
        self.shift(id, Phase::Scheduled { not_before, queued: not_before.max(at) }, index)?;
        self.node_mut(id).seldom.releases += 1;
        if unseen.is_some() {
            self.owe_again(id, index);
        }
        Ok(())
    }

    fn lost(&mut self, id: NodeId, attempt: u32, index: &mut Index) -> Applied {
        self.check_attempt(id, attempt)?;
        self.shift(id, Phase::Retrying(Setback::Lost), index)?;
        self.node_mut(id).seldom.losses += 1;
        self.note_deed(id);
        self.enqueue(id, index);
        Ok(())
    }

    fn unknown(&self, step: &StepPath) -> FoldError {
        FoldError::UnknownStep { run: self.id(), step: step.clone() }
    }

    fn check_attempt(&self, id: NodeId, found: u32) -> Applied {
        let current = self.node(id).attempt;
        if found == current {
            return Ok(());
        }
        Err(FoldError::WrongAttempt { run: self.id(), step: self.path(id), current, found })
    }

    /// Leads a step into another phase, if the table of transitions has that.
    pub(super) fn shift(&mut self, id: NodeId, to: Phase, index: &mut Index) -> Applied {
        self.check_shift(id, &to)?;
        self.leave_wait(id);
        self.change(id, index, |node| node.phase = to);
        Ok(())
    }

    pub(super) fn check_shift(&self, id: NodeId, to: &Phase) -> Applied {
        let from = &self.node(id).phase;
        if from.may_become(to) {
            return Ok(());
        }
        let (run, step) = (self.id(), self.path(id));
        Err(FoldError::IllegalTransition { run, step, from: from.name(), to: to.name() })
    }

    /// Leads a step to its end.
    pub(in crate::run) fn end(&mut self, id: NodeId, to: Phase, index: &mut Index) -> Applied {
        let completes = to == Phase::Completed;
        self.shift(id, to, index)?;
        if completes {
            self.note_deed(id);
        }
        self.ended(id, index);
        Ok(())
    }

    /// A step ends, and with it the attempt that is under way: nobody knows what that did if an
    /// agent may have it in its hands.
    fn cut_off(&mut self, id: NodeId, event: &Event, at: Timestamp) -> Applied {
        let untouched = event.leaves_untouched();
        let in_hands = match self.node(id).phase {
            Phase::Scheduled { .. } if untouched => return Ok(()),
            Phase::Scheduled { not_before, .. } => may_be_sent(not_before, at),
            Phase::Taken { .. } => true,
            // A sub-workflow that is cancelled makes good what it did before it ends.
            Phase::Pending
            | Phase::Retrying(_)
            | Phase::Child { .. }
            | Phase::Waiting { .. }
            | Phase::Expanded(_)
            | Phase::Group { .. }
            | Phase::Completed
            | Phase::Failed
            | Phase::Skipped { .. }
            | Phase::Cancelled => false,
        };
        if untouched {
            return self.out_of_place("an untouched attempt that nobody waits for");
        }
        if in_hands {
            self.note_deed(id);
        }
        Ok(())
    }

    fn leave_wait(&mut self, id: NodeId) {
        let Some(name) = self.node(id).phase.signal().map(str::to_owned) else { return };
        if let Some(waiters) = self.soft.waiters.get_mut(&name) {
            waiters.remove(&id);
            if waiters.is_empty() {
                self.soft.waiters.remove(&name);
            }
        }
    }

    fn scheduled(
        &mut self,
        id: NodeId,
        event: &AttemptScheduled,
        at: Timestamp,
        index: &mut Index,
    ) -> Applied {
        let lost = self.next_attempt(id, event.attempt)?;
        let not_before = event.not_before;
        let queued = not_before.max(at);
        self.check_shift(id, &Phase::Scheduled { not_before, queued })?;
        let kept = event.input.as_ref().map(|input| self.shared(input));
        self.change(id, index, |node| {
            node.attempt = event.attempt;
            node.tries += u32::from(!lost);
            if event.fallback {
                let seldom = &mut node.seldom;
                seldom.fallback = true;
                (node.tries, seldom.losses, seldom.releases) = (1, 0, 0);
                // How far another kind of agent came means nothing to this one.
                (seldom.first, seldom.checkpoint) = (None, None);
            }
            node.began.begin(at);
            if let Some(kept) = kept {
                node.input = Some(kept);
            }
            node.phase = Phase::Scheduled { not_before, queued };
        });
        Ok(())
    }

    /// Checks the number of a new attempt; tells whether it makes up for a lost one.
    fn next_attempt(&self, id: NodeId, found: u32) -> Result<bool, FoldError> {
        let node = self.node(id);
        let current = node.attempt + 1;
        if found != current {
            let (run, step) = (self.id(), self.path(id));
            return Err(FoldError::WrongAttempt { run, step, current, found });
        }
        Ok(node.phase == Phase::Retrying(Setback::Lost))
    }

    fn attempt_completed(
        &mut self,
        id: NodeId,
        event: &AttemptCompleted,
        index: &mut Index,
    ) -> Applied {
        self.check_attempt(id, event.attempt)?;
        let node = self.node_mut(id);
        node.output = Some(event.output.clone());
        node.reporter = Some((event.agent.clone(), event.attempt));
        self.end(id, Phase::Completed, index)
    }

    fn attempt_failed(
        &mut self,
        id: NodeId,
        event: &AttemptFailed,
        at: Timestamp,
        index: &mut Index,
    ) -> Applied {
        self.check_attempt(id, event.attempt)?;
        let to = Phase::Retrying(Setback::Failed);
        self.check_shift(id, &to)?;
        self.change(id, index, |node| {
            node.seldom.failure = Some(Box::new(event.failure.clone()));
            node.note_failure(event.took(), at);
            node.reporter = event.agent.clone().map(|agent| (agent, event.attempt));
            node.seldom.stop = None;
            node.phase = to;
        });
        if !event.leaves_nothing() {
            self.note_deed(id);
        }
        self.enqueue(id, index);
        Ok(())
    }

    fn child_started(
        &mut self,
        id: NodeId,
        event: &ChildStarted,
        at: Timestamp,
        index: &mut Index,
    ) -> Applied {
        let lost = self.next_attempt(id, event.attempt)?;
        let (child, not_before) = (event.child, event.not_before);
        self.check_shift(id, &Phase::Child { child, not_before })?;
        self.change(id, index, |node| {
            node.attempt = event.attempt;
            node.tries += u32::from(!lost);
            node.began.begin(at);
            node.seldom.first.get_or_insert_with(|| not_before.max(at));
            node.input = Some(event.inputs.clone());
            node.phase = Phase::Child { child, not_before };
        });
        Ok(())
    }

    fn wait_started(
        &mut self,
        id: NodeId,
        event: &WaitStarted,
        at: Timestamp,
        index: &mut Index,
    ) -> Applied {
        let (waiting_for, until) = (Box::new(event.waiting_for.clone()), event.until);
        let phase = Phase::Waiting { waiting_for, until };
        self.check_shift(id, &phase)?;
        if let WaitingFor::Signal(name) = &event.waiting_for {
            self.soft.waiters.entry(name.clone()).or_default().insert(id);
        }
        self.change(id, index, |node| {
            node.began.begin(at);
            node.phase = phase;
        });
        self.enqueue(id, index);
        Ok(())
    }

    fn stopping(&mut self, id: NodeId, reason: CancelReason, index: &mut Index) -> Applied {
        let inside = matches!(
            self.node(id).phase,
            Phase::Child { .. } | Phase::Expanded(_) | Phase::Group { .. }
        );
        if !inside || self.node(id).stop.is_some() {
            return self.out_of_place("a stop of a step with nothing inside, or a second one");
        }
        self.change(id, index, |node| node.seldom.stop = Some(reason));
        for item in self.items_of(id).to_vec() {
            if !self.node(item).phase.is_final() {
                self.enqueue(item, index);
            }
        }
        if let Some(scope) = self.node(id).inner.as_ref().and_then(|inner| inner.scope) {
            self.enqueue_scope(scope, index);
        }
        self.enqueue(id, index);
        Ok(())
    }

    fn skipped(&mut self, id: NodeId, reason: &SkipReason, index: &mut Index) -> Applied {
        let tainted = match reason {
            SkipReason::Stopping => true,
            SkipReason::Condition | SkipReason::Upstream(_) | SkipReason::Join => {
                self.node(id).needs.troubled > 0
            }
            SkipReason::SignalTimeout => false,
        };
        self.end(id, Phase::Skipped { tainted }, index)
    }

    fn completed(
        &mut self,
        id: NodeId,
        output: Option<&Payload>,
        signal: Option<&SignalId>,
        index: &mut Index,
    ) -> Applied {
        if let Some(signal) = signal {
            let early = &mut self.state.signals.early;
            let Some(position) = early.iter().position(|early| early.id == *signal) else {
                return self.out_of_place("a signal that is not there");
            };
            early.remove(position);
        }
        self.node_mut(id).output = output.cloned();
        self.end(id, Phase::Completed, index)
    }

    fn failed(&mut self, id: NodeId, failure: &Failure, index: &mut Index) -> Applied {
        self.node_mut(id).seldom.failure = Some(Box::new(failure.clone()));
        self.end(id, Phase::Failed, index)
    }
}
