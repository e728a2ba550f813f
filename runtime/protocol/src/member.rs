//! Coordinators: what they say of themselves to each other.

use serde::{Deserialize, Serialize};

use crate::partition::PartitionId;

/// The record of one coordinator in the registry, under its name. It writes the record anew for as
/// long as it is there: whoever sees that it does not change any more takes it for gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The version of the format.
    pub v: u32,
    /// Names the process, made up at its start: two of the same name are noticed.
    pub process: String,
    /// Whether it takes partitions.
    pub phase: MemberPhase,
    /// The partitions that it serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owns: Vec<PartitionId>,
    /// The partitions whose journals it follows closely enough to take them over at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm: Vec<PartitionId>,
}

impl Member {
    /// The version of the format that this program writes.
    pub const VERSION: u32 = 1;
}

/// Whether a coordinator takes partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberPhase {
    /// It does.
    Serving,
    /// It hands over those that it has.
    Draining,
    /// It has ended.
    Left,
}
