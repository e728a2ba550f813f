//! One step of a checked workflow.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::StepIndex;
use crate::expression::{Condition, Expression, Template};
use crate::name::Name;
use crate::policy::{
    Breaker, Join, Labels, OnTimeout, RetryPolicy, StepOnFailure, Supervision, Tolerate, WhenOpen,
};
use crate::schema::Schema;

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

/// An agent that takes over (`fallback`) or makes good (`compensate`).
#[derive(Clone, Debug)]
pub struct Remedy {
    /// What the agent must offer.
    pub capability: Name,
    /// The input.
    pub with: Template,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// When it is tried again.
    pub retry: Arc<RetryPolicy>,
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

/// What a step does when things go wrong; most steps have none of it.
#[derive(Debug, Default)]
pub(crate) struct Healing {
    pub(crate) compensate: Option<Remedy>,
    pub(crate) fallback: Option<Remedy>,
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
    pub fn compensate(&self) -> Option<&Remedy> {
        self.healing.as_ref()?.compensate.as_ref()
    }

    /// Returns the agent that takes over when attempts are used up.
    pub fn fallback(&self) -> Option<&Remedy> {
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
