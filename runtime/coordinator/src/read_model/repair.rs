//! Going on behind a gap: what was trimmed unread is learnt from a snapshot, as far as it tells.

use skep_engine::Partition;
use skep_protocol::{PartitionId, RunDetail, RunId, RunStarted, RunStatus, Seq, Timestamp};

/// Messages of a journal that were trimmed before the read model read them.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) partition: PartitionId,
    /// The first message that is there.
    pub(super) first: Seq,
    /// When that was written.
    pub(super) at: Option<Timestamp>,
    /// A state behind the gap, and the last message that it includes.
    pub(super) state: Option<(Seq, Box<Partition>)>,
}

/// What became of a run that was open before the gap: it may have ended in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    GoesOn,
    Ended(RunStatus),
    Unknown,
}

impl Gap {
    /// The last message that is missing.
    pub(super) fn last(&self) -> Seq {
        Seq::new(self.first.get().saturating_sub(1))
    }

    /// The last message that the state includes.
    pub(super) fn to(&self) -> Seq {
        self.state.as_ref().map_or(Seq::ZERO, |(to, _)| *to)
    }

    pub(super) fn fate(&self, run: RunId) -> Fate {
        match self.state.as_ref().and_then(|(_, state)| state.status(run)) {
            Some(status) if status.is_final() => Fate::Ended(status),
            Some(_) => Fate::GoesOn,
            None => Fate::Unknown,
        }
    }

    /// Returns the runs that are live in the state.
    pub(super) fn live(&self) -> impl Iterator<Item = (RunStarted, RunDetail)> {
        self.state.iter().flat_map(|(_, state)| state.live())
    }
}
