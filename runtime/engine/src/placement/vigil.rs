//! Watching the owner of one partition from outside.

use std::time::Duration;

/// So many probes in a row without an answer: the owner hangs, or is cut off. They are counted and
/// not timed: whoever was stopped itself has missed one at most.
const UNANSWERED: u32 = 4;
/// How long the one after the designated successor leaves a vacant partition to that one, the next
/// one twice as long, and so on.
const TURN: Duration = Duration::from_secs(1);

/// What came of asking whoever owns a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The owner answered, or was seen to write.
    Answered,
    /// Nobody listens.
    Nobody,
    /// Somebody listens, and says nothing.
    Unanswered,
    /// Nothing could be asked: one's own link is down.
    Unknown,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The partition is served, or others are to have it first.
    Wait,
    /// Nobody owns the partition, and it is this coordinator's turn.
    Vacant,
    /// The owner hangs, unless the journal does, and it is this coordinator's turn.
    Hung,
}

/// The watch over one partition.
#[derive(Debug, Default)]
pub struct Vigil {
    nobody_since: Option<Duration>,
    unanswered: u32,
}

impl Vigil {
    /// Takes in what came of a probe; `rank` others should take the partition sooner.
    pub fn probed(&mut self, probe: Probe, rank: u32, now: Duration) -> Verdict {
        match probe {
            Probe::Answered | Probe::Unknown => {
                *self = Self::default();
                Verdict::Wait
            }
            Probe::Nobody => {
                self.unanswered = 0;
                let since = *self.nobody_since.get_or_insert(now);
                let turn = now.saturating_sub(since) >= TURN * rank;
                if turn { Verdict::Vacant } else { Verdict::Wait }
            }
            Probe::Unanswered => {
                self.nobody_since = None;
                self.unanswered = self.unanswered.saturating_add(1);
                let turn = self.unanswered >= UNANSWERED.saturating_mul(rank.saturating_add(1));
                if turn { Verdict::Hung } else { Verdict::Wait }
            }
        }
    }
}
