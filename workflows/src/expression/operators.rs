//! Arithmetic, containment and slices.

use std::borrow::Cow;

use serde_json::Value;

use super::code::Operator;
use super::evaluate::cost::{LOOK, LOOK_UP};
use super::evaluate::{Elements, Machine};
use super::value::{Numeric, kind};

pub(super) fn negate(value: &Value) -> Result<Value, String> {
    match value {
        Value::Number(number) => match Numeric::of(number) {
            Numeric::Whole(whole) => Numeric::Whole(-whole).into_value(),
            Numeric::Real(real) => Numeric::Real(-real).into_value(),
        },
        other => Err(format!("{} cannot be negated", kind(other))),
    }
}

/// Applies an operator that is not a comparison.
pub(super) fn binary(
    machine: &Machine<'_>,
    operator: Operator,
    left: Cow<'_, Value>,
    right: Cow<'_, Value>,
) -> Result<Value, String> {
    match (operator, left.as_ref(), right.as_ref()) {
        (Operator::Concatenate, left, right) => {
            let mut whole = String::new();
            machine.write_text(left, &mut whole)?;
            machine.write_text(right, &mut whole)?;
            Ok(Value::String(whole))
        }
        (_, Value::Number(a), Value::Number(b)) => {
            machine.pay(LOOK)?;
            arithmetic(operator, Numeric::of(a), Numeric::of(b))?.into_value()
        }
        (Operator::Add, Value::String(a), Value::String(b)) => {
            machine.pay(a.len() + b.len())?;
            Ok(Value::String(format!("{a}{b}")))
        }
        (Operator::Add, Value::Array(_), Value::Array(_)) => {
            let items = Elements::from(machine.elements(left)?)
                .chain(Elements::from(machine.elements(right)?))
                .map(|item| machine.kept(item));
            machine.list(items)
        }
        (_, a, b) => {
            Err(format!("`{}` does not work with {} and {}", sign(operator), kind(a), kind(b)))
        }
    }
}

fn arithmetic(operator: Operator, a: Numeric, b: Numeric) -> Result<Numeric, String> {
    let overflow = || "the result is too large for a number".to_owned();
    let by_zero = || "division by zero".to_owned();
    if let (Numeric::Whole(a), Numeric::Whole(b)) = (a, b) {
        let whole = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::FloorDivide if b == 0 => return Err(by_zero()),
            Operator::Remainder if b == 0 => return Err(by_zero()),
            Operator::FloorDivide => a.checked_sub(remainder(a, b)).and_then(|a| a.checked_div(b)),
            Operator::Remainder => Some(remainder(a, b)),
            Operator::Power if b >= 0 => {
                let exponent = u32::try_from(b).map_err(|_| overflow())?;
                a.checked_pow(exponent)
            }
            Operator::Divide | Operator::Power | Operator::Concatenate | Operator::Compare(_) => {
                return real(operator, a as f64, b as f64);
            }
        };
        return whole.map(Numeric::Whole).ok_or_else(overflow);
    }
    real(operator, a.real(), b.real())
}

/// Returns what `//` leaves. It rounds down, so that this has the sign of the divisor.
fn remainder(a: i128, b: i128) -> i128 {
    let left = a % b;
    if left != 0 && (left < 0) != (b < 0) { left + b } else { left }
}

fn real_remainder(a: f64, b: f64) -> f64 {
    let left = a % b;
    if left == 0.0 {
        return left.copysign(b);
    }
    if (left < 0.0) != (b < 0.0) { left + b } else { left }
}

fn real(operator: Operator, a: f64, b: f64) -> Result<Numeric, String> {
    let zero = b == 0.0;
    let result = match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide | Operator::FloorDivide | Operator::Remainder if zero => {
            return Err("division by zero".to_owned());
        }
        Operator::Divide => a / b,
        Operator::FloorDivide => ((a - real_remainder(a, b)) / b).round(),
        Operator::Remainder => real_remainder(a, b),
        Operator::Power => a.powf(b),
        Operator::Concatenate | Operator::Compare(_) => f64::NAN,
    };
    if result.is_finite() {
        Ok(Numeric::Real(result))
    } else {
        Err("the result is not a finite number".to_owned())
    }
}

fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::FloorDivide => "//",
        Operator::Remainder => "%",
        Operator::Power => "**",
        Operator::Concatenate => "~",
        Operator::Compare(_) => "a comparison",
    }
}

/// Tells whether a list, a map or a text contains something.
pub(super) fn contains(machine: &Machine<'_>, whole: &Value, part: &Value) -> Result<bool, String> {
    match (whole, part) {
        (Value::Array(items), part) => {
            for item in items {
                if machine.equal(item, part)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Object(map), Value::String(key)) => {
            machine.pay(LOOK_UP + key.len())?;
            Ok(map.contains_key(key))
        }
        (Value::String(whole), Value::String(part)) => {
            machine.pay(LOOK)?;
            if part.len() > whole.len() {
                return Ok(false);
            }
            machine.pay(whole.len() + part.len())?;
            Ok(whole.contains(part.as_str()))
        }
        (whole, part) => Err(format!("{} cannot be in {}", kind(part), kind(whole))),
    }
}

/// Takes a part of a list or of a text.
pub(super) fn slice(
    machine: &Machine<'_>,
    value: Cow<'_, Value>,
    [start, stop, step]: [Option<i64>; 3],
) -> Result<Value, String> {
    let step = usize::try_from(step.unwrap_or(1)).unwrap_or_default();
    if step == 0 {
        return Err("the step of a slice must be positive".to_owned());
    }
    let bound = |bound: Option<i64>, len: usize, otherwise: usize| match bound {
        None => otherwise,
        Some(at) => {
            let distance = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
            if at < 0 { len.saturating_sub(distance) } else { distance.min(len) }
        }
    };
    if let Value::String(text) = value.as_ref() {
        machine.pay(3 * text.len())?;
        let len = text.chars().count();
        let (from, to) = (bound(start, len, 0), bound(stop, len, len));
        let part = text.chars().take(to).skip(from).step_by(step).collect();
        return Ok(Value::String(part));
    }
    if !value.is_array() {
        return Err(format!("{} cannot be sliced", kind(&value)));
    }
    let list = machine.elements(value)?;
    let (from, to) = (bound(start, list.len(), 0), bound(stop, list.len(), list.len()));
    machine.pay(from.saturating_mul(LOOK))?;
    let part = Elements::from(list).take(to).skip(from).step_by(step);
    machine.list(part.map(|item| machine.kept(item)))
}
