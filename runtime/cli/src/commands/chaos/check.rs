//! The checks: each is a pure function of the history, and says what it found against it.

mod audit;
mod compensation;
mod deeds;
mod runs;
#[cfg(test)]
mod tests;

use skep_engine::Violation;
use skep_protocol::RunId;

use super::history::History;

/// Something that must not be, and of which run, if of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) number: &'static str,
    pub(super) what: String,
    pub(super) run: Option<RunId>,
}

impl Found {
    fn of_run(number: &'static str, run: RunId, what: impl Into<String>) -> Self {
        Self { number, what: format!("run {run}: {}", what.into()), run: Some(run) }
    }
}

impl From<Violation> for Found {
    fn from(violation: Violation) -> Self {
        Self { number: violation.number, what: violation.what, run: None }
    }
}

/// A check, the numbers of the invariants that it looks at, and what it demands.
pub(super) struct Check {
    pub(super) numbers: &'static str,
    pub(super) demands: &'static str,
    pub(super) look: fn(&History) -> Vec<Found>,
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    Check {
        numbers: "I-1",
        demands: "every acknowledged run is in the journal and ends once",
        look: runs::end_once,
    },
    Check {
        numbers: "I-2",
        demands: "no start makes two runs, and none was made that nobody asked for",
        look: runs::start_once,
    },
    Check { numbers: "I-3", demands: "no attempt is applied twice", look: runs::apply_once },
    Check {
        numbers: "I-4",
        demands: "what is recorded as stale stays without effect",
        look: runs::stale_is_without_effect,
    },
    Check {
        numbers: "I-5",
        demands: "epochs rise, and nothing of an older one follows",
        look: runs::epochs_rise,
    },
    Check {
        numbers: "I-4",
        demands: "no two agents have the same fencing token of a step",
        look: deeds::tokens_differ,
    },
    Check {
        numbers: "I-6",
        demands: "nothing is begun that was not scheduled before",
        look: deeds::begun_was_scheduled,
    },
    Check {
        numbers: "I-7",
        demands: "what completed was done, by whom the journal says",
        look: deeds::completed_was_done,
    },
    Check {
        numbers: "I-7",
        demands: "nothing is begun before what it needs was done",
        look: deeds::needs_were_done,
    },
    Check {
        numbers: "I-10",
        demands: "what was done is made good once, the last things first",
        look: compensation::made_good,
    },
    Check {
        numbers: "I-11",
        demands: "a run that is stuck is seen to be stuck",
        look: runs::stuck_is_seen,
    },
    Check {
        numbers: "I-19",
        demands: "no agent performs more than it has slots",
        look: deeds::slots_hold,
    },
    Check {
        numbers: "client",
        demands: "every command is answered with what was asked for",
        look: runs::no_surprise,
    },
    Check {
        numbers: "oracle",
        demands: "each run ends as its definition says, with the steps it has",
        look: runs::match_the_oracle,
    },
    Check {
        numbers: "I-3…I-17",
        demands: "the journals are whole, fold, and pass the audit of the engine",
        look: audit::of_the_engine,
    },
];
