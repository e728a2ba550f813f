//! Filters for lists and maps.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::{Given, as_map, by_attribute, pair};
use crate::expression::evaluate::{Evaluated, Item, Machine};
use crate::expression::names::Filter;
use crate::expression::value::{kind, order, text, truth, weight};

/// Which end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    First,
    Last,
}

pub(super) fn length(machine: &Machine<'_>, value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => {
            machine.pay(text.len())?;
            text.chars().count()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            return Err(format!("{} has no length", kind(value)));
        }
    };
    Ok(Value::from(length))
}

pub(super) fn end<'s>(machine: &Machine<'s>, value: Cow<'s, Value>, end: End) -> Evaluated<'s> {
    if let Value::String(text) = value.as_ref() {
        let found = match end {
            End::First => text.chars().next(),
            End::Last => text.chars().next_back(),
        };
        return Ok(match found {
            Some(found) => Value::from(found.to_string()).into(),
            None => Item::Undefined("an element of an empty string".to_owned()),
        });
    }
    let mut elements = machine.elements(value)?;
    let found = match end {
        End::First if elements.is_empty() => None,
        End::First => Some(elements.swap_remove(0)),
        End::Last => elements.pop(),
    };
    Ok(found.map_or_else(|| Item::Undefined("an element of an empty list".to_owned()), Item::Value))
}

pub(super) fn owned<'s>(
    machine: &Machine<'s>,
    value: Cow<'s, Value>,
) -> Result<Vec<Value>, String> {
    machine.elements(value)?.into_iter().map(|item| machine.owned(item)).collect()
}

pub(super) fn reverse<'s>(machine: &Machine<'s>, value: Cow<'s, Value>) -> Result<Value, String> {
    if let Value::String(text) = value.as_ref() {
        machine.pay(text.len())?;
        return Ok(Value::String(text.chars().rev().collect()));
    }
    let mut items = owned(machine, value)?;
    items.reverse();
    Ok(Value::Array(items))
}

/// Orders two values and pays for it; upper and lower case of strings are the same.
fn compare(machine: &Machine<'_>, a: &Value, b: &Value) -> Result<Ordering, String> {
    machine.pay(weight(a).min(weight(b)))?;
    match (a, b) {
        (Value::String(a), Value::String(b)) => {
            let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
            Ok(lower(a).cmp(&lower(b)))
        }
        (a, b) => order(a, b),
    }
}

/// Sorts; the first comparison that cannot be made is the result.
fn sorted<'s, T>(machine: &Machine<'s>, list: &mut [(T, Cow<'s, Value>)]) -> Result<(), String> {
    let mut problem = None;
    list.sort_by(|(_, a), (_, b)| {
        if problem.is_some() {
            return Ordering::Equal;
        }
        compare(machine, a, b).unwrap_or_else(|error| {
            problem = Some(error);
            Ordering::Equal
        })
    });
    problem.map_or(Ok(()), Err)
}

pub(super) fn extreme<'s>(
    given: &Given<'_, 's>,
    filter: Filter,
    value: Cow<'s, Value>,
) -> Evaluated<'s> {
    let wanted = if filter == Filter::Min { Ordering::Less } else { Ordering::Greater };
    let mut best: Option<(Cow<'s, Value>, Cow<'s, Value>)> = None;
    for (element, by) in by_attribute(given, value)? {
        let better = match &best {
            None => true,
            Some((_, best)) => {
                given.machine.pay(weight(&by).min(weight(best)))?;
                order(&by, best)? == wanted
            }
        };
        if better {
            best = Some((element, by));
        }
    }
    Ok(best.map_or_else(
        || Item::Undefined("the least or greatest of an empty list".to_owned()),
        |(element, _)| Item::Value(element),
    ))
}

pub(super) fn sort<'s>(given: &Given<'_, 's>, value: Cow<'s, Value>) -> Result<Value, String> {
    let mut pairs = by_attribute(given, value)?;
    sorted(given.machine, &mut pairs)?;
    if given.named("reverse")?.is_some_and(|reverse| truth(&reverse)) {
        pairs.reverse();
    }
    let items = pairs.into_iter().map(|(element, _)| given.machine.owned(element));
    Ok(Value::Array(items.collect::<Result<_, _>>()?))
}

/// Keeps the first of each; what is the same is what reads the same as JSON.
pub(super) fn unique<'s>(given: &Given<'_, 's>, value: Cow<'s, Value>) -> Result<Value, String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for (element, by) in by_attribute(given, value)? {
        given.machine.pay(weight(&by))?;
        if seen.insert(by.to_string()) {
            kept.push(given.machine.owned(element)?);
        }
    }
    Ok(Value::Array(kept))
}

pub(super) fn batch<'s>(given: &Given<'_, 's>, value: Cow<'s, Value>) -> Result<Value, String> {
    let size = given.positional(0)?.and_then(|size| size.as_u64()).unwrap_or_default();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size == 0 {
        return Err("the size of a batch must be a number of at least 1".to_owned());
    }
    let items = owned(given.machine, value)?;
    given.machine.pay(items.len())?;
    Ok(items.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect())
}

pub(super) fn join<'s>(given: &Given<'_, 's>, value: Cow<'s, Value>) -> Result<Value, String> {
    let separator = given.text(0)?.unwrap_or_default();
    let mut joined = String::new();
    for (at, (_, by)) in by_attribute(given, value)?.into_iter().enumerate() {
        given.machine.pay(separator.len() + weight(&by))?;
        if at > 0 {
            joined.push_str(&separator);
        }
        joined.push_str(&text(&by));
    }
    Ok(Value::String(joined))
}

pub(super) fn pairs<'s>(
    machine: &Machine<'s>,
    filter: Filter,
    value: Cow<'s, Value>,
) -> Result<Value, String> {
    machine.pay(weight(&value))?;
    let map = as_map(&value)?;
    let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
    if filter == Filter::Dictsort {
        pairs.sort_by_key(|(key, _)| key.to_lowercase());
    }
    let pairs = pairs.into_iter();
    Ok(pairs.map(|(key, value)| pair(Value::from(key.as_str()), value.clone())).collect())
}
