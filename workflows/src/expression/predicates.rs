//! What follows `is`.

use serde_json::Value;

use super::code::Comparison;
use super::evaluate::Machine;
use super::evaluate::cost::LOOK;
use super::names::Test;
use super::value::{Numeric, kind};

/// Tells whether a test holds; `argument` is `null` for tests that take none.
pub(super) fn holds(
    machine: &Machine<'_>,
    test: Test,
    value: &Value,
    argument: &Value,
) -> Result<bool, String> {
    machine.pay(LOOK)?;
    Ok(match test {
        Test::Defined => true,
        Test::Undefined => false,
        Test::Boolean => value.is_boolean(),
        Test::True => *value == Value::Bool(true),
        Test::False => *value == Value::Bool(false),
        Test::None => value.is_null(),
        Test::Number => value.is_number(),
        Test::Integer => value.is_i64() || value.is_u64(),
        Test::Float => value.is_f64(),
        Test::String => value.is_string(),
        Test::Sequence => value.is_array(),
        Test::Mapping => value.is_object(),
        Test::Iterable => value.is_array() || value.is_object(),
        Test::Odd => whole(value)?.rem_euclid(2) == 1,
        Test::Even => whole(value)?.rem_euclid(2) == 0,
        Test::Divisibleby => {
            let by = whole(argument)?;
            by != 0 && whole(value)?.rem_euclid(by) == 0
        }
        Test::Startingwith | Test::Endingwith => {
            let (whole, part) = (text(value)?, text(argument)?);
            if part.len() > whole.len() {
                return Ok(false);
            }
            machine.pay(part.len())?;
            if test == Test::Startingwith { whole.starts_with(part) } else { whole.ends_with(part) }
        }
        Test::Lower => {
            machine.pay(2 * text(value)?.len())?;
            !text(value)?.chars().any(char::is_uppercase)
        }
        Test::Upper => {
            machine.pay(2 * text(value)?.len())?;
            !text(value)?.chars().any(char::is_lowercase)
        }
        Test::Eq => machine.compare(Comparison::Equal, value, argument)?,
        Test::Ne => machine.compare(Comparison::NotEqual, value, argument)?,
        Test::Lt => machine.compare(Comparison::Less, value, argument)?,
        Test::Le => machine.compare(Comparison::LessOrEqual, value, argument)?,
        Test::Gt => machine.compare(Comparison::Greater, value, argument)?,
        Test::Ge => machine.compare(Comparison::GreaterOrEqual, value, argument)?,
        Test::In => machine.compare(Comparison::In, value, argument)?,
    })
}

fn whole(value: &Value) -> Result<i128, String> {
    match value {
        Value::Number(number) => match Numeric::of(number) {
            Numeric::Whole(whole) => Ok(whole),
            Numeric::Real(_) => Err("a whole number is needed here".to_owned()),
        },
        other => Err(format!("a whole number is needed here, but this is {}", kind(other))),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("a string is needed here, but this is {}", kind(value)))
}
