//! What completes, reported as failed.

use skep_protocol::{AttemptId, Failure, FailureKind, Outcome, ReportBody};

use super::Seen;

/// Makes a failure of what completed.
pub(super) fn fail(body: &mut ReportBody) {
    if let ReportBody::Outcome(outcome @ Outcome::Completed { .. }) = body {
        let failure = Failure::new(FailureKind::Agent, "simulated", "the simulation fails this");
        *outcome = Outcome::Failed { failure: failure.fatal(), duration_ms: 0 };
    }
}

impl Seen {
    /// Returns whether what completes as this attempt is to fail.
    pub(super) fn fails(&self, id: &AttemptId) -> bool {
        let known = self.shadows.values().find(|shadow| shadow.scheduled.contains(id));
        known.is_some_and(|shadow| self.failing.contains(&shadow.fallbacks.part(id)))
    }
}
