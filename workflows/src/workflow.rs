//! The checked workflow.

mod step;

use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::expression::Template;
use crate::inputs::Inputs;
use crate::name::Name;
use crate::policy::OnFailure;

pub(crate) use step::Healing;
pub use step::{ForEach, Remedy, Step, StepKind, WaitFor};

/// The position of a step in its workflow, in the order of the file, parents first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIndex(pub(crate) u32);

impl StepIndex {
    /// Returns the position as a number.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }

    /// Returns the position as a number.
    pub fn as_u32(self) -> u32 {
        self.0
    }

    /// Returns the index with this number; [`Workflow::step`] panics if it is not of the workflow.
    pub fn from_u32(index: u32) -> Self {
        Self(index)
    }
}

/// A definition that was checked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workflow(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: Name,
    pub(crate) version: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) digest: Digest,
    pub(crate) source: String,
    pub(crate) inputs: Inputs,
    pub(crate) outputs: Vec<(Name, Template)>,
    pub(crate) on_failure: OnFailure,
    pub(crate) steps: Vec<Step>,
    pub(crate) roots: Vec<StepIndex>,
    pub(crate) by_id: Vec<StepIndex>,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) capabilities: Vec<Name>,
    pub(crate) referenced_workflows: Vec<(Name, Option<String>)>,
}

impl Workflow {
    /// Wraps parts that were checked.
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Returns the name.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// Returns the version the author gave it.
    pub fn version(&self) -> Option<&str> {
        self.0.version.as_deref()
    }

    /// Returns the description.
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// Returns the digest of the source.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Returns the text of the definition.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Returns the declared inputs.
    pub fn inputs(&self) -> &Inputs {
        &self.0.inputs
    }

    /// Returns the outputs, in the order of the file.
    pub fn outputs(&self) -> &[(Name, Template)] {
        &self.0.outputs
    }

    /// Returns what the run does when a step fails.
    pub fn on_failure(&self) -> OnFailure {
        self.0.on_failure
    }

    /// Returns all steps in the order of the file, parents before children.
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }

    /// Returns one step.
    ///
    /// # Panics
    ///
    /// If the index is not of this workflow.
    pub fn step(&self, index: StepIndex) -> &Step {
        &self.0.steps[index.as_usize()]
    }

    /// Returns the steps that are in no group, in the order of the file.
    pub fn roots(&self) -> &[StepIndex] {
        &self.0.roots
    }

    /// Returns the step with this id.
    pub fn find(&self, id: &str) -> Option<StepIndex> {
        let at =
            self.0.by_id.binary_search_by(|index| self.step(*index).id.as_str().cmp(id)).ok()?;
        Some(self.0.by_id[at])
    }

    /// Returns what is accepted but probably not what was meant.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.0.warnings
    }

    /// Returns the sub-workflows it uses, each name with its version, sorted.
    pub fn referenced_workflows(&self) -> &[(Name, Option<String>)] {
        &self.0.referenced_workflows
    }

    /// Returns the capabilities its steps need, sorted.
    pub fn capabilities(&self) -> &[Name] {
        &self.0.capabilities
    }
}
