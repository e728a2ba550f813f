//! The only place of the SDK that tells the time and mints ids.

pub(crate) use skep_broker::host::now;
use uuid::Uuid;

/// Mints a unique id.
#[expect(clippy::disallowed_methods, reason = "the agent is a shell: it names itself")]
pub(crate) fn mint() -> Uuid {
    Uuid::now_v7()
}
