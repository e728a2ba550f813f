//! Expressions, conditions and templates.
//!
//! The syntax is minijinja's, and minijinja parses it. Evaluation is our own, because the data of
//! a run is hostile: minijinja's fuel counts instructions, but not what a filter or an operator
//! makes of its operands, so that `"x" * 100000000` or `big | replace("a", big)` cost one unit.
//! Here every step of an evaluation pays for what it makes and looks at, numbers keep their JSON
//! type, and data is borrowed from the [`Scope`] instead of converted.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "JSON and minijinja's syntax tree are foreign enums: one arm says what the rest means"
)]

mod code;
mod compile;
mod evaluate;
mod filters;
mod names;
mod operators;
mod predicates;
mod shape;
mod template;
mod value;
mod view;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::limits;
use crate::name::Name;
use crate::workflow::StepIndex;
use code::Code;
use evaluate::{Draft, Machine};

pub(crate) use shape::Shape;
pub(crate) use template::{Written, condition, items, template};
pub(crate) use view::{Catalogue, Place, StepFacts, View};

/// What an expression may see. Only what it refers to is asked for.
pub trait Scope {
    /// Returns the value of an input.
    fn input(&self, name: &str) -> Option<Cow<'_, Value>>;
    /// Returns all inputs as one object.
    fn inputs(&self) -> Cow<'_, Value>;
    /// Returns the output of a step; `None` if it has none (not done, skipped, failed).
    fn step_output(&self, step: StepIndex) -> Option<Cow<'_, Value>>;
    /// Returns the outputs of a `for_each` step as an array in item order.
    fn step_outputs(&self, step: StepIndex) -> Option<Cow<'_, Value>>;
    /// Returns the JSON of a root, if it is at hand: what is copied out of it need not be read.
    /// Whatever it has is what the other functions say.
    fn raw(&self, _of: &Reference) -> Option<&RawValue> {
        None
    }
    /// Returns the status of a step, such as `completed`, `failed`, `skipped`.
    fn step_status(&self, step: StepIndex) -> &str;
    /// Returns the current item of the innermost `for_each`.
    fn item(&self) -> Option<Cow<'_, Value>> {
        None
    }
    /// Returns the position of the current item.
    fn index(&self) -> Option<u64> {
        None
    }
    /// Returns the id of the run.
    fn run_id(&self) -> Cow<'_, str>;
    /// Returns the name of the workflow.
    fn run_workflow(&self) -> Cow<'_, str>;
    /// Tells whether nothing has failed so far.
    fn success(&self) -> bool;
    /// Tells whether something has failed so far.
    fn failure(&self) -> bool;
    /// Returns the payload of the signal; only inside `wait_for.if`.
    fn signal(&self) -> Option<Cow<'_, Value>> {
        None
    }
    /// Returns the step's own output; only inside `compensate`.
    fn output(&self) -> Option<Cow<'_, Value>> {
        None
    }
    /// Returns the step's own failure; only inside `compensate` and `fallback`.
    fn error(&self) -> Option<Cow<'_, Value>> {
        None
    }
    /// Tells whether something undefined is `null` and no error: a compensation of a step of which
    /// nobody knows what came out has to run all the same.
    fn undefined_is_null(&self) -> bool {
        false
    }
}

/// What of a step is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepPart {
    /// `steps.ID.output`
    Output,
    /// `steps.ID.outputs`
    Outputs,
    /// `steps.ID.status`
    Status,
}

/// A root that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// `inputs.NAME`
    Input(Name),
    /// `inputs` as a whole.
    Inputs,
    /// `steps.ID.output`, `.outputs` or `.status`.
    Step(StepIndex, StepPart),
    /// `item`
    Item,
    /// `index`
    Index,
    /// `run.id`
    RunId,
    /// `run.workflow`
    RunWorkflow,
    /// `signal`
    Signal,
    /// `output`
    Output,
    /// `error`
    Error,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot evaluate `{expression}`: {problem}")]
pub struct EvaluationError {
    /// The expression as written, cut if it is long.
    pub expression: String,
    /// What is wrong.
    pub problem: String,
}

/// An expression, compiled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Inner>);

/// A JSON value with `${{ }}` in some of its strings, compiled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Template(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: Box<str>,
    code: Code,
    reads: Vec<Reference>,
}

impl Inner {
    fn new(text: &str, code: Code, mut reads: Vec<Reference>) -> Arc<Self> {
        reads.sort();
        reads.dedup();
        reads.shrink_to_fit();
        Arc::new(Self { text: text.into(), code, reads })
    }

    fn evaluate(&self, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        self.measured(Machine::new(scope), |draft| draft.into_value()).0
    }

    /// Returns what is made of the value once it is paid for, and what it cost.
    fn measured<'s, T>(
        &'s self,
        machine: Machine<'s>,
        make: impl FnOnce(Draft<'_>) -> Result<T, String>,
    ) -> (Result<T, EvaluationError>, usize) {
        let made = machine.draft(&self.code).and_then(within_depth).and_then(make);
        let made = made.map_err(|problem| {
            let expression = machine.failed().unwrap_or_else(|| self.quote());
            EvaluationError { expression: expression.chars().take(200).collect(), problem }
        });
        (made, machine.spent())
    }

    /// Returns what stands for it in a message if no expression in it is to blame.
    fn quote(&self) -> &str {
        match &self.code {
            _ if !self.text.is_empty() => &self.text,
            Code::Quoted(quote, _) => quote,
            _ => "${{ … }}",
        }
    }

    fn passthrough(&self) -> Option<&Reference> {
        let mut code = &self.code;
        while let Code::Quoted(_, inner) = code {
            code = inner;
        }
        match code {
            Code::Load(reference) => Some(reference),
            _ => None,
        }
    }
}

/// Refuses what could not be read back after it was stored.
fn within_depth(draft: Draft<'_>) -> Result<Draft<'_>, String> {
    if draft.is_within_depth(limits::VALUE_DEPTH) {
        return Ok(draft);
    }
    Err(format!("its value is nested deeper than {} levels", limits::VALUE_DEPTH))
}

impl Expression {
    /// Returns the expression as written, without delimiters; empty for a list of items.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Returns the distinct roots it reads, sorted.
    pub fn reads(&self) -> &[Reference] {
        &self.0.reads
    }

    /// Returns the reference if the expression is exactly one, such as `steps.a.output`.
    pub fn passthrough(&self) -> Option<&Reference> {
        self.0.passthrough()
    }

    /// Returns the value.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if something is undefined, of the wrong type, or too big.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        self.0.evaluate(scope)
    }
}

/// An expression that is true or false.
#[derive(Clone, Debug)]
pub struct Condition {
    expression: Expression,
    asks_status: bool,
}

impl Condition {
    /// Returns the expression.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// Tells whether it calls `failure()` or `always()`: then a skipped or failed need does not
    /// skip the step.
    pub fn asks_status(&self) -> bool {
        self.asks_status
    }

    /// Returns whether the condition holds.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] if there is no value or it is not a boolean.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, EvaluationError> {
        match self.expression.evaluate(scope)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(EvaluationError {
                expression: self.expression.text().chars().take(200).collect(),
                problem: format!(
                    "a condition must be true or false, but is {}",
                    value::kind(&other)
                ),
            }),
        }
    }
}

impl Template {
    /// Returns the reference if the template is exactly one, such as `${{ steps.a.output }}`:
    /// the payload can be passed on without parsing it.
    pub fn passthrough(&self) -> Option<&Reference> {
        self.0.passthrough()
    }

    /// Returns the distinct roots it reads, sorted.
    pub fn reads(&self) -> &[Reference] {
        &self.0.reads
    }

    /// Returns the value if nothing in it has to be evaluated.
    pub fn constant(&self) -> Option<&Value> {
        match &self.0.code {
            Code::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the value with everything substituted. What is substituted is never evaluated.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] of the first expression that has no value.
    pub fn render(&self, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        self.0.evaluate(scope)
    }

    /// Returns the JSON of the value, which is never made: what is substituted as it is goes from
    /// where it lies into the text, written as it was.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] of the first expression that has no value.
    pub fn render_raw(&self, scope: &dyn Scope) -> Result<Box<RawValue>, EvaluationError> {
        let write = |draft: Draft<'_>| to_raw_value(&draft);
        let machine = Machine::copying(scope);
        self.0.measured(machine, |draft| write(draft).map_err(|error| error.to_string())).0
    }
}

#[cfg(test)]
mod tests;
