//! Filters for numbers.

use std::borrow::Cow;

use serde_json::Value;

use super::keys;
use crate::expression::code::Operator;
use crate::expression::evaluate::{Given, Machine};
use crate::expression::operators;
use crate::expression::value::{Numeric, kind};

pub(super) fn sum(given: &Given<'_, '_>, value: Cow<'_, Value>) -> Result<Value, String> {
    let machine = given.machine;
    let list = machine.elements(value)?;
    let mut total = Value::from(0);
    for key in keys(given, &list)? {
        let key = key?;
        if !key.is_number() {
            return Err(format!("only numbers can be summed, but this is {}", kind(key)));
        }
        total = operators::binary(machine, Operator::Add, Cow::Owned(total), Cow::Borrowed(key))?;
    }
    Ok(total)
}

pub(super) fn abs(value: &Value) -> Result<Value, String> {
    match numeric(value)? {
        Numeric::Whole(whole) => Numeric::Whole(whole.abs()).into_value(),
        Numeric::Real(real) => Numeric::Real(real.abs()).into_value(),
    }
}

pub(super) fn int(machine: &Machine<'_>, value: &Value) -> Result<Value, String> {
    let number = match value {
        Value::String(text) => parse(machine, text)?,
        Value::Bool(value) => Numeric::Whole(i128::from(*value)),
        other => numeric(other)?,
    };
    match number {
        Numeric::Whole(whole) => Numeric::Whole(whole).into_value(),
        Numeric::Real(real) => Numeric::Whole(real.trunc() as i128).into_value(),
    }
}

pub(super) fn float(machine: &Machine<'_>, value: &Value) -> Result<Value, String> {
    let number = match value {
        Value::String(text) => parse(machine, text)?,
        Value::Bool(value) => Numeric::Whole(i128::from(*value)),
        other => numeric(other)?,
    };
    Numeric::Real(number.real()).into_value()
}

pub(super) fn round(given: &Given<'_, '_>, value: &Value) -> Result<Value, String> {
    let precision = match given.positional(0)? {
        Some(precision) => Some(precision),
        None => given.named("precision")?,
    };
    let precision = match precision {
        None => 0,
        Some(precision) => precision
            .as_u64()
            .and_then(|precision| i32::try_from(precision).ok())
            .filter(|precision| *precision <= 15)
            .ok_or("the precision must be a number between 0 and 15")?,
    };
    match numeric(value)? {
        Numeric::Whole(whole) => Numeric::Whole(whole).into_value(),
        Numeric::Real(real) => {
            let factor = 10f64.powi(precision);
            let scaled = real * factor;
            let rounded = if scaled.is_finite() { scaled.round() / factor } else { real };
            Numeric::Real(rounded).into_value()
        }
    }
}

fn numeric(value: &Value) -> Result<Numeric, String> {
    match value {
        Value::Number(number) => Ok(Numeric::of(number)),
        other => Err(format!("a number is needed here, but this is {}", kind(other))),
    }
}

fn parse(machine: &Machine<'_>, text: &str) -> Result<Numeric, String> {
    machine.pay(2 * text.len())?;
    let text = text.trim();
    if let Ok(whole) = text.parse::<i128>() {
        return Ok(Numeric::Whole(whole));
    }
    match text.parse::<f64>() {
        Ok(real) if real.is_finite() => Ok(Numeric::Real(real)),
        Ok(_) | Err(_) => {
            let short: String = text.chars().take(40).collect();
            Err(format!("`{short}` is not a number"))
        }
    }
}
