//! What the events of a whole run carry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Hash, RunId, StepPath};
use crate::payload::Payload;

/// See [`Event::RunStarted`](super::Event::RunStarted).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The name of the workflow.
    pub workflow: String,
    /// Its version, if the definition names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of its definition: the run stays with it, whatever is applied later.
    pub digest: Hash,
    /// The inputs, defaults filled in.
    pub inputs: Payload,
    /// The sub-workflows, pinned: name as written → digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pinned: BTreeMap<String, Hash>,
    /// The run that started this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// How deep this run is nested: 0 without a parent.
    #[serde(default)]
    pub depth: u32,
    /// Free words to find the run by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How many steps the definition has at its top level; unknown in journals of old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
}

/// The step that a run was started for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// Which try of the step.
    pub attempt: u32,
}
