//! How long a step and its attempts may take.

use std::time::Duration;

use crate::check::kinds::Kind;
use crate::check::policies::{Defaults, positive, warn_of_stall};
use crate::definition::StepDefinition;
use crate::diagnostic::{Problems, codes};

/// The bounds of a step in time, defaults filled in.
pub(super) struct Times {
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) progress_within: Option<Duration>,
}

impl Times {
    pub(super) fn of(
        definition: &StepDefinition,
        kind: Option<Kind>,
        defaults: &Defaults,
        problems: &mut Problems,
    ) -> Self {
        let mut own = |written, what| positive(written, what, problems);
        let timeout = own(definition.timeout.as_ref(), "`timeout`");
        let deadline = own(definition.deadline.as_ref(), "`deadline`");
        let queue_timeout = own(definition.queue_timeout.as_ref(), "`queue_timeout`");
        let progress_within = own(definition.progress_within.as_ref(), "`progress_within`");
        let times = match kind {
            Some(Kind::Agent) => Self {
                timeout: Some(timeout.unwrap_or_else(|| defaults.agent_timeout())),
                deadline: deadline.or(defaults.deadline),
                queue_timeout: queue_timeout.or(defaults.queue_timeout),
                progress_within: progress_within.or(defaults.progress_within),
            },
            Some(Kind::Workflow) => Self {
                timeout: timeout.or(defaults.timeout),
                deadline: deadline.or(defaults.deadline),
                queue_timeout,
                progress_within,
            },
            Some(Kind::Wait | Kind::Signal | Kind::Group) | None => {
                Self { timeout: None, deadline, queue_timeout, progress_within }
            }
        };
        times.warn_of_shadow(definition, problems);
        if let (Some(Kind::Agent), Some(at)) = (kind, &definition.progress_within) {
            warn_of_stall(at, times.timeout, problems);
        }
        times
    }

    /// Warns of a timeout that a shorter deadline makes useless.
    fn warn_of_shadow(&self, definition: &StepDefinition, problems: &mut Problems) {
        if let (Some(at), Some(timeout), Some(deadline)) =
            (&definition.timeout, self.timeout, self.deadline)
            && timeout > deadline
        {
            problems
                .warning(
                    codes::NO_EFFECT,
                    at.span,
                    "`timeout` is longer than `deadline` and has no effect",
                )
                .help("`timeout` bounds one attempt, `deadline` the whole step");
        }
    }
}
