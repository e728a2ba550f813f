//! Steps that completed and are stored, as far as counters and dead letters have to know them. All
//! else that is known of them is read from the database when somebody asks: a run takes little
//! memory for the many steps that lie behind it.
//!
//! **Invariant:** nothing is told, seeded or stored of a run that is abridged, but for counters and
//! dead letters; who wants more has it folded anew.

use std::collections::BTreeMap;
use std::ops::Bound;

use skep_protocol::{AgentId, Failure, Payload, StepPath, StepStatus, Timestamp};

use super::{Attempt, RunView, Step, Track};

/// A run with fewer steps is left as it is; the tests have no runs with many.
const FEW: usize = if cfg!(test) { 1 } else { 64 };

/// What a step takes in memory beside texts, about, in bytes; and once it is abridged.
const FULL: usize = 768;
const ABRIDGED: usize = 96;
/// What an attempt, or a failure, takes beside texts, about, in bytes.
const PART: usize = 256;

/// The steps of a run that are abridged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Briefs {
    briefs: BTreeMap<StepPath, Brief>,
    /// Something was let go of, which does not come back by what happens.
    any: bool,
    /// How many steps were left when it was looked last.
    left: usize,
}

/// A step that completed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Brief {
    leaf: bool,
    /// Its only attempt, if it had one, and who had that.
    attempt: Option<(u32, Option<AgentId>)>,
}

impl Briefs {
    /// Takes a step out, as if nothing but this was ever known of it.
    pub(super) fn take(&mut self, path: &StepPath) -> Option<Box<Track>> {
        if self.briefs.is_empty() {
            return None;
        }
        Some(Box::new(self.briefs.remove(path)?.unfolded()))
    }

    /// Returns the steps between two paths.
    pub(super) fn between(&self, bounds: (Bound<StepPath>, Bound<StepPath>)) -> Vec<StepPath> {
        self.briefs.range(bounds).map(|(path, _)| path.clone()).collect()
    }
}

impl Brief {
    fn of(track: &Track) -> Option<Self> {
        let step = track.step.as_ref()?;
        let attempt = match &track.attempts[..] {
            [] => None,
            [only] if only.ended.is_some() => Some((only.number, only.agent.clone())),
            [..] => return None,
        };
        let is_plain = step.items.is_none() && step.child.is_none();
        let is_over = step.status == StepStatus::Completed;
        (is_plain && is_over).then_some(Self { leaf: step.leaf, attempt })
    }

    fn unfolded(self) -> Track {
        let Self { leaf, attempt } = self;
        let step = Step { leaf, ..Step::new(0, StepStatus::Completed) };
        let ended = Some(Timestamp::EPOCH);
        let attempt = attempt.map(|(number, agent)| Attempt {
            agent,
            ended,
            ..Attempt::new(number, Timestamp::EPOCH)
        });
        Track { step: Some(step), attempts: attempt.into_iter().collect() }
    }
}

impl RunView {
    /// Returns whether more is known of the run than what is here.
    pub(in crate::read_model) const fn is_abridged(&self) -> bool {
        self.briefs.any
    }

    /// Lets go of what is stored of steps that completed, if they are many: it is looked when there
    /// are twice as many steps as were left, so that each is looked at a few times at most. Returns
    /// what the run takes in memory after that, about, in bytes; none if it was not looked.
    pub(in crate::read_model) fn abridge(&mut self) -> Option<usize> {
        let Self { tracks, briefs: Briefs { briefs, any, left }, .. } = self;
        if tracks.len() < FEW.max(2 * *left) {
            return None;
        }
        tracks.retain(|path, track| match Brief::of(track) {
            Some(brief) => {
                briefs.insert(path.clone(), brief);
                *any = true;
                false
            }
            None => true,
        });
        *left = tracks.len();
        let kept: usize = tracks.values().map(|track| track.weight()).sum();
        let own = weight(Some(&self.inputs)) + weight(self.outputs.as_ref());
        Some(own + kept + ABRIDGED * self.briefs.briefs.len())
    }
}

impl Track {
    /// Returns what it takes in memory, about, in bytes.
    fn weight(&self) -> usize {
        let output = self.step.as_ref().and_then(|step| step.output.as_ref());
        let failed = self.step.iter().filter_map(|step| step.error.as_deref());
        let tried = self.attempts.iter().filter_map(|attempt| attempt.error.as_deref());
        let failures: usize = failed.chain(tried).map(text_of).sum();
        FULL + PART * self.attempts.len() + weight(output) + failures
    }
}

fn weight(payload: Option<&Payload>) -> usize {
    payload.and_then(Payload::text).map_or(0, str::len)
}

fn text_of(failure: &Failure) -> usize {
    PART + failure.code.len() + failure.message.len() + weight(failure.details.as_ref())
}
