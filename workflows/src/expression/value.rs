//! What values are: their kind, their truth, their numbers, their depth.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Names the kind of a value, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Tells what counts as true: all but `null`, `false`, 0 and what is empty.
pub(crate) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A number as what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Numeric {
    Whole(i128),
    Real(f64),
}

impl Numeric {
    pub(crate) fn of(number: &Number) -> Self {
        if let Some(whole) = number.as_i64() {
            Self::Whole(i128::from(whole))
        } else if let Some(whole) = number.as_u64() {
            Self::Whole(i128::from(whole))
        } else {
            Self::Real(number.as_f64().unwrap_or(f64::NAN))
        }
    }

    pub(crate) fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }

    /// Returns the number as JSON; whole numbers stay whole.
    pub(crate) fn into_value(self) -> Result<Value, String> {
        let number = match self {
            Self::Whole(whole) => i64::try_from(whole)
                .map(Number::from)
                .or_else(|_| u64::try_from(whole).map(Number::from))
                .ok(),
            Self::Real(real) => Number::from_f64(real),
        };
        number.map(Value::Number).ok_or_else(|| "the result is too large for a number".to_owned())
    }

    /// Orders two numbers by their value: `0` and `-0.0` are the same. A large whole number is not
    /// rounded to a real one, or the order would have cycles.
    pub(crate) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            (Self::Real(a), Self::Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Whole(a), Self::Real(b)) => compare_mixed(a, b),
            (Self::Real(a), Self::Whole(b)) => compare_mixed(b, a).reverse(),
        }
    }
}

fn compare_mixed(whole: i128, real: f64) -> Ordering {
    // A conversion to an integer saturates, far outside of what JSON numbers can be.
    let below = real.floor();
    whole.cmp(&(below as i128)).then(if real > below { Ordering::Less } else { Ordering::Equal })
}

/// Tells whether lists and maps in a value are nested at most so deep.
pub(crate) fn is_within_depth(value: &Value, most: usize) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(items) => most > 0 && items.iter().all(|item| is_within_depth(item, most - 1)),
        Value::Object(map) => {
            most > 0 && map.values().all(|value| is_within_depth(value, most - 1))
        }
    }
}

/// Returns as much of a text as a message can hold.
pub(crate) fn short(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}
