//! Durations as text: `90s`, `1h30m`, `200ms`.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::shape::Shape;
use crate::diagnostic::{Problems, codes};
use crate::limits;
use crate::parse::{Data, Node};

/// Units with their length in milliseconds, longest first.
const UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration such as `1h30m`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurationText(pub(crate) Duration);

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 2, "pattern": PATTERN })
    }
}

impl Shape for DurationText {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let (message, help) = match &node.data {
            Data::Text(text) => match parse(text) {
                Ok(duration) => return Some(Self(duration)),
                Err(help) => {
                    let short: String = text.chars().take(40).collect();
                    (format!("{what} cannot be `{short}`"), help)
                }
            },
            Data::Int(number) => (
                format!("{what} must be a duration, but is a number"),
                format!("name the unit: `{number}s`"),
            ),
            Data::Null
            | Data::Bool(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::List(_)
            | Data::Map(_) => (
                format!("{what} must be a duration, but is {}", node.kind()),
                "such as `90s`, `1h30m` or `200ms`".to_owned(),
            ),
        };
        problems.error(codes::INVALID_DURATION, node.span, message).help(help);
        None
    }
}

/// Parses a duration.
///
/// # Errors
///
/// What to write otherwise.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let general = || "such as `90s`, `1h30m` or `200ms`".to_owned();
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        if digits == 0 || digits > 15 || unit.is_empty() {
            return Err(general());
        }
        let Some((_, millis)) = units.find(|(name, _)| *name == unit) else {
            return Err(if UNITS.iter().any(|(name, _)| *name == unit) {
                "write each unit once, the longest first: `1h30m`".to_owned()
            } else {
                "the units are `d`, `h`, `m`, `s` and `ms`".to_owned()
            });
        };
        let number: u64 = number.parse().map_err(|_| general())?;
        total = number
            .checked_mul(*millis)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= limits::DURATION_SECS * 1000)
            .ok_or_else(|| "a duration is at most ten years".to_owned())?;
        rest = after;
    }
    if text.is_empty() { Err(general()) } else { Ok(Duration::from_millis(total)) }
}

/// Writes a duration as it is written in definitions.
pub(crate) fn text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        let count = rest / millis;
        rest %= millis;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The pattern that the JSON Schema of the language gives for durations.
const PATTERN: &str = "^(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?(?:[0-9]+ms)?$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for good in ["90s", "1h30m", "200ms", "1d", "1d2h3m4s5ms", "0s"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        assert_eq!(parse("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(text(parse("90s").unwrap()), "1m30s");
        assert_eq!(text(Duration::ZERO), "0s");
        for bad in ["", "90", "s", "30m1h", "1s1s", "-1s", "1.5s", "1 h", "1w", "999999999999999d"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
