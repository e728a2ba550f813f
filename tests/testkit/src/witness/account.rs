//! What is known at the end of a simulation.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use skep_broker::Bucket;
use skep_engine::Violation;
use skep_protocol::{Hash, PartitionId, RunId, RunStatus, StepPath};

use super::part::Part;

/// What lies beside the journals and outlives everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stores {
    pub(crate) blobs: Vec<Bytes>,
    pub(crate) facts: Vec<(Bucket, String, Bytes)>,
}

/// What is known at the end of a simulation.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) violation: Option<Violation>,
    pub(crate) digest: Hash,
    pub(crate) ended: BTreeMap<RunId, RunStatus>,
    pub(crate) reached: BTreeMap<&'static str, u64>,
    pub(crate) messages: Vec<(PartitionId, Bytes)>,
    pub(crate) stores: Stores,
    pub(crate) steps: BTreeSet<StepPath>,
    pub(crate) parts: BTreeSet<Part>,
    pub(crate) records: u64,
    pub(crate) trace: Vec<String>,
}
