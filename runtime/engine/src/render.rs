//! What expressions see of a run, and how outputs are put together.

mod parts;
mod view;

use skep_protocol::{Failure, FailureKind, Payload};
use skep_workflow::{EvaluationError, Reference, Scope, StepIndex, Template};

use crate::desk::{Desk, Obstacle};
use crate::run::{NodeId, Run, ScopeId};
use parts::{Part, own_output, part_of};
use view::View;

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

/// Evaluates something for `reader`.
pub(crate) fn evaluate<T>(
    run: &Run,
    reader: Reader,
    reads: &[Reference],
    desk: &Desk<'_>,
    evaluate: impl FnOnce(&dyn Scope) -> Result<T, EvaluationError>,
) -> Result<T, Obstacle> {
    View::new(run, reader, reads, desk)?.seen(evaluate)
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
    view.seen(evaluate)
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
