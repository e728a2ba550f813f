//! What a run has to say to the list of dead letters.

use skep_protocol::{AgentId, Failure, FailureKind, RunId, StepPath, StepStatus, Timestamp};

use super::{RunView, is_compensation};

/// A step that is a dead letter, if its run failed with it.
#[derive(Debug)]
pub(in crate::read_model) struct Letter<'v> {
    pub(in crate::read_model) failure: &'v Failure,
    pub(in crate::read_model) ended: Option<Timestamp>,
    pub(in crate::read_model) child: Option<RunId>,
    pub(in crate::read_model) attempts: usize,
    /// Who had it last.
    pub(in crate::read_model) agent: Option<&'v AgentId>,
}

impl RunView {
    /// Returns what was given up on by itself, and not for what is inside it.
    pub(in crate::read_model) fn letter(&self, path: &StepPath) -> Option<Letter<'_>> {
        let track = self.tracks.get(path)?;
        let step = track.step.as_ref().filter(|step| step.status == StepStatus::Failed)?;
        let failure = step.error.as_deref()?;
        let by_itself = step.child.is_some() || failure.kind != FailureKind::Inner;
        (by_itself && !is_compensation(path)).then(|| Letter {
            failure,
            ended: step.ended,
            child: step.child,
            attempts: track.attempts.len(),
            agent: track.attempts.iter().rev().find_map(|attempt| attempt.agent.as_ref()),
        })
    }

    /// Says of every step that it may be a dead letter, or not be one any more.
    pub(super) fn doubt_all(&mut self) {
        self.doubtful.extend(self.tracks.keys().cloned());
    }
}
