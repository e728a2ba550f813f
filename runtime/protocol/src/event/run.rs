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
    /// The run that this one does over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<RetryOf>>,
}

/// A run that is over, and what another one that does it over keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryOf {
    /// The run that is over.
    pub run: RunId,
    /// The step that runs again although it may have completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<StepPath>,
    /// What follows `from` and completed does not run again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only: bool,
    /// Who asked for it.
    pub by: String,
    /// What is kept, as a list of events: [`StepKept`](super::Event::StepKept), and
    /// [`StepExpanded`](super::Event::StepExpanded) for a `for_each` that goes on. Each becomes a
    /// fact of the journal before any step begins. None if nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Payload>,
    /// How many events that list has.
    #[serde(default)]
    pub facts: u32,
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
