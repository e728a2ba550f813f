//! Filters that sort. A comparison may fail, so that the sort is our own: that of the standard
//! library wants an order that holds to its end.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::{as_map, keys};
use crate::expression::evaluate::cost::{ALLOCATION, LOOK, VALUE};
use crate::expression::evaluate::{Given, Machine};
use crate::expression::names::Filter;
use crate::expression::value::{kind, truth};

/// What an element is sorted by.
enum Key<'v> {
    /// A string in lower case, because upper and lower case are the same here.
    Text(String),
    Value(&'v Value),
}

/// A key, its place in the order and in the buffer of the sort.
const KEY: usize = 48;
/// The cost of a byte in lower case: the text grows, and is made character by character.
const LOWER: usize = 6;

impl<'v> Key<'v> {
    fn new(machine: &Machine<'_>, value: &'v Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::text(machine, text),
            value => {
                machine.pay(KEY)?;
                Ok(Self::Value(value))
            }
        }
    }

    fn text(machine: &Machine<'_>, text: &str) -> Result<Self, String> {
        machine.pay(KEY + ALLOCATION + LOWER * text.len())?;
        Ok(Self::Text(text.chars().flat_map(char::to_lowercase).collect()))
    }

    fn order(&self, machine: &Machine<'_>, other: &Self) -> Result<Ordering, String> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => {
                machine.pay(LOOK)?;
                machine.order_texts(a, b)
            }
            (Self::Value(a), Self::Value(b)) => machine.order(a, b),
            (a, b) => Err(format!("{} and {} have no order", a.kind(), b.kind())),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Value(value) => kind(value),
        }
    }
}

/// Returns the positions of the keys in their order; keys that are the same keep theirs.
fn sorted(machine: &Machine<'_>, keys: &[Key<'_>]) -> Result<Vec<usize>, String> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    let mut merged = Vec::with_capacity(keys.len());
    let mut width = 1;
    while width < keys.len() {
        for pair in order.chunks(2 * width) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            merge(machine, keys, (left, right), &mut merged)?;
        }
        std::mem::swap(&mut order, &mut merged);
        merged.clear();
        width *= 2;
    }
    Ok(order)
}

fn merge(
    machine: &Machine<'_>,
    keys: &[Key<'_>],
    (mut left, mut right): (&[usize], &[usize]),
    merged: &mut Vec<usize>,
) -> Result<(), String> {
    if let (Some(last), Some(first)) = (left.last(), right.first())
        && keys[*first].order(machine, &keys[*last])?.is_ge()
    {
        merged.extend(left);
        left = &[];
    }
    while let ([a, rest_of_left @ ..], [b, rest_of_right @ ..]) = (left, right) {
        if keys[*b].order(machine, &keys[*a])?.is_lt() {
            merged.push(*b);
            right = rest_of_right;
        } else {
            merged.push(*a);
            left = rest_of_left;
        }
    }
    merged.extend(left);
    merged.extend(right);
    Ok(())
}

pub(super) fn sort(given: &Given<'_, '_>, value: Cow<'_, Value>) -> Result<Value, String> {
    let machine = given.machine;
    let list = machine.elements(value)?;
    let mut order = {
        let keys: Vec<Key<'_>> =
            keys(given, &list)?.map(|key| Key::new(machine, key?)).collect::<Result<_, _>>()?;
        sorted(machine, &keys)?
    };
    if given.named("reverse")?.is_some_and(truth) {
        order.reverse();
    }
    picked(machine, list, &order)
}

/// Returns the elements at these positions, of which there are no two the same.
pub(super) fn picked(
    machine: &Machine<'_>,
    list: Cow<'_, [Value]>,
    positions: &[usize],
) -> Result<Value, String> {
    let positions = positions.iter();
    match list {
        Cow::Borrowed(list) => machine.list(positions.map(|at| machine.copy(&list[*at]))),
        Cow::Owned(mut list) => {
            machine.list(positions.map(|at| machine.kept(Cow::Owned(list[*at].take()))))
        }
    }
}

/// Returns the entries of a map as lists of two.
pub(super) fn pairs(machine: &Machine<'_>, filter: Filter, value: &Value) -> Result<Value, String> {
    let map = as_map(value)?;
    let entry = |(key, value): (&String, &Value)| {
        machine.pay(VALUE + ALLOCATION)?;
        Ok(Value::Array(vec![machine.string(key)?, machine.copy(value)?]))
    };
    if filter == Filter::Dictsort {
        let keys = map.keys().map(|key| Key::text(machine, key)).collect::<Result<Vec<_>, _>>()?;
        let order = sorted(machine, &keys)?;
        machine.pay(order.len().saturating_mul(2 * LOOK))?;
        let entries: Vec<(&String, &Value)> = map.iter().collect();
        machine.list(order.into_iter().map(|at| entry(entries[at])))
    } else {
        machine.list(map.iter().map(entry))
    }
}
