//! What expressions see of a run, and how outputs are put together.

mod parts;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use skep_protocol::{Failure, FailureKind, Payload};
use skep_workflow::{EvaluationError, Reference, Scope, StepIndex, StepPart, Template};

use crate::desk::{Desk, Obstacle};
use crate::run::{NodeId, Run, ScopeId};
use parts::{Part, own_error, own_output, part_of};

/// Who asks: a step, or the run itself for its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A step.
    Step(NodeId),
    /// A step whose own items do not exist yet: `item` is that of the enclosing one.
    Around(NodeId),
    /// The fallback of a step: sees why its attempts came to nothing.
    Fallback(NodeId),
    /// The compensation of a step: sees what came out, and what was kept for it. Something
    /// undefined is null, for it has to run even if nobody knows what the step did.
    Compensation(NodeId),
    /// The run.
    Run,
}

impl Reader {
    fn node(self) -> Option<NodeId> {
        match self {
            Self::Step(id) | Self::Around(id) | Self::Fallback(id) | Self::Compensation(id) => {
                Some(id)
            }
            Self::Run => None,
        }
    }

    const fn sees(self) -> Sees {
        match self {
            Self::Compensation(_) => Sees::Last,
            Self::Step(_) | Self::Around(_) | Self::Fallback(_) | Self::Run => Sees::Now,
        }
    }
}

/// Which outputs are seen of steps that started over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sees {
    /// None, until they complete again.
    Now,
    /// Those of the last time that they completed.
    Last,
}

/// What one evaluation sees: exactly what it reads, looked up before.
struct View<'a> {
    run: &'a Run,
    reader: Reader,
    inputs: Option<Arc<Value>>,
    parts: Vec<(StepIndex, StepPart, Arc<Value>)>,
    item: Option<Arc<Value>>,
    signal: Option<Value>,
    output: Option<Arc<Value>>,
    error: Option<Value>,
}

/// Evaluates something for `reader`.
pub(crate) fn evaluate<T>(
    run: &Run,
    reader: Reader,
    reads: &[Reference],
    desk: &Desk<'_>,
    evaluate: impl FnOnce(&dyn Scope) -> Result<T, EvaluationError>,
) -> Result<T, Obstacle> {
    let view = View::new(run, reader, reads, desk)?;
    evaluate(&view).map_err(expression_failure)
}

/// Evaluates something that sees a signal.
pub(crate) fn evaluate_with_signal<T>(
    run: &Run,
    id: NodeId,
    (reads, signal): (&[Reference], &Payload),
    desk: &Desk<'_>,
    evaluate: impl FnOnce(&dyn Scope) -> Result<T, EvaluationError>,
) -> Result<T, Obstacle> {
    let mut view = View::new(run, Reader::Step(id), reads, desk)?;
    view.signal = Some(desk.value(signal)?);
    evaluate(&view).map_err(expression_failure)
}

fn expression_failure(error: EvaluationError) -> Obstacle {
    Failure::new(FailureKind::Expression, "expression", error.to_string()).fatal().into()
}

/// Renders a template; what is passed on as it is, is not parsed.
pub(crate) fn render(
    run: &Run,
    reader: Reader,
    template: &Template,
    desk: &Desk<'_>,
) -> Result<Payload, Obstacle> {
    match passed_on(run, reader, template, desk)? {
        Some(Part::Stored(payload)) => Ok(payload),
        Some(Part::Made(text)) => desk.payload(text),
        None => {
            let scope = |scope: &dyn Scope| template.render_raw(scope);
            desk.rendered(evaluate(run, reader, template.reads(), desk, scope)?)
        }
    }
}

/// Renders a template into a text.
pub(crate) fn render_into(
    run: &Run,
    (reader, template): (Reader, &Template),
    desk: &Desk<'_>,
    text: &mut String,
) -> Result<(), Obstacle> {
    match passed_on(run, reader, template, desk)? {
        Some(Part::Stored(payload)) => text.push_str(desk.text(&payload)?),
        Some(Part::Made(made)) => text.push_str(&made),
        None => {
            let scope = |scope: &dyn Scope| template.render_raw(scope);
            text.push_str(evaluate(run, reader, template.reads(), desk, scope)?.get());
        }
    }
    Ok(())
}

fn passed_on(
    run: &Run,
    reader: Reader,
    template: &Template,
    desk: &Desk<'_>,
) -> Result<Option<Part>, Obstacle> {
    match template.passthrough() {
        Some(Reference::Inputs) => Ok(Some(Part::Stored(run.state.started.inputs.clone()))),
        Some(Reference::Item) => Ok(item_payload(run, reader).cloned().map(Part::Stored)),
        Some(Reference::Output) => match reader {
            Reader::Compensation(id) => own_output(run, id, desk),
            Reader::Step(_) | Reader::Around(_) | Reader::Fallback(_) | Reader::Run => Ok(None),
        },
        Some(Reference::Step(step, part)) => match visible(run, reader, *step) {
            Some(id) => part_of(run, id, (*part, reader.sees()), desk),
            None => Ok(None),
        },
        Some(
            Reference::Input(_)
            | Reference::Index
            | Reference::RunId
            | Reference::RunWorkflow
            | Reference::Signal
            | Reference::Error,
        )
        | None => Ok(None),
    }
}

fn visible(run: &Run, reader: Reader, step: StepIndex) -> Option<NodeId> {
    let scope = reader.node().map_or(ScopeId::ROOT, |id| run.node(id).scope);
    run.visible_from(scope, step)
}

/// Returns the innermost item that the reader sees.
fn item(run: &Run, reader: Reader) -> Option<(NodeId, u32)> {
    match reader {
        Reader::Step(id) | Reader::Fallback(id) | Reader::Compensation(id) => run.nearest_item(id),
        Reader::Around(id) => run.nearest_item(run.scope(run.node(id).scope).owner?),
        Reader::Run => None,
    }
}

fn item_payload(run: &Run, reader: Reader) -> Option<&Payload> {
    if let Reader::Compensation(id) = reader
        && let Some(item) = run.node(id).deed.as_ref().and_then(|deed| deed.item.as_ref())
    {
        return Some(item);
    }
    run.state.items.get(&item(run, reader)?.0)
}

impl<'a> View<'a> {
    fn new(
        run: &'a Run,
        reader: Reader,
        reads: &[Reference],
        desk: &Desk<'_>,
    ) -> Result<Self, Obstacle> {
        let mut view = Self {
            run,
            reader,
            inputs: None,
            parts: Vec::new(),
            item: None,
            signal: None,
            output: None,
            error: None,
        };
        let mut missing = false;
        for read in reads {
            match view.look_up(read, desk) {
                Ok(()) => {}
                Err(Obstacle::Missing) => missing = true,
                Err(Obstacle::Failure(failure)) => return Err(Obstacle::Failure(failure)),
            }
        }
        if missing { Err(Obstacle::Missing) } else { Ok(view) }
    }

    fn look_up(&mut self, read: &Reference, desk: &Desk<'_>) -> Result<(), Obstacle> {
        let run = self.run;
        match read {
            Reference::Input(_) | Reference::Inputs => {
                self.inputs = Some(match run.inputs() {
                    Some(inputs) => inputs,
                    None => {
                        let inputs = Arc::new(desk.value(&run.state.started.inputs)?);
                        run.keep_inputs(&inputs);
                        inputs
                    }
                });
            }
            Reference::Step(step, part) => {
                let Some(id) = visible(run, self.reader, *step) else { return Ok(()) };
                let key = (run.id(), id, *part);
                let value = desk.parsed(key, || {
                    match part_of(run, id, (*part, self.reader.sees()), desk)? {
                        Some(Part::Stored(payload)) => desk.value(&payload).map(Some),
                        Some(Part::Made(text)) => desk.parse(&text).map(Some),
                        None => Ok(None),
                    }
                })?;
                self.parts.extend(value.map(|value| (*step, *part, value)));
            }
            Reference::Item => {
                if let Some(payload) = item_payload(run, self.reader) {
                    self.item = Some(Arc::new(desk.value(payload)?));
                }
            }
            Reference::Output => {
                if let Reader::Compensation(id) = self.reader {
                    self.output = match own_output(run, id, desk)? {
                        Some(Part::Stored(payload)) => Some(Arc::new(desk.value(&payload)?)),
                        Some(Part::Made(text)) => Some(Arc::new(desk.parse(&text)?)),
                        None => None,
                    };
                }
            }
            Reference::Error => {
                self.error = self.reader.node().and_then(|id| own_error(run, id));
            }
            Reference::Index | Reference::RunId | Reference::RunWorkflow | Reference::Signal => {}
        }
        Ok(())
    }

    fn part(&self, step: StepIndex, part: StepPart) -> Option<Cow<'_, Value>> {
        let found = self.parts.iter().find(|(s, p, _)| (*s, *p) == (step, part))?;
        Some(Cow::Borrowed(&*found.2))
    }

    fn troubled(&self) -> bool {
        match self.reader.node() {
            Some(id) => self.run.node(id).needs.troubled > 0,
            None => self.run.scope(ScopeId::ROOT).failed.is_some(),
        }
    }
}

impl Scope for View<'_> {
    fn input(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.inputs.as_ref()?.get(name).map(Cow::Borrowed)
    }

    fn inputs(&self) -> Cow<'_, Value> {
        match &self.inputs {
            Some(inputs) => Cow::Borrowed(&**inputs),
            None => Cow::Owned(Value::Null),
        }
    }

    fn step_output(&self, step: StepIndex) -> Option<Cow<'_, Value>> {
        self.part(step, StepPart::Output)
    }

    fn step_outputs(&self, step: StepIndex) -> Option<Cow<'_, Value>> {
        self.part(step, StepPart::Outputs)
    }

    fn step_status(&self, step: StepIndex) -> &str {
        let id = visible(self.run, self.reader, step);
        id.map_or("pending", |id| self.run.node(id).phase.status().as_str())
    }

    fn item(&self) -> Option<Cow<'_, Value>> {
        self.item.as_deref().map(Cow::Borrowed)
    }

    fn index(&self) -> Option<u64> {
        item(self.run, self.reader).map(|(_, index)| u64::from(index))
    }

    fn run_id(&self) -> Cow<'_, str> {
        Cow::Owned(self.run.id().to_string())
    }

    fn run_workflow(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.run.state.started.workflow)
    }

    fn success(&self) -> bool {
        !self.troubled()
    }

    fn failure(&self) -> bool {
        self.troubled()
    }

    fn signal(&self) -> Option<Cow<'_, Value>> {
        self.signal.as_ref().map(Cow::Borrowed)
    }

    fn output(&self) -> Option<Cow<'_, Value>> {
        self.output.as_deref().map(Cow::Borrowed)
    }

    fn error(&self) -> Option<Cow<'_, Value>> {
        self.error.as_ref().map(Cow::Borrowed)
    }

    fn undefined_is_null(&self) -> bool {
        matches!(self.reader, Reader::Compensation(_))
    }
}
