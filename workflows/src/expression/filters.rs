//! What follows `|`.

mod lists;
mod numbers;
mod sort;
mod texts;

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::evaluate::cost::{ALLOCATION, LOOK_UP, VALUE};
use super::evaluate::{Evaluated, Given, Item, Machine};
use super::names::Filter;
use super::value::{kind, short, truth};

/// Applies a filter.
pub(super) fn apply<'v, 's: 'v>(
    given: &Given<'_, 's>,
    filter: Filter,
    of: Item<'v>,
) -> Evaluated<'v> {
    let machine = given.machine;
    let value = match (filter, of) {
        (Filter::Default, of) => return default(given, of),
        (_, Item::Undefined(what)) => return Err(format!("{what} is undefined")),
        (_, Item::Value(value)) => value,
    };
    let made = match filter {
        Filter::Default => return Ok(Item::Value(value)),
        Filter::Length => lists::length(machine, &value)?,
        Filter::First => return lists::end(machine, value, lists::End::First),
        Filter::Last => return lists::end(machine, value, lists::End::Last),
        Filter::Min | Filter::Max => return lists::extreme(given, filter, value),
        Filter::List if value.is_array() => return Ok(Item::Value(value)),
        Filter::List => Value::Array(machine.elements(value)?.into_owned()),
        Filter::Reverse => lists::reverse(machine, value)?,
        Filter::Sort => sort::sort(given, value)?,
        Filter::Unique => lists::unique(given, value)?,
        Filter::Batch => lists::batch(given, value)?,
        Filter::Join => lists::join(given, value)?,
        Filter::Items | Filter::Dictsort => sort::pairs(machine, filter, &value)?,
        Filter::Sum => numbers::sum(given, value)?,
        Filter::Abs => numbers::abs(&value)?,
        Filter::Int => numbers::int(machine, &value)?,
        Filter::Float => numbers::float(machine, &value)?,
        Filter::Round => numbers::round(given, &value)?,
        Filter::Bool => Value::from(truth(&value)),
        Filter::String => {
            machine.pay(ALLOCATION)?;
            let mut text = String::new();
            machine.write_text(&value, &mut text)?;
            Value::String(text)
        }
        Filter::Tojson => {
            machine.pay(ALLOCATION)?;
            let mut text = String::new();
            machine.write_json(&value, &mut text)?;
            Value::String(text)
        }
        Filter::Lower
        | Filter::Upper
        | Filter::Title
        | Filter::Capitalize
        | Filter::Trim
        | Filter::Replace
        | Filter::Split
        | Filter::Lines => texts::apply(given, filter, &value)?,
    };
    Ok(made.into())
}

/// Follows a path such as `a.b.0` into a value; the inner error says what is undefined.
fn follow<'v>(
    machine: &Machine<'_>,
    value: &'v Value,
    path: &str,
) -> Result<Result<&'v Value, String>, String> {
    let mut value = value;
    for part in path.split('.') {
        machine.pay(LOOK_UP + part.len())?;
        let found = match value {
            Value::Object(map) => map.get(part),
            Value::Array(items) => part.parse().ok().and_then(|at: usize| items.get(at)),
            other => return Err(format!("{} has no field `{}`", kind(other), short(part))),
        };
        let Some(found) = found else {
            machine.pay(VALUE)?;
            return Ok(Err(format!("the field `{}`", short(part))));
        };
        value = found;
    }
    Ok(Ok(value))
}

/// Returns what a path such as `a.b.0` leads to.
pub(super) fn attribute<'v>(
    machine: &Machine<'_>,
    value: Cow<'v, Value>,
    path: &str,
) -> Evaluated<'v> {
    let found = match value {
        Cow::Borrowed(value) => follow(machine, value, path)?.map(Cow::Borrowed),
        Cow::Owned(value) => match follow(machine, &value, path)? {
            Ok(found) => Ok(Cow::Owned(machine.copy(found)?)),
            Err(what) => Err(what),
        },
    };
    Ok(found.map_or_else(Item::Undefined, Item::Value))
}

/// Returns what each element is sorted, compared or summed by.
fn keys<'v>(
    given: &Given<'_, '_>,
    list: &'v [Value],
) -> Result<impl Iterator<Item = Result<&'v Value, String>>, String> {
    let path = given.attribute()?.map(Cow::into_owned);
    let machine = given.machine;
    Ok(list.iter().map(move |element| match &path {
        None => Ok(element),
        Some(path) => follow(machine, element, path)?
            .map_err(|what| format!("{what} of an element is undefined")),
    }))
}

/// `default(value)` stands in for undefined, `default(value, true)` for all that is not true.
fn default<'v, 's: 'v>(given: &Given<'_, 's>, of: Item<'v>) -> Evaluated<'v> {
    let flag = match given.positional(1)? {
        Some(flag) => Some(flag),
        None => given.named("boolean")?,
    };
    let also_false = flag.is_some_and(truth);
    match of {
        Item::Value(value) if !also_false || truth(&value) => Ok(Item::Value(value)),
        Item::Value(_) | Item::Undefined(_) => match given.taken(0)? {
            Some(value) => Ok(Item::Value(value)),
            None => Ok(Value::String(String::new()).into()),
        },
    }
}

/// Returns the map that a value is.
fn as_map(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("a map is needed here, but this is {}", kind(value)))
}
