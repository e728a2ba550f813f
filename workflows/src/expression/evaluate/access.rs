//! How an expression reaches its data: roots, fields, indexes, slices.

use std::borrow::Cow;

use serde_json::Value;

use super::cost::LOOK_UP;
use super::{Evaluated, Item, Machine};
use crate::expression::code::Code;
use crate::expression::value::{kind, short};
use crate::expression::{Reference, StepPart, operators};

impl<'s> Machine<'s> {
    pub(super) fn load(&self, reference: &'s Reference) -> Evaluated<'s> {
        let scope = self.scope;
        let found = match reference {
            Reference::Input(name) => scope.input(name),
            Reference::Inputs => Some(scope.inputs()),
            Reference::Step(step, StepPart::Output) => scope.step_output(*step),
            Reference::Step(step, StepPart::Outputs) => scope.step_outputs(*step),
            Reference::Step(step, StepPart::Status) => {
                Some(Cow::Owned(Value::from(scope.step_status(*step))))
            }
            Reference::Item => scope.item(),
            Reference::Index => scope.index().map(|index| Cow::Owned(Value::from(index))),
            Reference::RunId => Some(Cow::Owned(Value::from(scope.run_id().as_ref()))),
            Reference::RunWorkflow => Some(Cow::Owned(Value::from(scope.run_workflow().as_ref()))),
            Reference::Signal => scope.signal(),
            Reference::Output => scope.output(),
            Reference::Error => scope.error(),
        };
        if let Some(Cow::Owned(value)) = &found {
            self.pay_for_copy(value)?;
        }
        Ok(found.map_or_else(|| Item::Undefined(self.describe(reference)), Item::Value))
    }

    /// Says what has no value; of a step, also why.
    fn describe(&self, reference: &Reference) -> String {
        let of_step = |step, part| {
            let status = self.scope.step_status(step);
            format!("without a `default`, the `{part}` of a {status} step")
        };
        match reference {
            Reference::Input(name) => format!("the input `{name}`"),
            Reference::Inputs => "`inputs`".to_owned(),
            Reference::Step(step, StepPart::Output) => of_step(*step, "output"),
            Reference::Step(step, StepPart::Outputs) => of_step(*step, "outputs"),
            Reference::Step(step, StepPart::Status) => of_step(*step, "status"),
            Reference::Item => "`item`".to_owned(),
            Reference::Index => "`index`".to_owned(),
            Reference::RunId => "`run.id`".to_owned(),
            Reference::RunWorkflow => "`run.workflow`".to_owned(),
            Reference::Signal => "`signal`".to_owned(),
            Reference::Output => "`output`".to_owned(),
            Reference::Error => "`error`".to_owned(),
        }
    }

    /// Returns a field; that of something undefined is undefined too, so that `default` can help.
    pub(super) fn field(&self, of: &'s Code, name: &str) -> Evaluated<'s> {
        let value = match self.evaluate(of)? {
            Item::Value(value) => value,
            undefined @ Item::Undefined(_) => return Ok(undefined),
        };
        self.pay(LOOK_UP + name.len())?;
        Ok(match value {
            Cow::Borrowed(Value::Object(map)) => map.get(name).map(Cow::Borrowed),
            Cow::Owned(Value::Object(mut map)) => map.remove(name).map(Cow::Owned),
            other => {
                return Err(format!("{} has no field `{}`", kind(&other), short(name)));
            }
        }
        .map_or_else(|| Item::Undefined(format!("the field `{}`", short(name))), Item::Value))
    }

    pub(super) fn item(&self, of: &'s Code, at: &'s Code) -> Evaluated<'s> {
        let at = self.value(at)?;
        if let Value::String(name) = at.as_ref() {
            return self.field(of, name);
        }
        let value = match self.evaluate(of)? {
            Item::Value(value) => value,
            undefined @ Item::Undefined(_) => return Ok(undefined),
        };
        let Some(at) = at.as_i64() else {
            return Err(format!("{} cannot be an index", kind(&at)));
        };
        let position = |len: usize| {
            let from_end = at < 0;
            let distance = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
            if from_end { len.checked_sub(distance) } else { Some(distance) }
        };
        Ok(match value {
            Cow::Borrowed(Value::Array(items)) => {
                position(items.len()).and_then(|at| items.get(at)).map(Cow::Borrowed)
            }
            Cow::Owned(Value::Array(mut items)) => position(items.len())
                .filter(|at| *at < items.len())
                .map(|at| Cow::Owned(items.swap_remove(at))),
            other => return Err(format!("{} has no index {at}", kind(&other))),
        }
        .map_or_else(|| Item::Undefined(format!("the index {at}")), Item::Value))
    }

    pub(super) fn slice(&self, of: &'s Code, bounds: &'s [Option<Code>; 3]) -> Evaluated<'s> {
        let mut numbers = [None; 3];
        for (number, bound) in numbers.iter_mut().zip(bounds) {
            if let Some(bound) = bound {
                let value = self.value(bound)?;
                *number = match value.as_ref() {
                    Value::Null => None,
                    value => {
                        let bound = value.as_i64();
                        Some(bound.ok_or_else(|| format!("{} cannot be an index", kind(value)))?)
                    }
                };
            }
        }
        operators::slice(self, self.value(of)?, numbers).map(Item::from)
    }
}
