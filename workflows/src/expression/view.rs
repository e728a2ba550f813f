//! What the expressions at one place of a definition may see.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::Value;

use super::shape::{Found, Shape, element, field};
use crate::diagnostic::Span;
use crate::workflow::StepIndex;

/// What is known about a step before any expression is looked at.
#[derive(Debug)]
pub(crate) struct StepFacts<'a> {
    pub(crate) id: &'a str,
    pub(crate) parent: Option<StepIndex>,
    pub(crate) children: Vec<StepIndex>,
    pub(crate) is_group: bool,
    pub(crate) has_items: bool,
    pub(crate) expect: Option<&'a Value>,
}

/// The steps and inputs of a definition.
#[derive(Debug)]
pub(crate) struct Catalogue<'a> {
    pub(crate) steps: Vec<StepFacts<'a>>,
    /// Whether these are all; if not, which was reported, any id may be that of a step.
    pub(crate) steps_known: bool,
    pub(crate) by_id: HashMap<&'a str, StepIndex>,
    /// Steps that exist but could not be decoded, which was reported.
    pub(crate) broken: HashSet<&'a str>,
    pub(crate) input_names: Vec<&'a str>,
    /// The schema of each input; `None` if it was not valid, which was reported.
    pub(crate) inputs: HashMap<&'a str, Option<&'a Value>>,
}

impl<'a> Catalogue<'a> {
    pub(crate) fn step(&self, index: StepIndex) -> &StepFacts<'a> {
        &self.steps[index.as_usize()]
    }

    /// Returns the ids of all steps, in the order of the file.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &'a str> {
        self.steps.iter().map(|step| step.id)
    }

    /// Returns what is known about the output of one run of a step.
    pub(crate) fn output(&self, index: StepIndex) -> Shape<'a> {
        let step = self.step(index);
        match step.expect {
            _ if step.is_group => Shape::Group(index),
            Some(schema) => Shape::Json(schema),
            None => Shape::Any,
        }
    }

    /// Returns what is known about `output`, or `outputs` of a step with items.
    pub(crate) fn result(&self, index: StepIndex) -> Shape<'a> {
        let output = self.output(index);
        if self.step(index).has_items { Shape::ListOf(Box::new(output)) } else { output }
    }

    /// Looks at a field of a value.
    pub(crate) fn field(&self, shape: &Shape<'a>, name: &str) -> Found<'a> {
        match shape {
            Shape::Any => Found::Shape(Shape::Any),
            Shape::Json(schema) => field(schema, name),
            Shape::ListOf(_) => Found::Excluded("it is a list".to_owned(), Vec::new()),
            Shape::Group(group) => match self.by_id.get(name) {
                Some(inner) if self.step(*inner).parent == Some(*group) => {
                    Found::Shape(self.result(*inner))
                }
                _ if self.broken.contains(name) => Found::Shape(Shape::Any),
                _ => {
                    let group = self.step(*group);
                    let inner = group.children.iter().take(20).map(|inner| self.step(*inner).id);
                    let why = format!("the group `{}` has no such step", group.id);
                    Found::Excluded(why, inner.collect())
                }
            },
        }
    }

    /// Looks at an element of a value.
    pub(crate) fn element(&self, shape: &Shape<'a>, at: Option<usize>) -> Found<'a> {
        match shape {
            Shape::Any => Found::Shape(Shape::Any),
            Shape::Json(schema) => element(schema, at),
            Shape::ListOf(inner) => Found::Shape(inner.as_ref().clone()),
            Shape::Group(_) => {
                Found::Excluded("the output of a group is a map".to_owned(), Vec::new())
            }
        }
    }
}

/// Where an expression stands, which decides what it may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Any key of a step that has no place of its own.
    Step,
    /// `wait_for.if`: sees `signal`.
    Signal,
    /// `compensate`: sees `output` and `error`.
    Compensate,
    /// `fallback`: sees `error`.
    Fallback,
    /// `outputs` of the workflow.
    Outputs,
}

/// What the expressions at one place may see.
#[derive(Clone, Debug)]
pub(crate) struct View<'a, 'c> {
    pub(crate) catalogue: &'c Catalogue<'a>,
    /// The step they belong to.
    pub(crate) owner: Option<StepIndex>,
    pub(crate) place: Place,
    /// What is known about `item`; `None` where there is none.
    pub(crate) item: Option<Shape<'a>>,
}

impl View<'_, '_> {
    /// Tells whether the owner may read a step: one of its scope or of a scope around it.
    pub(crate) fn can_see(&self, step: StepIndex) -> bool {
        let scope = self.catalogue.step(step).parent;
        let mut at = self.owner;
        loop {
            let parent = at.and_then(|at| self.catalogue.step(at).parent);
            if parent == scope {
                return true;
            }
            match parent {
                Some(parent) => at = Some(parent),
                None => return false,
            }
        }
    }

    /// Tells whether a step is the owner or a group around it.
    pub(crate) fn is_around(&self, step: StepIndex) -> bool {
        let mut at = self.owner;
        while let Some(index) = at {
            if index == step {
                return true;
            }
            at = self.catalogue.step(index).parent;
        }
        false
    }
}

/// A text of the definition and where it stands in the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<'t> {
    pub(crate) text: &'t str,
    span: Span,
    raw: &'t str,
    /// Where the text begins in `raw`, if it stands there letter by letter.
    shift: Option<usize>,
}

/// In longer texts that are folded or escaped, problems point at the whole.
const SEARCHED_BYTES: usize = 16 * 1024;

impl<'t> Located<'t> {
    pub(crate) fn new(text: &'t str, span: Span, source: &'t str) -> Self {
        let start = span.offset as usize;
        let raw = source.get(start..start + span.len as usize).unwrap_or_default();
        let shift = if raw == text {
            Some(0)
        } else {
            raw.strip_prefix(['"', '\'']).filter(|inner| inner.starts_with(text)).map(|_| 1)
        };
        Self { text, span, raw, shift }
    }

    /// Returns where a part of the text stands, or the whole if escapes or folding hide it.
    pub(crate) fn span(&self, part: Range<usize>) -> Span {
        let wanted = self.text.get(part.clone()).unwrap_or_default();
        let at = |offset: usize| Span {
            offset: (self.span.offset as usize + offset) as u32,
            len: wanted.len().max(1) as u32,
        };
        if let Some(shift) = self.shift {
            return at(shift + part.start);
        }
        if self.raw.len() > SEARCHED_BYTES || wanted.trim().is_empty() {
            return self.span;
        }
        // A part that occurs several times is found by how often it occurs before.
        let before = self.text.get(..part.start).unwrap_or_default().matches(wanted).count();
        self.raw.match_indices(wanted).nth(before).map_or(self.span, |(offset, _)| at(offset))
    }
}
