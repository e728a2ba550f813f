//! Numbers and durations that must fit each other.

use std::sync::Arc;
use std::time::Duration;

use crate::definition::{
    At, BreakerDefinition, Count, DefaultsDefinition, DurationText, LabelsDefinition,
    RetryDefinition, SuperviseDefinition, duration_text,
};
use crate::diagnostic::{Problems, codes};
use crate::limits;
use crate::policy::{Breaker, Labels, RetryPolicy, Share, Supervision, WhenOpen};

/// How long one attempt of an agent may take if nothing else is written.
const TIMEOUT: Duration = Duration::from_secs(600);
/// How often a compensation is tried if nothing else is written.
const COMPENSATION_ATTEMPTS: u32 = 10;
/// The priority of a step if nothing else is written.
const PRIORITY: u8 = 5;

/// What holds for every step that does not say otherwise.
#[derive(Debug)]
pub(super) struct Defaults {
    /// `None` if it is not written.
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) progress_within: Option<Duration>,
    pub(super) retry: Arc<RetryPolicy>,
    pub(super) never: Arc<RetryPolicy>,
    pub(super) compensation: Arc<RetryPolicy>,
    pub(super) priority: u8,
    pub(super) labels: Labels,
    pub(super) when_open: WhenOpen,
    pub(super) breaker: Option<Breaker>,
}

impl Defaults {
    pub(super) fn of(written: Option<&DefaultsDefinition>, problems: &mut Problems) -> Self {
        let mut defaults = Self {
            timeout: None,
            deadline: None,
            queue_timeout: None,
            progress_within: None,
            retry: Arc::default(),
            never: Arc::default(),
            compensation: Arc::new(RetryPolicy {
                attempts: COMPENSATION_ATTEMPTS,
                ..RetryPolicy::default()
            }),
            priority: PRIORITY,
            labels: Labels::default(),
            when_open: WhenOpen::default(),
            breaker: None,
        };
        let Some(written) = written else { return defaults };
        defaults.timeout = positive(written.timeout.as_ref(), "`timeout`", problems);
        defaults.deadline = positive(written.deadline.as_ref(), "`deadline`", problems);
        defaults.queue_timeout =
            positive(written.queue_timeout.as_ref(), "`queue_timeout`", problems);
        defaults.progress_within =
            positive(written.progress_within.as_ref(), "`progress_within`", problems);
        if let Some(at) = &written.progress_within {
            warn_of_stall(at, Some(defaults.agent_timeout()), problems);
        }
        if let Some(retry) = &written.retry {
            defaults.retry = retry_policy(retry, &RetryPolicy::default(), problems);
        }
        if let Some(priority) = priority(written.priority.as_ref(), problems) {
            defaults.priority = priority;
        }
        if let Some(written) = &written.labels {
            defaults.labels = labels(&written.value, &Labels::default());
        }
        if let Some(written) = &written.breaker {
            defaults.breaker = Some(breaker(&written.value, problems));
        }
        defaults.when_open =
            written.when_open.as_ref().map_or_else(WhenOpen::default, |at| at.value);
        defaults
    }

    /// Returns the timeout of an agent's attempt.
    pub(super) fn agent_timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

/// Returns a duration that must not be zero.
pub(super) fn positive(
    written: Option<&At<DurationText>>,
    what: &str,
    problems: &mut Problems,
) -> Option<Duration> {
    let At { value: DurationText(duration), span } = written?;
    if duration.is_zero() {
        problems
            .error(codes::OUT_OF_RANGE, *span, format!("{what} cannot be zero"))
            .help("leave it out if nothing is to be bounded");
        return None;
    }
    Some(*duration)
}

/// Warns if an attempt is over by its timeout before it can be found to stand still, or can be
/// found to do so although its handler says that it gets on.
pub(super) fn warn_of_stall(
    progress_within: &At<DurationText>,
    timeout: Option<Duration>,
    problems: &mut Problems,
) {
    if let Some(timeout) = timeout.filter(|timeout| progress_within.value.0 > *timeout) {
        let timeout = duration_text(timeout);
        problems
            .warning(
                codes::NO_EFFECT,
                progress_within.span,
                format!("`progress_within` is longer than `timeout` ({timeout}) and has no effect"),
            )
            .help("`timeout` bounds the attempt, `progress_within` its time without progress");
    }
    let (within, shortest) = (progress_within.value.0, Duration::from_secs(limits::PROGRESS_SECS));
    if !within.is_zero() && within < shortest {
        let shortest = duration_text(shortest);
        problems
            .warning(
                codes::TOO_SHORT,
                progress_within.span,
                format!("`progress_within` is shorter than {shortest}: attempts fail unwarned"),
            )
            .help(format!("progress is heard every 2s, with heartbeats: write {shortest} or more"));
    }
}

/// Returns a number that must be within bounds.
pub(super) fn number(
    written: Option<&At<Count>>,
    what: &str,
    least: u32,
    most: u32,
    problems: &mut Problems,
) -> Option<u32> {
    let At { value: Count(number), span } = written?;
    if let Ok(number) = u32::try_from(*number)
        && (least..=most).contains(&number)
    {
        return Some(number);
    }
    let help = if most == u32::MAX && *number < i128::from(least) {
        format!("it must be at least {least}")
    } else {
        format!("it must be between {least} and {most}")
    };
    problems.error(codes::OUT_OF_RANGE, *span, format!("{what} cannot be {number}")).help(help);
    None
}

pub(super) fn priority(written: Option<&At<Count>>, problems: &mut Problems) -> Option<u8> {
    number(written, "`priority`", 0, 9, problems).and_then(|number| u8::try_from(number).ok())
}

/// Fills what a retry policy leaves open from another one.
pub(super) fn retry_policy(
    At { value: written, span }: &At<RetryDefinition>,
    base: &RetryPolicy,
    problems: &mut Problems,
) -> Arc<RetryPolicy> {
    let attempts = number(written.attempts.as_ref(), "`attempts`", 1, limits::ATTEMPTS, problems);
    let attempts = attempts.unwrap_or(base.attempts);
    let initial = written.initial.as_ref().map(|at| at.value.0);
    let max = written.max.as_ref().map(|at| at.value.0);
    if let (Some(initial), Some(max), Some(at)) = (initial, max, &written.max)
        && initial > max
    {
        problems
            .error(
                codes::CONTRADICTION,
                at.span,
                format!(
                    "`max` ({}) is shorter than `initial` ({})",
                    duration_text(max),
                    duration_text(initial)
                ),
            )
            .help("`initial` is the first delay, `max` the longest");
    }
    let initial = initial.unwrap_or_else(|| base.initial.min(max.unwrap_or(Duration::MAX)));
    let max = max.unwrap_or_else(|| base.max.max(initial));
    if attempts == 1 && written.keys.span("attempts").is_none() {
        problems
            .warning(codes::NO_EFFECT, *span, "`retry` without `attempts` tries once")
            .help("add `attempts: 3`; it counts the first try too");
    }
    let unless = written
        .unless
        .as_ref()
        .map(|at| at.value.0.iter().map(|code| code.value.0.clone()).collect::<Vec<_>>());
    Arc::new(RetryPolicy {
        attempts,
        backoff: written.backoff.as_ref().map_or(base.backoff, |at| at.value),
        initial,
        max,
        jitter: written.jitter.as_ref().map_or(base.jitter, |at| at.value),
        within: positive(written.within.as_ref(), "`within`", problems).or(base.within),
        unless: unless.unwrap_or_else(|| base.unless.clone()),
    })
}

/// Adds labels to those that hold for every step; the step's own win.
pub(super) fn labels(written: &LabelsDefinition, base: &Labels) -> Labels {
    let mut labels = base.clone();
    if let Some(require) = &written.require {
        labels.require.extend(require.value.clone());
    }
    if let Some(prefer) = &written.prefer {
        labels.prefer.extend(prefer.value.clone());
    }
    labels
}

pub(super) fn breaker(written: &BreakerDefinition, problems: &mut Problems) -> Breaker {
    let share = |at: &Option<At<crate::definition::ShareText>>, otherwise: u16| {
        at.as_ref().map_or(Share(otherwise), |at| at.value.0)
    };
    let mut duration = |at: &Option<At<DurationText>>, what: &str, otherwise: u64| {
        positive(at.as_ref(), what, problems).unwrap_or_else(|| Duration::from_secs(otherwise))
    };
    let is_slow_written = written.slow.is_some() || written.slow_rate.is_some();
    let (slow, window, cooldown) = (
        duration(&written.slow, "`slow`", 5),
        duration(&written.window, "`window`", 30),
        duration(&written.cooldown, "`cooldown`", 15),
    );
    Breaker {
        failure_rate: share(&written.failure_rate, 500),
        slow_rate: share(&written.slow_rate, 1000),
        // How long a call takes is known to nobody but the one who wrote it.
        slow: if is_slow_written { slow } else { Duration::MAX },
        window,
        min_calls: number(written.min_calls.as_ref(), "`min_calls`", 1, u32::MAX, problems)
            .unwrap_or(10),
        cooldown,
        probes: number(written.probes.as_ref(), "`probes`", 1, 1000, problems).unwrap_or(3),
    }
}

pub(super) fn supervision(
    written: &SuperviseDefinition,
    problems: &mut Problems,
) -> Option<Supervision> {
    let within = positive(written.within.as_ref(), "`within`", problems);
    let max_restarts =
        number(written.max_restarts.as_ref(), "`max_restarts`", 0, limits::ATTEMPTS, problems);
    Some(Supervision {
        strategy: written.strategy.as_ref()?.value,
        max_restarts: max_restarts.unwrap_or(3),
        within: within.unwrap_or(Duration::from_secs(60)),
    })
}
