//! What completes, reported as failed.

use skep_protocol::{Failure, FailureKind, Outcome, ReportBody};

/// Makes a failure of what completed.
pub(super) fn fail(body: &mut ReportBody) {
    if let ReportBody::Outcome(outcome @ Outcome::Completed { .. }) = body {
        let failure = Failure::new(FailureKind::Agent, "simulated", "the simulation fails this");
        *outcome = Outcome::Failed { failure: failure.fatal(), duration_ms: 0 };
    }
}
