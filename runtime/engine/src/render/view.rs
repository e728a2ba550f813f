//! What one evaluation sees.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use skep_protocol::Payload;
use skep_workflow::{EvaluationError, Reference, Scope, StepIndex, StepPart};

use super::parts::{Part, own_error, own_output, part_of};
use super::{Reader, expression_failure, item, item_payload, visible};
use crate::desk::{Desk, Obstacle};
use crate::run::{NodeId, Run, ScopeId};

/// Exactly what an evaluation reads, looked up before. What is only copied is not parsed.
pub(super) struct View<'a> {
    run: &'a Run,
    reader: Reader,
    desk: &'a Desk<'a>,
    inputs: Option<Known>,
    parts: Vec<(StepIndex, StepPart, Known)>,
    item: Option<Known>,
    pub(super) signal: Option<Value>,
    output: Option<Arc<Value>>,
    error: Option<Value>,
    /// Why something could not be parsed.
    obstacle: Cell<Option<Obstacle>>,
}

/// A value that was looked up.
#[derive(Default)]
struct Known {
    text: Option<Arc<RawValue>>,
    value: OnceCell<Arc<Value>>,
}

impl Known {
    fn parsed(value: Arc<Value>) -> Self {
        Self { text: None, value: OnceCell::from(value) }
    }

    /// Returns what a payload is: as JSON, if it lies here.
    fn of(payload: &Payload, desk: &Desk<'_>) -> Result<Self, Obstacle> {
        match payload {
            Payload::Json(text) => {
                Ok(Self { text: Some(Arc::clone(text)), value: OnceCell::new() })
            }
            Payload::Blob(_) => desk.value(payload).map(|value| Self::parsed(Arc::new(value))),
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn new(
        run: &'a Run,
        reader: Reader,
        reads: &[Reference],
        desk: &'a Desk<'a>,
    ) -> Result<Self, Obstacle> {
        let mut view = Self {
            run,
            reader,
            desk,
            inputs: None,
            parts: Vec::new(),
            item: None,
            signal: None,
            output: None,
            error: None,
            obstacle: Cell::new(None),
        };
        let mut missing = false;
        for read in reads {
            match view.look_up(read) {
                Ok(()) => {}
                Err(Obstacle::Missing) => missing = true,
                Err(Obstacle::Failure(failure)) => return Err(Obstacle::Failure(failure)),
            }
        }
        if missing { Err(Obstacle::Missing) } else { Ok(view) }
    }

    /// Evaluates something that sees this.
    pub(super) fn seen<T>(
        self,
        evaluate: impl FnOnce(&dyn Scope) -> Result<T, EvaluationError>,
    ) -> Result<T, Obstacle> {
        let evaluated = evaluate(&self);
        match self.obstacle.into_inner() {
            Some(obstacle) => Err(obstacle),
            None => evaluated.map_err(expression_failure),
        }
    }

    fn look_up(&mut self, read: &Reference) -> Result<(), Obstacle> {
        let (run, desk) = (self.run, self.desk);
        match read {
            Reference::Input(_) | Reference::Inputs => {
                self.inputs = Some(match run.kept_inputs() {
                    Some(inputs) => Known::parsed(inputs),
                    None => {
                        let known = Known::of(&run.state.started.inputs, desk)?;
                        // Those that had to be fetched.
                        if let Some(value) = known.value.get() {
                            run.keep_inputs(value);
                        }
                        known
                    }
                });
            }
            Reference::Step(step, part) => {
                let Some(id) = visible(run, self.reader, *step) else { return Ok(()) };
                let known = match desk.known((run.id(), id, *part)) {
                    Some(value) => Some(Known::parsed(value)),
                    None => self.part_of(id, *part)?,
                };
                self.parts.extend(known.map(|known| (*step, *part, known)));
            }
            Reference::Item => {
                let payload = item_payload(run, self.reader);
                self.item = payload.map(|payload| Known::of(payload, desk)).transpose()?;
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

    fn part_of(&self, id: NodeId, part: StepPart) -> Result<Option<Known>, Obstacle> {
        let key = (self.run.id(), id, part);
        match part_of(self.run, id, (part, self.reader.sees()), self.desk)? {
            Some(Part::Stored(payload @ Payload::Json(_))) => {
                Known::of(&payload, self.desk).map(Some)
            }
            Some(Part::Stored(payload @ Payload::Blob(_))) => {
                let value = self.desk.value(&payload)?;
                Ok(Some(Known::parsed(self.desk.keep(key, value))))
            }
            Some(Part::Made(text)) => {
                let value = self.desk.parse(&text)?;
                Ok(Some(Known::parsed(self.desk.keep(key, value))))
            }
            None => Ok(None),
        }
    }

    /// Returns the value of something, parsed if it was not before.
    fn value<'k>(
        &self,
        known: &'k Known,
        keep: impl FnOnce(Value) -> Arc<Value>,
    ) -> Option<&'k Value> {
        if let (None, Some(text)) = (known.value.get(), &known.text) {
            match self.desk.parse(text.get()) {
                Ok(value) => drop(known.value.set(keep(value))),
                Err(obstacle) => self.obstacle.set(Some(obstacle)),
            }
        }
        known.value.get().map(|value| &**value)
    }

    fn all_inputs(&self) -> Option<&Value> {
        self.value(self.inputs.as_ref()?, |value| {
            let value = Arc::new(value);
            self.run.keep_inputs(&value);
            value
        })
    }

    fn known_part(&self, step: StepIndex, part: StepPart) -> Option<&Known> {
        let found = self.parts.iter().find(|(s, p, _)| (*s, *p) == (step, part))?;
        Some(&found.2)
    }

    fn part(&self, step: StepIndex, part: StepPart) -> Option<Cow<'_, Value>> {
        let known = self.known_part(step, part)?;
        let id = visible(self.run, self.reader, step)?;
        let key = (self.run.id(), id, part);
        self.value(known, |value| self.desk.keep(key, value)).map(Cow::Borrowed)
    }

    fn troubled(&self) -> bool {
        match self.reader.node() {
            Some(id) => self.run.node(id).needs.troubled > 0,
            None => self.run.scope(ScopeId::ROOT).failed.is_some(),
        }
    }
}

impl Scope for View<'_> {
    fn raw(&self, of: &Reference) -> Option<&RawValue> {
        let known = match of {
            Reference::Inputs => self.inputs.as_ref(),
            Reference::Step(step, part) => self.known_part(*step, *part),
            Reference::Item => self.item.as_ref(),
            Reference::Input(_)
            | Reference::Index
            | Reference::RunId
            | Reference::RunWorkflow
            | Reference::Signal
            | Reference::Output
            | Reference::Error => None,
        };
        known?.text.as_deref()
    }

    fn input(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.all_inputs()?.get(name).map(Cow::Borrowed)
    }

    fn inputs(&self) -> Cow<'_, Value> {
        self.all_inputs().map_or(Cow::Owned(Value::Null), Cow::Borrowed)
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
        self.value(self.item.as_ref()?, Arc::new).map(Cow::Borrowed)
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
