//! What certainly nobody began: asked when an attempt is cut off, or given up.

use std::fmt;

use skep_protocol::{AttemptId, Timestamp};

/// Whoever hands tasks out.
///
/// It is asked about an attempt that is cut off, or given up, before anybody was seen to take it.
/// What it answers goes into the record, so that nobody asks again when that is applied.
pub trait Recall: fmt::Debug {
    /// Takes an attempt back, if no agent can have begun it: from then on none can. To return
    /// `false` is always right, and costs no more than to make good what nobody did.
    fn recall(&self, attempt: &AttemptId) -> bool;
}

/// Knows nothing of what is handed out: anything may have been begun.
#[derive(Debug, Clone, Copy)]
pub struct NoRecall;

impl Recall for NoRecall {
    fn recall(&self, _: &AttemptId) -> bool {
        false
    }
}

/// What is around a partition while it handles one input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) now: Timestamp,
    pub(crate) recall: &'a dyn Recall,
}
