//! Evaluation: a walk over the compiled tree that pays for all it makes and looks at.

mod access;
mod compare;
pub(super) mod cost;
mod draft;
mod given;
mod lists;
mod raw;

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::Value;

use super::code::{Choice, Code, Comparison, Operator, Status};
use super::names::Test;
use super::value::truth;
use super::{Scope, filters, operators, predicates};
use crate::limits;
use cost::LOOK;
pub(super) use draft::Draft;
pub(super) use given::Given;
pub(super) use lists::Elements;

/// The value of an expression while it is evaluated: borrowed from the scope where possible.
#[derive(Debug)]
pub(super) enum Item<'s> {
    /// There is none; the text says of what.
    Undefined(String),
    Value(Cow<'s, Value>),
}

impl From<Value> for Item<'_> {
    fn from(value: Value) -> Self {
        Self::Value(Cow::Owned(value))
    }
}

pub(super) type Evaluated<'s> = Result<Item<'s>, String>;

/// One evaluation. A whole template shares one, so that its cost is bounded as a whole.
pub(super) struct Machine<'s> {
    scope: &'s dyn Scope,
    /// Whether what is copied may stay JSON.
    copies: bool,
    spent: Cell<usize>,
    failed: Cell<Option<&'s str>>,
}

impl<'s> Machine<'s> {
    pub(super) fn new(scope: &'s dyn Scope) -> Self {
        Self { scope, copies: false, spent: Cell::new(0), failed: Cell::new(None) }
    }

    /// An evaluation of which only the JSON is wanted.
    pub(super) fn copying(scope: &'s dyn Scope) -> Self {
        Self { copies: true, ..Self::new(scope) }
    }

    /// Returns the text of the innermost expression that failed.
    pub(super) fn failed(&self) -> Option<&'s str> {
        self.failed.get()
    }

    /// Returns the value, or says what is undefined.
    pub(super) fn value(&self, code: &'s Code) -> Result<Cow<'s, Value>, String> {
        match self.evaluate(code)? {
            Item::Value(value) => Ok(value),
            Item::Undefined(_) if self.scope.undefined_is_null() => Ok(Cow::Owned(Value::Null)),
            Item::Undefined(what) => Err(format!("{what} is undefined")),
        }
    }

    pub(super) fn evaluate(&self, code: &'s Code) -> Evaluated<'s> {
        self.pay(LOOK)?;
        match code {
            Code::Constant(value) => Ok(Item::Value(Cow::Borrowed(value))),
            Code::Load(reference) => self.load(reference),
            Code::Field(of, name) => self.field(of, name),
            Code::Item(of, at) => self.item(of, at),
            Code::Slice(of, bounds) => self.slice(of, bounds),
            Code::Not(of) => {
                let value = self.value(of)?;
                Ok(Value::from(!truth(&value)).into())
            }
            Code::Negate(of) => {
                let value = self.value(of)?;
                operators::negate(&value).map(Item::from)
            }
            Code::And(left, right) => {
                let left = self.value(left)?;
                if truth(&left) { self.evaluate(right) } else { Ok(Item::Value(left)) }
            }
            Code::Or(left, right) => {
                let left = self.value(left)?;
                if truth(&left) { Ok(Item::Value(left)) } else { self.evaluate(right) }
            }
            Code::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                match operator {
                    Operator::Compare(by) => {
                        self.compare(*by, &left, &right).map(|holds| Value::from(holds).into())
                    }
                    _ => operators::binary(self, *operator, left, right).map(Item::from),
                }
            }
            Code::Chain(first, rest) => self.chain(first, rest),
            Code::If(choice) => self.choice(choice),
            Code::Filter(filter, of, arguments) => {
                let of = self.evaluate(of)?;
                filters::apply(&Given::new(self, arguments), *filter, of)
            }
            Code::Test(test, of, arguments) => {
                let of = self.evaluate(of)?;
                Ok(Value::from(self.test(*test, &of, &Given::new(self, arguments))?).into())
            }
            Code::Each(each) => self.each(each),
            Code::Status(status) => Ok(Value::from(match status {
                Status::Success => self.scope.success(),
                Status::Failure => self.scope.failure(),
                Status::Always => true,
            })
            .into()),
            Code::Range(arguments) => self.range(arguments),
            Code::List(items) => Ok(self.draft_list(items)?.into_value()?.into()),
            Code::Map(entries) => Ok(self.draft_map(entries)?.into_value()?.into()),
            Code::Text(parts) => self.text(parts),
            Code::Quoted(quote, code) => self.quoted(quote, code),
        }
    }

    fn choice(&self, choice: &'s Choice) -> Evaluated<'s> {
        let test = self.value(&choice.test)?;
        match (truth(&test), &choice.otherwise) {
            (true, _) => self.evaluate(&choice.then),
            (false, Some(otherwise)) => self.evaluate(otherwise),
            (false, None) => Ok(Item::Undefined("an `if` without `else`".to_owned())),
        }
    }

    fn quoted(&self, quote: &'s str, code: &'s Code) -> Evaluated<'s> {
        let value = match self.evaluate(code) {
            Ok(Item::Undefined(_)) if self.scope.undefined_is_null() => Ok(Value::Null.into()),
            Ok(Item::Undefined(what)) => Err(format!("{what} is undefined")),
            other => other,
        };
        if value.is_err() && self.failed.get().is_none() {
            self.failed.set(Some(quote));
        }
        value
    }

    fn chain(&self, first: &'s Code, rest: &'s [(Comparison, Code)]) -> Evaluated<'s> {
        let mut left = self.value(first)?;
        for (by, right) in rest {
            let right = self.value(right)?;
            if !self.compare(*by, &left, &right)? {
                return Ok(Value::from(false).into());
            }
            left = right;
        }
        Ok(Value::from(true).into())
    }

    pub(super) fn test(
        &self,
        test: Test,
        of: &Item<'_>,
        given: &Given<'_, 's>,
    ) -> Result<bool, String> {
        let of = match (test, of) {
            (Test::Defined, of) => return Ok(matches!(of, Item::Value(_))),
            (Test::Undefined, of) => return Ok(matches!(of, Item::Undefined(_))),
            (_, Item::Undefined(what)) => return Err(format!("{what} is undefined")),
            (_, Item::Value(of)) => of,
        };
        let argument = given.positional(0)?.unwrap_or(&Value::Null);
        predicates::holds(self, test, of, argument)
    }

    fn text(&self, parts: &'s [Code]) -> Evaluated<'s> {
        let mut whole = String::new();
        for part in parts {
            self.write_text(&*self.value(part)?, &mut whole)?;
            if whole.len() > limits::TEXT_BYTES {
                return Err(format!("the text is longer than {} bytes", limits::TEXT_BYTES));
            }
        }
        Ok(Value::String(whole).into())
    }
}
