//! Errors that many parts of the port share.

/// The broker cannot be reached or does not answer; trying again later may help.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {attempted}: {reason}")]
pub struct Unavailable {
    /// What was attempted: "publish a heartbeat".
    pub attempted: &'static str,
    /// What went wrong, for people.
    pub reason: String,
}

/// A large value that was not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutBlobError {
    /// There is no room, and there will be none: large values are never removed.
    #[error(
        "no room for a value of {size} bytes: all large values may have {limit} bytes together"
    )]
    Full {
        /// The size of the value, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The broker cannot be reached.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A request that got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody listens: the process is gone or not there yet. Known within milliseconds.
    #[error("nobody listens for {what}")]
    NoResponders {
        /// For what: "commands of partition 3".
        what: String,
        /// Somebody listened when it was sent: it may have got there, and had its effect.
        sent: bool,
    },
    /// Somebody listens but did not answer in time: the outcome is unknown.
    #[error("no answer to {what} within {within_ms} ms")]
    TimedOut {
        /// To what.
        what: String,
        /// The bound.
        within_ms: u64,
    },
    /// The message is larger than the broker takes.
    #[error("{size} bytes are more than one message may have, {limit}: {what}")]
    TooLarge {
        /// What.
        what: String,
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The broker cannot be reached.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
