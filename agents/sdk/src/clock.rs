//! The only place of the SDK that reads the wall clock and mints ids.

use std::time::{SystemTime, UNIX_EPOCH};

use skep_protocol::Timestamp;
use uuid::Uuid;

/// Returns the time by the wall clock.
#[expect(clippy::disallowed_methods, reason = "the agent is a shell: it tells the time")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.after(since)
}

/// Mints a unique id.
#[expect(clippy::disallowed_methods, reason = "the agent is a shell: it names itself")]
pub(crate) fn mint() -> Uuid {
    Uuid::now_v7()
}
