//! Steps that completed and are stored, as far as counters have to know them. All else that is
//! known of them is read from the database when somebody asks: a run takes little memory for the
//! many steps that lie behind it.

use std::collections::BTreeMap;
use std::ops::Bound;

use skep_protocol::{StepPath, StepStatus, Timestamp};

use super::{Attempt, RunView, Step, Track};

/// A run with fewer steps is left as it is; the tests have no runs with many.
const FEW: usize = if cfg!(test) { 1 } else { 64 };

/// What a step takes in memory, about, in bytes; and what it takes once it is abridged.
const FULL: usize = 1_024;
const ABRIDGED: usize = 64;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Brief {
    ordinal: i64,
    leaf: bool,
    /// Its only attempt, if it had one.
    attempt: Option<u32>,
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
            [only] if only.ended.is_some() => Some(only.number),
            [..] => return None,
        };
        let is_plain = step.status == StepStatus::Completed && step.items.is_none();
        is_plain.then_some(Self { ordinal: step.ordinal, leaf: step.leaf, attempt })
    }

    fn unfolded(self) -> Track {
        let Self { ordinal, leaf, attempt } = self;
        let step = Step { leaf, ..Step::new(ordinal, StepStatus::Completed) };
        let ended = Some(Timestamp::EPOCH);
        let attempt =
            attempt.map(|number| Attempt { ended, ..Attempt::new(number, Timestamp::EPOCH) });
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
    /// what the steps take in memory after that, about, in bytes; none if nothing changed.
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
        Some(FULL * tracks.len() + ABRIDGED * briefs.len())
    }
}
