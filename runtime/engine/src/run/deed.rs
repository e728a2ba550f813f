//! What is kept of what a step did, for the case that it has to be made good.

use serde::{Deserialize, Serialize};
use skep_protocol::Payload;

use super::NodeId;
use super::step::is_default;

/// What came out of a step before it started over: what compensations read until it completes
/// again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// Its output; none if it is that of inner steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Payload>,
    /// How many items it had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) items: usize,
}

/// What a step did, or may have done, and what became of that: kept of steps that have a
/// `compensate` or are a `pivot`, also when they start over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deed {
    /// What came out; none if nobody knows, or if it is that of inner steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Payload>,
    /// The item it did it for, if another one has its place since its group started over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<Payload>,
    /// The compensation, once the run unwinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compensation: Option<NodeId>,
    /// It was made good, or an operator said so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) settled: bool,
    /// It was told that the compensation failed for good.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) stuck: bool,
}
