//! What a step is: a task, a sub-workflow, a wait, a signal, a group.

use super::One;
use crate::check::kinds::Kind;
use crate::check::policies;
use crate::definition::{
    Any, At, StepDefinition, Text, UntilDefinition, WaitForDefinition, WaitText,
};
use crate::diagnostic::codes;
use crate::expression::{Place, View, condition};
use crate::name::Name;
use crate::parse::{Data, Node};
use crate::workflow::{StepKind, WaitFor};

impl One<'_, '_, '_> {
    pub(super) fn kind(&mut self, definition: &StepDefinition, kind: Kind) -> Option<StepKind> {
        match kind {
            Kind::Agent => {
                let with = self.with(definition.with.as_ref(), Place::Step);
                let capability = Name::new_unchecked(&definition.agent.as_ref()?.value.0);
                Some(StepKind::Agent { capability, with: with? })
            }
            Kind::Workflow => {
                let with = self.with(definition.with.as_ref(), Place::Step);
                self.with_is_a_map(definition);
                let called = &definition.workflow.as_ref()?.value;
                Some(StepKind::Workflow {
                    name: Name::new_unchecked(&called.name),
                    version: called.version.clone(),
                    with: with?,
                })
            }
            Kind::Wait => match &definition.wait.as_ref()?.value {
                WaitText::Duration(duration) => Some(StepKind::Wait(WaitFor::Duration(duration.0))),
                WaitText::Until(until) => self.until(until),
            },
            Kind::Signal => self.signal(&definition.wait_for.as_ref()?.value),
            Kind::Group => Some(StepKind::Group),
        }
    }

    /// The inputs of a sub-workflow have names.
    fn with_is_a_map(&mut self, definition: &StepDefinition) {
        let Some(At { value: Any(node), span }) = &definition.with else { return };
        if matches!(node.data, Data::Map(_) | Data::Text(_)) {
            return;
        }
        let message = format!("`with` of a sub-workflow must be a map, but is {}", node.kind());
        self.builder
            .problems
            .error(codes::WRONG_TYPE, *span, message)
            .help("it gives each input a value by name");
    }

    fn until(&mut self, definition: &UntilDefinition) -> Option<StepKind> {
        let At { value: Text(text), span } = definition.until.as_ref()?;
        let node = Node { span: *span, data: Data::Text(text.as_str().into()) };
        let until = self.template(&node, Place::Step)?;
        if until.constant().is_some() && text.parse::<jiff::Timestamp>().is_err() {
            self.builder
                .problems
                .error(codes::INVALID_TIMESTAMP, *span, "`until` is not a timestamp")
                .help("write it as in RFC 3339, with an offset: `2026-12-24T18:00:00Z`");
            return None;
        }
        Some(StepKind::Wait(WaitFor::Until(until)))
    }

    fn signal(&mut self, definition: &WaitForDefinition) -> Option<StepKind> {
        let timeout =
            policies::positive(definition.timeout.as_ref(), "`timeout`", self.builder.problems);
        if let Some(at) = &definition.on_timeout
            && definition.keys.span("timeout").is_none()
        {
            self.builder
                .problems
                .error(codes::LONELY_KEY, at.span, "`on_timeout` means nothing without `timeout`")
                .help("add `timeout: 24h` or remove `on_timeout`");
        }
        let condition = match &definition.condition {
            None => None,
            Some(At { value, .. }) => {
                let view = View {
                    catalogue: self.builder.catalogue,
                    owner: Some(self.index),
                    place: Place::Signal,
                    item: self.inner.clone(),
                };
                let written = condition(&value.0, self.builder.text, &view, self.builder.problems)?;
                Some(self.note(Place::Signal, written))
            }
        };
        Some(StepKind::Signal {
            name: Name::new_unchecked(&definition.signal.as_ref()?.value.0),
            condition,
            timeout,
            on_timeout: definition.on_timeout.as_ref().map(|at| at.value).unwrap_or_default(),
        })
    }
}
