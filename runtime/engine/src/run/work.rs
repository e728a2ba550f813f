//! What an agent is asked to do for a step: the step itself, its fallback, or what makes it good.

use std::collections::BTreeMap;
use std::time::Duration;

use compact_str::format_compact;
use skep_workflow::{Name, RetryPolicy, Schema, StepKind};

use super::{NodeId, Run};
use crate::effect::Care;

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
    pub(crate) labels: Option<[&'a BTreeMap<String, String>; 2]>,
}

impl Run {
    /// Returns what the definition says of the attempts of a step, its fallback or compensation.
    pub(crate) fn work(&self, id: NodeId) -> Work<'_> {
        let step = self.definition(id);
        if self.node(id).compensates.is_some()
            && let Some(remedy) = step.compensate()
        {
            return Work {
                capability: Some(&remedy.capability),
                timeout: Some(remedy.timeout),
                queue_timeout: None,
                retry: &remedy.retry,
                expect: None,
                labels: None,
            };
        }
        if self.node(id).fallback
            && let Some(remedy) = step.fallback()
        {
            return Work {
                capability: Some(&remedy.capability),
                timeout: Some(remedy.timeout),
                queue_timeout: step.queue_timeout(),
                retry: &remedy.retry,
                expect: step.expect(),
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
        Work {
            capability,
            timeout: step.timeout(),
            queue_timeout: step.queue_timeout(),
            retry: step.retry(),
            expect: step.expect(),
            labels: Some([&step.labels().require, &step.labels().prefer]),
        }
    }

    /// Returns what else the definition says of them. A fallback, and what makes good, wait for the
    /// breaker of their capability, as long as that takes: what the step itself asked for is over.
    pub(crate) fn care(&self, id: NodeId) -> Care {
        let (step, node) = (self.definition(id), self.node(id));
        let (is_retry, unless) = (node.is_repeated(), self.work(id).retry.unless.clone());
        if node.compensates.is_some() || node.fallback {
            return Care { is_retry, unless, ..Care::default() };
        }
        let breaker = step.breaker().map(|breaker| {
            let name = format_compact!("{}/{}", self.state.started.workflow, step.id());
            Box::new((name, breaker.clone()))
        });
        let (when_open, progress_within) = (step.when_open(), step.progress_within());
        Care { is_retry, breaker, when_open, progress_within, unless }
    }
}
