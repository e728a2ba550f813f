//! Evaluation: a walk over the compiled tree that pays for all it makes and looks at.

mod access;

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::{Map, Value};

use super::code::{Apply, Arguments, Choice, Code, Comparison, Each, Mode, Operator, Status};
use super::names::Test;
use super::value::{equal, kind, order, text, truth, weight};
use super::{Scope, filters, operators, predicates};
use crate::limits;

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
    spent: Cell<usize>,
    failed: Cell<Option<&'s str>>,
}

impl<'s> Machine<'s> {
    pub(super) fn new(scope: &'s dyn Scope) -> Self {
        Self { scope, spent: Cell::new(0), failed: Cell::new(None) }
    }

    /// Returns the text of the innermost expression that failed.
    pub(super) fn failed(&self) -> Option<&'s str> {
        self.failed.get()
    }

    /// Pays for work; about one unit per byte.
    pub(super) fn pay(&self, units: usize) -> Result<(), String> {
        let spent = self.spent.get().saturating_add(units);
        self.spent.set(spent);
        if spent > limits::EVALUATION_COST {
            return Err("it is too expensive: it makes or looks at too much data".to_owned());
        }
        Ok(())
    }

    /// Returns the value, or says what is undefined.
    pub(super) fn value(&self, code: &'s Code) -> Result<Cow<'s, Value>, String> {
        match self.evaluate(code)? {
            Item::Value(value) => Ok(value),
            Item::Undefined(what) => Err(format!("{what} is undefined")),
        }
    }

    /// Returns the value as owned, and pays for the copy.
    pub(super) fn owned(&self, value: Cow<'s, Value>) -> Result<Value, String> {
        if let Cow::Borrowed(value) = value {
            self.pay(weight(value))?;
        }
        Ok(value.into_owned())
    }

    /// Returns the elements of a list, or the keys of a map.
    pub(super) fn elements(&self, value: Cow<'s, Value>) -> Result<Vec<Cow<'s, Value>>, String> {
        match value {
            Cow::Borrowed(Value::Array(items)) => {
                self.pay(items.len())?;
                Ok(items.iter().map(Cow::Borrowed).collect())
            }
            Cow::Owned(Value::Array(items)) => {
                self.pay(items.len())?;
                Ok(items.into_iter().map(Cow::Owned).collect())
            }
            Cow::Borrowed(Value::Object(map)) => {
                self.pay(map.keys().map(|key| key.len() + 16).sum())?;
                Ok(map.keys().map(|key| Cow::Owned(Value::from(key.as_str()))).collect())
            }
            Cow::Owned(Value::Object(map)) => {
                self.pay(map.len())?;
                Ok(map.into_iter().map(|(key, _)| Cow::Owned(Value::from(key))).collect())
            }
            other => Err(format!("a list is needed here, but this is {}", kind(&other))),
        }
    }

    pub(super) fn evaluate(&self, code: &'s Code) -> Evaluated<'s> {
        self.pay(1)?;
        match code {
            Code::Constant(value) => Ok(Item::Value(Cow::Borrowed(value))),
            Code::Load(reference) => Ok(self.load(reference)),
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
                filters::apply(self, *filter, of, arguments)
            }
            Code::Test(test, of, arguments) => {
                let of = self.evaluate(of)?;
                Ok(Value::from(self.test(*test, of, arguments)?).into())
            }
            Code::Each(each) => self.each(each),
            Code::Status(status) => Ok(Value::from(match status {
                Status::Success => self.scope.success(),
                Status::Failure => self.scope.failure(),
                Status::Always => true,
            })
            .into()),
            Code::Range(arguments) => self.range(arguments),
            Code::List(items) => {
                let items = items.iter().map(|item| self.owned(self.value(item)?));
                Ok(Value::Array(items.collect::<Result<_, _>>()?).into())
            }
            Code::Map(entries) => self.map(entries),
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
            Ok(Item::Undefined(what)) => Err(format!("{what} is undefined")),
            other => other,
        };
        if value.is_err() && self.failed.get().is_none() {
            self.failed.set(Some(quote));
        }
        value
    }

    /// Compares, and pays for what may have to be looked at.
    pub(super) fn compare(
        &self,
        by: Comparison,
        left: &Value,
        right: &Value,
    ) -> Result<bool, String> {
        match by {
            Comparison::In => return operators::contains(self, right, left),
            Comparison::NotIn => return operators::contains(self, right, left).map(|found| !found),
            Comparison::Equal
            | Comparison::NotEqual
            | Comparison::Less
            | Comparison::LessOrEqual
            | Comparison::Greater
            | Comparison::GreaterOrEqual => {}
        }
        self.pay(weight(left).min(weight(right)))?;
        Ok(match by {
            Comparison::Equal => equal(left, right),
            Comparison::NotEqual => !equal(left, right),
            Comparison::Less => order(left, right)?.is_lt(),
            Comparison::LessOrEqual => order(left, right)?.is_le(),
            Comparison::Greater => order(left, right)?.is_gt(),
            Comparison::GreaterOrEqual => order(left, right)?.is_ge(),
            Comparison::In | Comparison::NotIn => false,
        })
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
        of: Item<'s>,
        arguments: &'s Arguments,
    ) -> Result<bool, String> {
        let of = match (test, of) {
            (Test::Defined, of) => return Ok(matches!(of, Item::Value(_))),
            (Test::Undefined, of) => return Ok(matches!(of, Item::Undefined(_))),
            (_, Item::Undefined(what)) => return Err(format!("{what} is undefined")),
            (_, Item::Value(of)) => of,
        };
        let argument = match arguments.positional.first() {
            Some(argument) => self.value(argument)?,
            None => Cow::Owned(Value::Null),
        };
        predicates::holds(self, test, &of, &argument)
    }

    fn each(&self, each: &'s Each) -> Evaluated<'s> {
        let mut made = Vec::new();
        for element in self.elements(self.value(&each.list)?)? {
            self.pay(if let Cow::Owned(element) = &element { weight(element) } else { 1 })?;
            let looked_at = match &each.attribute {
                None => Item::Value(element.clone()),
                Some(path) => filters::attribute(element.clone(), path)?,
            };
            let result = match &each.apply {
                Apply::Nothing(None) => looked_at,
                Apply::Nothing(Some(default)) => match looked_at {
                    Item::Undefined(_) => self.evaluate(default)?,
                    found @ Item::Value(_) => found,
                },
                Apply::Filter(filter, arguments) => {
                    filters::apply(self, *filter, looked_at, arguments)?
                }
                Apply::Test(test, arguments) => {
                    Value::from(self.test(*test, looked_at, arguments)?).into()
                }
                Apply::Truth => match looked_at {
                    Item::Undefined(_) => Value::from(false).into(),
                    Item::Value(value) => Value::from(truth(&value)).into(),
                },
            };
            let result = match result {
                Item::Value(value) => value,
                Item::Undefined(what) => return Err(format!("{what} of an element is undefined")),
            };
            match each.mode {
                Mode::Map => made.push(self.owned(result)?),
                Mode::Select if truth(&result) => made.push(self.owned(element)?),
                Mode::Reject if !truth(&result) => made.push(self.owned(element)?),
                Mode::Select | Mode::Reject => {}
            }
        }
        Ok(Value::Array(made).into())
    }

    fn range(&self, arguments: &'s Arguments) -> Evaluated<'s> {
        let mut numbers = Vec::with_capacity(3);
        for argument in &arguments.positional {
            let value = self.value(argument)?;
            let number = value.as_i64();
            numbers.push(number.ok_or_else(|| format!("range() of {}", kind(&value)))?);
        }
        let (from, to, by) = match numbers[..] {
            [to] => (0, to, 1),
            [from, to] => (from, to, 1),
            [from, to, by] => (from, to, by),
            _ => return Err("range() takes one to three numbers".to_owned()),
        };
        if by == 0 {
            return Err("range() cannot go by 0".to_owned());
        }
        let mut list = Vec::new();
        let mut at = from;
        while if by > 0 { at < to } else { at > to } {
            self.pay(8)?;
            list.push(Value::from(at));
            let Some(next) = at.checked_add(by) else { break };
            at = next;
        }
        Ok(Value::Array(list).into())
    }

    fn map(&self, entries: &'s [(Code, Code)]) -> Evaluated<'s> {
        let mut map = Map::new();
        for (key, value) in entries {
            let key = self.value(key)?;
            let Value::String(key) = key.as_ref() else {
                return Err(format!("the key of a map must be a string, but is {}", kind(&key)));
            };
            self.pay(key.len() + 16)?;
            map.insert(key.clone(), self.owned(self.value(value)?)?);
        }
        Ok(Value::Object(map).into())
    }

    fn text(&self, parts: &'s [Code]) -> Evaluated<'s> {
        let mut whole = String::new();
        for part in parts {
            let value = self.value(part)?;
            self.pay(weight(&value))?;
            match value.as_ref() {
                Value::String(part) => whole.push_str(part),
                other => whole.push_str(&text(other)),
            }
            if whole.len() > limits::TEXT_BYTES {
                return Err(format!("the text is longer than {} bytes", limits::TEXT_BYTES));
            }
        }
        Ok(Value::String(whole).into())
    }
}
