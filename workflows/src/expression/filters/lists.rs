//! Filters for lists.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value;

use super::keys;
use super::sort::picked;
use crate::expression::evaluate::cost::{ALLOCATION, LOOK, VALUE};
use crate::expression::evaluate::{Elements, Evaluated, Given, Item, Machine};
use crate::expression::names::Filter;
use crate::expression::value::kind;

/// The place of a text among those that were seen, with that of its position.
const SEEN: usize = 96;

/// Values that a batch has place for at once; the others are paid for before it grows.
const SMALL: usize = 256;

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

pub(super) fn end<'v>(machine: &Machine<'_>, value: Cow<'v, Value>, end: End) -> Evaluated<'v> {
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
    let list = machine.elements(value)?;
    let at = match end {
        End::First => 0,
        End::Last => list.len().saturating_sub(1),
    };
    Ok(element(list, at)
        .map_or_else(|| Item::Undefined("an element of an empty list".to_owned()), Item::Value))
}

fn element(list: Cow<'_, [Value]>, at: usize) -> Option<Cow<'_, Value>> {
    match list {
        Cow::Borrowed(list) => list.get(at).map(Cow::Borrowed),
        Cow::Owned(mut list) => (at < list.len()).then(|| Cow::Owned(list.swap_remove(at))),
    }
}

pub(super) fn reverse(machine: &Machine<'_>, value: Cow<'_, Value>) -> Result<Value, String> {
    if let Value::String(text) = value.as_ref() {
        machine.pay(3 * text.len())?;
        return Ok(Value::String(text.chars().rev().collect()));
    }
    let list = machine.elements(value)?;
    match list {
        Cow::Borrowed(list) => machine.list(list.iter().rev().map(|item| machine.copy(item))),
        Cow::Owned(mut list) => {
            machine.pay(list.len().saturating_mul(LOOK))?;
            list.reverse();
            Ok(Value::Array(list))
        }
    }
}

pub(super) fn extreme<'v>(
    given: &Given<'_, '_>,
    filter: Filter,
    value: Cow<'v, Value>,
) -> Evaluated<'v> {
    let wanted = if filter == Filter::Min { Ordering::Less } else { Ordering::Greater };
    let list = given.machine.elements(value)?;
    let mut best: Option<(usize, &Value)> = None;
    for (at, key) in keys(given, &list)?.enumerate() {
        let key = key?;
        let better = match best {
            None => true,
            Some((_, best)) => given.machine.order(key, best)? == wanted,
        };
        if better {
            best = Some((at, key));
        }
    }
    let best = best.map(|(at, _)| at);
    Ok(best.and_then(|at| element(list, at)).map_or_else(
        || Item::Undefined("the least or greatest of an empty list".to_owned()),
        Item::Value,
    ))
}

/// Keeps the first of each; what is the same is what reads the same as JSON.
pub(super) fn unique(given: &Given<'_, '_>, value: Cow<'_, Value>) -> Result<Value, String> {
    let machine = given.machine;
    let list = machine.elements(value)?;
    let mut seen = HashSet::new();
    let mut first = Vec::new();
    for (at, key) in keys(given, &list)?.enumerate() {
        machine.pay(SEEN + ALLOCATION)?;
        let mut text = String::new();
        machine.write_json(key?, &mut text)?;
        if seen.insert(text) {
            first.push(at);
        }
    }
    picked(machine, list, &first)
}

pub(super) fn batch(given: &Given<'_, '_>, value: Cow<'_, Value>) -> Result<Value, String> {
    let machine = given.machine;
    let size = given.positional(0)?.and_then(Value::as_u64).unwrap_or_default();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size == 0 {
        return Err("the size of a batch must be a number of at least 1".to_owned());
    }
    let list = machine.elements(value)?;
    let mut left = list.len();
    let mut elements = Elements::from(list);
    let mut batches = Vec::new();
    while left > 0 {
        let count = size.min(left);
        left -= count;
        machine.pay(VALUE + ALLOCATION)?;
        let mut batch = Vec::with_capacity(count.min(SMALL));
        for element in elements.by_ref().take(count) {
            batch.push(machine.kept(element)?);
        }
        batches.push(Value::Array(batch));
    }
    Ok(Value::Array(batches))
}

pub(super) fn join(given: &Given<'_, '_>, value: Cow<'_, Value>) -> Result<Value, String> {
    let machine = given.machine;
    let separator = given.text(0)?.unwrap_or_default();
    let list = machine.elements(value)?;
    let mut joined = String::new();
    for (at, key) in keys(given, &list)?.enumerate() {
        if at > 0 {
            machine.pay(separator.len())?;
            joined.push_str(separator);
        }
        machine.write_text(key?, &mut joined)?;
    }
    Ok(Value::String(joined))
}
