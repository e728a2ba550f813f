//! What must always hold, as pure functions over the state: numbered as in the list of invariants.

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{number}: {what}")]
pub struct Violation {
    /// The number of the invariant, such as `I-7`.
    pub number: &'static str,
    /// What violates it.
    pub what: String,
}

pub(crate) fn check(partition: &crate::Partition) -> Result<(), Violation> {
    let _ = partition;
    Ok(())
}
