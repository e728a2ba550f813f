//! Bugs that are planted on purpose: a simulator counts once it was seen to catch.
//!
//! Without the feature `planted-bugs` nothing can be planted, and a release cannot have it.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted bugs have no place in a release");

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// An append goes to wherever the journal ends.
    SkipFence,
    /// A report of an earlier attempt counts as one of the current attempt.
    ApplyStaleReport,
    /// After a take-over no timer fires that was set before.
    ForgetTimers,
    /// What is owed is performed before its record is durable.
    PerformTooSoon,
    /// An attempt that was lost is sent again under its old number.
    SendLostAgain,
    /// What was done is made good in the order in which it was done.
    CompensateForwards,
    /// Whatever nobody was seen to take counts as something that nobody began.
    TakeBackWhatLeft,
    /// A probe that is never heard of again holds its breaker up for ever.
    LeakProbe,
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, in the place of the one before.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Returns whether a bug is planted.
#[cfg(feature = "planted-bugs")]
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Returns whether a bug is planted: it is not.
#[cfg(not(feature = "planted-bugs"))]
pub const fn is(_bug: Bug) -> bool {
    false
}
