//! Law 4: time, and the reason why it matters.

use std::collections::BTreeSet;

use skep_protocol::{RunId, Timestamp};

use crate::run::NodeId;

/// A moment at which the partition wants an [`Input::Wake`](crate::Input::Wake).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: WakeReason,
}

/// Why a partition wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WakeReason {
    /// More follows from an earlier input, and was put off to give others their turn.
    PutOff,
    /// An attempt runs out of its `timeout`.
    Timeout,
    /// No agent took an attempt within `queue_timeout`.
    QueueTimeout,
    /// No agent took another attempt in the time that `retry` has.
    RetryWithin,
    /// A step runs out of its `deadline`.
    Deadline,
    /// A `wait` is over.
    Wait,
    /// A `wait_for` runs out of time.
    SignalTimeout,
}

/// Why time matters to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TimerReason {
    Timeout,
    QueueTimeout,
    RetryWithin,
    Deadline,
    Wait,
    SignalTimeout,
}

impl From<TimerReason> for WakeReason {
    fn from(reason: TimerReason) -> Self {
        match reason {
            TimerReason::Timeout => Self::Timeout,
            TimerReason::QueueTimeout => Self::QueueTimeout,
            TimerReason::RetryWithin => Self::RetryWithin,
            TimerReason::Deadline => Self::Deadline,
            TimerReason::Wait => Self::Wait,
            TimerReason::SignalTimeout => Self::SignalTimeout,
        }
    }
}

/// One timer of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) at: Timestamp,
    pub(crate) run: RunId,
    pub(crate) node: NodeId,
    pub(crate) reason: TimerReason,
}

/// All timers of a partition, the next one first.
pub(crate) type Timers = BTreeSet<Timer>;
