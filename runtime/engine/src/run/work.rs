//! What an agent is asked to do for a step: the step itself, its fallback, or what makes it good.

use std::collections::BTreeMap;
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use skep_workflow::{Name, RetryPolicy, Schema, Step, StepKind};

use super::{NodeId, Run};
use crate::effect::TaskSpec;

/// Who performs a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Performer {
    /// Its own agent.
    Own,
    /// That of its fallback, once its own attempts are used up.
    Fallback,
    /// That of its compensation, which makes it good.
    Compensation,
}

/// What the definition says of the attempts of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work<'a> {
    /// What an agent must offer; none if agents are not asked.
    pub(crate) capability: Option<&'a Name>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) retry: &'a RetryPolicy,
    pub(crate) expect: Option<&'a Schema>,
    /// The labels that an agent must have, and those that make it more welcome.
    labels: Option<[&'a BTreeMap<String, String>; 2]>,
}

impl<'a> Work<'a> {
    fn of(step: &'a Step, performer: Performer) -> Self {
        let (remedy, queue_timeout, expect) = match performer {
            Performer::Own => (None, None, None),
            Performer::Fallback => (step.fallback(), step.queue_timeout(), step.expect()),
            Performer::Compensation => (step.compensate(), None, None),
        };
        if let Some(remedy) = remedy {
            return Self {
                capability: Some(&remedy.capability),
                timeout: Some(remedy.timeout),
                queue_timeout,
                retry: &remedy.retry,
                expect,
                labels: None,
            };
        }
        let capability = match step.kind() {
            StepKind::Agent { capability, .. } => Some(capability),
            StepKind::Workflow { .. }
            | StepKind::Wait(_)
            | StepKind::Signal { .. }
            | StepKind::Group => None,
        };
        Self {
            capability,
            timeout: step.timeout(),
            queue_timeout: step.queue_timeout(),
            retry: step.retry(),
            expect: step.expect(),
            labels: Some([&step.labels().require, &step.labels().prefer]),
        }
    }
}

impl TaskSpec {
    /// Works out what the attempts of a step have in common; nothing if no agent is asked.
    ///
    /// A fallback, and what makes good, wait for the breaker of their capability, as long as that
    /// takes: what the step itself asked for is over.
    pub(crate) fn new(workflow: &Name, step: &Step, performer: Performer) -> Option<Self> {
        let work = Work::of(step, performer);
        let [labels, prefer] =
            work.labels.map_or_else(Default::default, |both| both.map(Clone::clone));
        let timeout = work.timeout.map_or(u128::MAX, |timeout| timeout.as_millis());
        let spec = Self {
            workflow: workflow.to_string(),
            capability: CompactString::new(work.capability?),
            timeout_ms: u64::try_from(timeout).unwrap_or(u64::MAX),
            priority: step.priority(),
            labels,
            prefer,
            unless: work.retry.unless.clone(),
            ..Self::default()
        };
        if performer != Performer::Own {
            return Some(spec);
        }
        let named = |breaker| (format_compact!("{workflow}/{}", step.id()), breaker);
        Some(Self {
            breaker: step.breaker().cloned().map(named),
            when_open: step.when_open(),
            progress_within: step.progress_within(),
            ..spec
        })
    }
}

impl Run {
    /// Returns who performs a step at present.
    pub(crate) fn performer(&self, id: NodeId) -> Performer {
        let node = self.node(id);
        if node.compensates.is_some() {
            Performer::Compensation
        } else if node.fallback {
            Performer::Fallback
        } else {
            Performer::Own
        }
    }

    /// Returns what the definition says of the attempts of a step, its fallback or compensation.
    pub(crate) fn work(&self, id: NodeId) -> Work<'_> {
        Work::of(self.definition(id), self.performer(id))
    }
}
