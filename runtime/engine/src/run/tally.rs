//! How the needs of a step ended, counted as they end.

use serde::{Deserialize, Serialize};

use super::step::Phase;

/// How the needs of a step ended so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Not over.
    pub(crate) open: u16,
    /// Completed.
    pub(crate) completed: u16,
    /// Skipped.
    pub(crate) skipped: u16,
    /// Failed, cancelled, or skipped for a failure behind them.
    pub(crate) troubled: u16,
}

impl Tally {
    /// Counts a need.
    pub(crate) fn add(&mut self, need: &Phase) {
        match need {
            Phase::Completed => self.completed += 1,
            Phase::Skipped { tainted } => {
                self.skipped += 1;
                self.troubled += u16::from(*tainted);
            }
            Phase::Failed | Phase::Cancelled => self.troubled += 1,
            Phase::Pending
            | Phase::Scheduled { .. }
            | Phase::Taken { .. }
            | Phase::Retrying(_)
            | Phase::Child { .. }
            | Phase::Waiting { .. }
            | Phase::Expanded(_)
            | Phase::Group { .. } => self.open += 1,
        }
    }

    /// Counts a need as open that ended like this before.
    pub(crate) fn reopen(&mut self, ended: &Phase) {
        let mut before = Self::default();
        before.add(ended);
        self.open += 1 - before.open;
        self.completed -= before.completed;
        self.skipped -= before.skipped;
        self.troubled -= before.troubled;
    }
}
