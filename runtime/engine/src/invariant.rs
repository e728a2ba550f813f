//! What must always hold, as pure functions: numbered as in the list of invariants.
//!
//! [`Partition::check_invariants`](crate::Partition::check_invariants) looks at a state, [`Audit`]
//! at the records of a journal one after the other.

mod audit;
mod state;

pub use audit::Audit;
pub(crate) use state::check;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{number}: {what}")]
pub struct Violation {
    /// The number of the invariant, such as `I-7`.
    pub number: &'static str,
    /// What violates it.
    pub what: String,
}

/// Says that an invariant has to hold.
fn demand(holds: bool, number: &'static str, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { number, what: what() }) }
}

type Checked = Result<(), Violation>;
