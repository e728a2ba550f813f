//! The checked workflow.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::expression::{Condition, Expression, Template};
use crate::inputs::Inputs;
use crate::name::Name;
use crate::policy::{
    Breaker, Join, Labels, OnFailure, OnTimeout, RetryPolicy, StepOnFailure, Supervision, Tolerate,
    WhenOpen,
};
use crate::schema::Schema;

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
    pub(crate) unsupported: Vec<Diagnostic>,
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

    /// Returns each use of something that cannot be executed yet.
    pub fn unsupported(&self) -> &[Diagnostic] {
        &self.0.unsupported
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

/// What a step is.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// Dispatched to an agent.
    Agent {
        /// What the agent must offer.
        capability: Name,
        /// The input.
        with: Template,
    },
    /// A sub-workflow.
    Workflow {
        /// Its name.
        name: Name,
        /// Its version, if pinned.
        version: Option<String>,
        /// Its inputs.
        with: Template,
    },
    /// A durable timer.
    Wait(WaitFor),
    /// A signal from outside.
    Signal {
        /// Its name.
        name: Name,
        /// Which payloads count; sees `signal`.
        condition: Option<Condition>,
        /// How long to wait.
        timeout: Option<Duration>,
        /// What happens then.
        on_timeout: OnTimeout,
    },
    /// An inner DAG.
    Group,
}

/// What a `wait` step waits for.
#[derive(Clone, Debug)]
pub enum WaitFor {
    /// A time to pass.
    Duration(Duration),
    /// A point in time: a template that gives an RFC 3339 timestamp.
    Until(Template),
}

/// The fan-out of a step.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// The items: an array.
    pub items: Expression,
    /// How many may be under way at once.
    pub max_parallel: Option<NonZeroU32>,
    /// How many may fail.
    pub tolerate: Tolerate,
}

/// An agent that takes over or makes good.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// What the agent must offer.
    pub capability: Name,
    /// The input.
    pub with: Template,
}

/// A step of a workflow.
#[derive(Debug)]
pub struct Step {
    pub(crate) id: Name,
    pub(crate) index: StepIndex,
    pub(crate) parent: Option<StepIndex>,
    pub(crate) children: Vec<StepIndex>,
    pub(crate) depth: u32,
    pub(crate) rank: u32,
    pub(crate) kind: StepKind,
    pub(crate) needs: Vec<StepIndex>,
    pub(crate) dependents: Vec<StepIndex>,
    pub(crate) reads: Vec<StepIndex>,
    pub(crate) readers: Vec<StepIndex>,
    pub(crate) outputs_read: bool,
    pub(crate) join: Join,
    pub(crate) condition: Option<Condition>,
    pub(crate) for_each: Option<ForEach>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) progress_within: Option<Duration>,
    pub(crate) retry: Arc<RetryPolicy>,
    pub(crate) expect: Option<Schema>,
    pub(crate) priority: u8,
    pub(crate) labels: Labels,
    pub(crate) on_failure: StepOnFailure,
    pub(crate) healing: Option<Box<Healing>>,
}

/// What is checked but not executed yet; most steps have none of it.
#[derive(Debug, Default)]
pub(crate) struct Healing {
    pub(crate) compensate: Option<Fallback>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) pivot: bool,
    pub(crate) when_open: WhenOpen,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) supervision: Option<Supervision>,
}

impl Step {
    /// Returns the id, unique in the workflow.
    pub fn id(&self) -> &Name {
        &self.id
    }

    /// Returns the position.
    pub fn index(&self) -> StepIndex {
        self.index
    }

    /// Returns the group it is in.
    pub fn parent(&self) -> Option<StepIndex> {
        self.parent
    }

    /// Returns the steps of a group, in the order of the file.
    pub fn children(&self) -> &[StepIndex] {
        &self.children
    }

    /// Returns how many groups it is in.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Returns the topological position within its scope: greater than that of all its needs.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Returns what it is.
    pub fn kind(&self) -> &StepKind {
        &self.kind
    }

    /// Returns the siblings it depends on, written or inferred, sorted.
    pub fn needs(&self) -> &[StepIndex] {
        &self.needs
    }

    /// Returns the siblings that depend on it, sorted.
    pub fn dependents(&self) -> &[StepIndex] {
        &self.dependents
    }

    /// Returns every step of any scope that its expressions read, sorted.
    pub fn reads(&self) -> &[StepIndex] {
        &self.reads
    }

    /// Returns the steps whose expressions read it, sorted.
    pub fn readers(&self) -> &[StepIndex] {
        &self.readers
    }

    /// Tells whether the workflow's `outputs` read it.
    pub fn outputs_read(&self) -> bool {
        self.outputs_read
    }

    /// Returns how many of its needs must have succeeded.
    pub fn join(&self) -> Join {
        self.join
    }

    /// Returns its `if`.
    pub fn condition(&self) -> Option<&Condition> {
        self.condition.as_ref()
    }

    /// Returns its fan-out.
    pub fn for_each(&self) -> Option<&ForEach> {
        self.for_each.as_ref()
    }

    /// Returns how long one attempt may take: always something for agents, for sub-workflows only
    /// what is written, nothing for other steps.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns how long the whole step may take, with retries and waiting.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// Returns how long it may wait for an agent.
    pub fn queue_timeout(&self) -> Option<Duration> {
        self.queue_timeout
    }

    /// Returns how long an attempt may go without progress.
    pub fn progress_within(&self) -> Option<Duration> {
        self.progress_within
    }

    /// Returns when it is tried again.
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// Returns the schema of its output.
    pub fn expect(&self) -> Option<&Schema> {
        self.expect.as_ref()
    }

    /// Returns the priority: 0 to 9, greater goes first.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// Returns which agents may take it.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Returns what its failure means for its scope.
    pub fn on_failure(&self) -> StepOnFailure {
        self.on_failure
    }

    /// Returns what makes it good when the run unwinds.
    pub fn compensate(&self) -> Option<&Fallback> {
        self.healing.as_ref()?.compensate.as_ref()
    }

    /// Returns the agent that takes over when attempts are used up.
    pub fn fallback(&self) -> Option<&Fallback> {
        self.healing.as_ref()?.fallback.as_ref()
    }

    /// Tells whether the run only goes forward once it is done.
    pub fn is_pivot(&self) -> bool {
        self.healing.as_ref().is_some_and(|healing| healing.pivot)
    }

    /// Returns what happens while the circuit breaker is open.
    pub fn when_open(&self) -> WhenOpen {
        self.healing.as_ref().map_or_else(WhenOpen::default, |healing| healing.when_open)
    }

    /// Returns its own circuit breaker.
    pub fn breaker(&self) -> Option<&Breaker> {
        self.healing.as_ref()?.breaker.as_ref()
    }

    /// Returns how a group restarts its steps.
    pub fn supervision(&self) -> Option<&Supervision> {
        self.healing.as_ref()?.supervision.as_ref()
    }
}
