//! What follows `|`.

mod lists;
mod numbers;
mod texts;

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::code::Arguments;
use super::evaluate::{Evaluated, Item, Machine};
use super::names::Filter;
use super::value::{kind, text, truth, weight};

/// Applies a filter.
pub(super) fn apply<'s>(
    machine: &Machine<'s>,
    filter: Filter,
    of: Item<'s>,
    arguments: &'s Arguments,
) -> Evaluated<'s> {
    let given = Given { machine, arguments };
    let value = match (filter, of) {
        (Filter::Default, of) => return default(&given, of),
        (_, Item::Undefined(what)) => return Err(format!("{what} is undefined")),
        (_, Item::Value(value)) => value,
    };
    let made = match filter {
        Filter::Default => return Ok(Item::Value(value)),
        Filter::Length => lists::length(machine, &value)?,
        Filter::First => return lists::end(machine, value, lists::End::First),
        Filter::Last => return lists::end(machine, value, lists::End::Last),
        Filter::Min | Filter::Max => return lists::extreme(&given, filter, value),
        Filter::List => Value::Array(lists::owned(machine, value)?),
        Filter::Reverse => lists::reverse(machine, value)?,
        Filter::Sort => lists::sort(&given, value)?,
        Filter::Unique => lists::unique(&given, value)?,
        Filter::Batch => lists::batch(&given, value)?,
        Filter::Join => lists::join(&given, value)?,
        Filter::Items | Filter::Dictsort => lists::pairs(machine, filter, value)?,
        Filter::Sum => numbers::sum(&given, value)?,
        Filter::Abs => numbers::abs(&value)?,
        Filter::Int => numbers::int(&value)?,
        Filter::Float => numbers::float(&value)?,
        Filter::Round => numbers::round(&given, &value)?,
        Filter::Bool => Value::from(truth(&value)),
        Filter::String => {
            machine.pay(weight(&value))?;
            Value::String(text(&value))
        }
        Filter::Tojson => {
            machine.pay(weight(&value))?;
            Value::String(value.to_string())
        }
        Filter::Lower
        | Filter::Upper
        | Filter::Title
        | Filter::Capitalize
        | Filter::Trim
        | Filter::Replace
        | Filter::Split
        | Filter::Lines => texts::apply(&given, filter, &value)?,
    };
    Ok(made.into())
}

/// The arguments of a filter, evaluated when asked for.
struct Given<'m, 's> {
    machine: &'m Machine<'s>,
    arguments: &'s Arguments,
}

impl<'s> Given<'_, 's> {
    fn positional(&self, at: usize) -> Result<Option<Cow<'s, Value>>, String> {
        self.arguments.positional.get(at).map(|code| self.machine.value(code)).transpose()
    }

    fn named(&self, name: &str) -> Result<Option<Cow<'s, Value>>, String> {
        let found = self.arguments.named.iter().find(|(known, _)| **known == *name);
        found.map(|(_, code)| self.machine.value(code)).transpose()
    }

    fn text(&self, at: usize) -> Result<Option<String>, String> {
        match self.positional(at)? {
            None => Ok(None),
            Some(value) => match value.as_ref() {
                Value::String(text) => Ok(Some(text.clone())),
                other => {
                    Err(format!("a string is needed as argument, but this is {}", kind(other)))
                }
            },
        }
    }

    fn attribute(&self) -> Result<Option<String>, String> {
        match self.named("attribute")? {
            None => Ok(None),
            Some(value) => match value.as_ref() {
                Value::String(path) => Ok(Some(path.clone())),
                Value::Number(index) => Ok(Some(index.to_string())),
                other => Err(format!("`attribute` must be a string, but is {}", kind(other))),
            },
        }
    }
}

/// Follows a path such as `a.b.0` into a value.
pub(super) fn attribute<'s>(value: Cow<'s, Value>, path: &str) -> Evaluated<'s> {
    let mut value = value;
    for part in path.split('.') {
        let index = || part.parse::<usize>().ok();
        let found = match value {
            Cow::Borrowed(Value::Object(map)) => map.get(part).map(Cow::Borrowed),
            Cow::Owned(Value::Object(mut map)) => map.remove(part).map(Cow::Owned),
            Cow::Borrowed(Value::Array(items)) => {
                index().and_then(|at| items.get(at)).map(Cow::Borrowed)
            }
            Cow::Owned(Value::Array(mut items)) => {
                index().filter(|at| *at < items.len()).map(|at| Cow::Owned(items.swap_remove(at)))
            }
            other => return Err(format!("{} has no field `{part}`", kind(&other))),
        };
        match found {
            Some(found) => value = found,
            None => return Ok(Item::Undefined(format!("the field `{part}`"))),
        }
    }
    Ok(Item::Value(value))
}

/// `default(value)` stands in for undefined, `default(value, true)` for all that is not true.
fn default<'s>(given: &Given<'_, 's>, of: Item<'s>) -> Evaluated<'s> {
    let flag = match given.positional(1)? {
        Some(flag) => Some(flag),
        None => given.named("boolean")?,
    };
    let also_false = flag.is_some_and(|flag| truth(&flag));
    match of {
        Item::Value(value) if !also_false || truth(&value) => Ok(Item::Value(value)),
        Item::Value(_) | Item::Undefined(_) => match given.positional(0)? {
            Some(value) => Ok(Item::Value(value)),
            None => Ok(Value::String(String::new()).into()),
        },
    }
}

/// An element of a list with the value it is sorted, compared or summed by.
type Keyed<'s> = (Cow<'s, Value>, Cow<'s, Value>);

/// Returns the elements of a list with the value they are sorted, compared or summed by.
fn by_attribute<'s>(
    given: &Given<'_, 's>,
    value: Cow<'s, Value>,
) -> Result<Vec<Keyed<'s>>, String> {
    let path = given.attribute()?;
    let elements = given.machine.elements(value)?;
    let mut pairs = Vec::with_capacity(elements.len());
    for element in elements {
        if let Cow::Owned(element) = &element {
            given.machine.pay(weight(element))?;
        }
        let by = match &path {
            None => element.clone(),
            Some(path) => match attribute(element.clone(), path)? {
                Item::Value(by) => by,
                Item::Undefined(what) => return Err(format!("{what} of an element is undefined")),
            },
        };
        pairs.push((element, by));
    }
    Ok(pairs)
}

/// Returns a map of two values as a list.
fn pair(first: Value, second: Value) -> Value {
    Value::Array(vec![first, second])
}

/// Returns the map that a value is.
fn as_map(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("a map is needed here, but this is {}", kind(value)))
}
