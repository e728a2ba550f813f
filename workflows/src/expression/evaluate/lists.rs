//! Lists: their elements, what is done with each of them, and `range`.

use std::borrow::Cow;

use serde_json::Value;

use super::cost::{LOOK, SMALL_LIST, VALUE};
use super::{Evaluated, Given, Item, Machine};
use crate::expression::code::{Apply, Arguments, Each, Mode};
use crate::expression::filters;
use crate::expression::value::{kind, truth};

/// The elements of a list one by one, borrowed where the list is.
pub(in crate::expression) enum Elements<'v> {
    Borrowed(std::slice::Iter<'v, Value>),
    Owned(std::vec::IntoIter<Value>),
}

impl<'v> From<Cow<'v, [Value]>> for Elements<'v> {
    fn from(list: Cow<'v, [Value]>) -> Self {
        match list {
            Cow::Borrowed(list) => Self::Borrowed(list.iter()),
            Cow::Owned(list) => Self::Owned(list.into_iter()),
        }
    }
}

impl<'v> Iterator for Elements<'v> {
    type Item = Cow<'v, Value>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Borrowed(rest) => rest.next().map(Cow::Borrowed),
            Self::Owned(rest) => rest.next().map(Cow::Owned),
        }
    }
}

impl<'s> Machine<'s> {
    /// Returns the elements of a list, or the keys of a map. Those of a list cost nothing.
    pub(in crate::expression) fn elements<'v>(
        &self,
        value: Cow<'v, Value>,
    ) -> Result<Cow<'v, [Value]>, String> {
        match value {
            Cow::Borrowed(Value::Array(items)) => Ok(Cow::Borrowed(items)),
            Cow::Owned(Value::Array(items)) => Ok(Cow::Owned(items)),
            other => match other.as_ref() {
                Value::Object(map) => {
                    self.pay(SMALL_LIST)?;
                    map.keys().map(|key| self.string(key)).collect()
                }
                other => Err(format!("a list is needed here, but this is {}", kind(other))),
            },
        }
    }

    pub(super) fn each(&self, each: &'s Each) -> Evaluated<'s> {
        let list = self.elements(self.value(&each.list)?)?;
        let given = Given::new(self, &each.arguments);
        self.pay(SMALL_LIST)?;
        let mut made = Vec::new();
        for element in Elements::from(list) {
            self.pay(LOOK)?;
            let wanted = match each.mode {
                Mode::Map => {
                    made.push(self.kept(applied(&given, each, element)?)?);
                    continue;
                }
                Mode::Select => true,
                Mode::Reject => false,
            };
            if truth(&*applied(&given, each, Cow::Borrowed(&*element))?) == wanted {
                made.push(self.kept(element)?);
            }
        }
        Ok(Value::Array(made).into())
    }

    pub(super) fn range(&self, arguments: &'s Arguments) -> Evaluated<'s> {
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
        let distance = if (from < to) == (by > 0) { from.abs_diff(to) } else { 0 };
        let count = distance.div_ceil(by.unsigned_abs());
        self.pay(usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(VALUE))?;
        let steps = std::iter::successors(Some(from), |at| at.checked_add(by));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Value::Array(steps.take(count).map(Value::from).collect()).into())
    }
}

/// Applies to one element what is asked for each.
fn applied<'v, 's: 'v>(
    given: &Given<'_, 's>,
    each: &Each,
    element: Cow<'v, Value>,
) -> Result<Cow<'v, Value>, String> {
    let machine = given.machine;
    let looked_at = match &each.attribute {
        None => Item::Value(element),
        Some(path) => filters::attribute(machine, element, path)?,
    };
    let result = match each.apply {
        Apply::Nothing => match looked_at {
            found @ Item::Value(_) => found,
            Item::Undefined(what) => given.taken(0)?.map_or(Item::Undefined(what), Item::Value),
        },
        Apply::Filter(filter) => filters::apply(given, filter, looked_at)?,
        Apply::Test(test) => Value::from(machine.test(test, &looked_at, given)?).into(),
        Apply::Truth => Value::from(match &looked_at {
            Item::Undefined(_) => false,
            Item::Value(value) => truth(value),
        })
        .into(),
    };
    match result {
        Item::Value(value) => Ok(value),
        Item::Undefined(what) => Err(format!("{what} of an element is undefined")),
    }
}
