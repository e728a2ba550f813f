//! What is known of the attempts of a step, for its policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use skep_protocol::Timestamp;

use super::step::{Phase, StepState, is_default};

/// Who of those that perform a step failed before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedBefore {
    /// Its agent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) own: bool,
    /// That of its fallback.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) fallback: bool,
}

impl StepState {
    /// Returns whether the next attempt repeats one that failed.
    pub(crate) fn is_repeated(&self) -> bool {
        let FailedBefore { own, fallback } = self.failed_before;
        if self.fallback { fallback } else { own }
    }

    /// An attempt failed. If nobody was seen to take it, it began when its agent says that it did,
    /// as far as it might have, or when it might have.
    pub(crate) fn note_failure(&mut self, took: Option<Duration>, at: Timestamp) {
        let seldom = &mut *self.seldom;
        if let Phase::Scheduled { queued, .. } = self.phase {
            let began = |took| queued.after(at.since(queued).saturating_sub(took));
            seldom.first.get_or_insert_with(|| took.map_or(queued, began));
        }
        let FailedBefore { own, fallback } = &mut seldom.failed_before;
        *if seldom.fallback { fallback } else { own } = true;
    }

    /// Returns when the first attempt began, as if the run had never been paused.
    pub(crate) fn first_began(
        &self,
        paused: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let first = self.first?;
        Some(paused.map_or(first, |since| first.after(now.since(since.max(first)))))
    }
}
