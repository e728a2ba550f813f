//! Filters for strings.

use serde_json::Value;

use crate::expression::evaluate::Given;
use crate::expression::evaluate::cost::LOOK;
use crate::expression::names::Filter;
use crate::expression::value::kind;

/// The cost of a byte in another case: the text grows, and is made character by character.
const CASE: usize = 8;

/// Applies a filter that works on a string.
pub(super) fn apply(given: &Given<'_, '_>, filter: Filter, value: &Value) -> Result<Value, String> {
    let Value::String(text) = value else {
        return Err(format!("a string is needed here, but this is {}", kind(value)));
    };
    let machine = given.machine;
    Ok(match filter {
        Filter::Lower | Filter::Upper | Filter::Title | Filter::Capitalize => {
            machine.pay(CASE * text.len())?;
            Value::String(match filter {
                Filter::Lower => text.to_lowercase(),
                Filter::Upper => text.to_uppercase(),
                Filter::Title => title(text),
                _ => capitalize(text),
            })
        }
        Filter::Trim => {
            let set = given.text(0)?;
            machine.pay(text.len().saturating_mul(set.map_or(1, str::len).max(1)))?;
            machine.string(match set {
                None => text.trim(),
                Some(set) => text.trim_matches(|c| set.contains(c)),
            })?
        }
        Filter::Replace => replace(given, text)?,
        Filter::Split => split(given, text)?,
        Filter::Lines => {
            machine.pay(text.len())?;
            machine.list(text.lines().map(|line| machine.string(line)))?
        }
        _ => machine.string(text)?,
    })
}

fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => {
            first.to_uppercase().chain(characters.as_str().to_lowercase().chars()).collect()
        }
        None => String::new(),
    }
}

fn title(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut start = true;
    for character in text.chars() {
        if start {
            made.extend(character.to_uppercase());
        } else {
            made.extend(character.to_lowercase());
        }
        start = character.is_whitespace() || "-({[<".contains(character);
    }
    made
}

fn replace(given: &Given<'_, '_>, text: &str) -> Result<Value, String> {
    let machine = given.machine;
    let (old, new) = (given.text(0)?.unwrap_or_default(), given.text(1)?.unwrap_or_default());
    if old.is_empty() {
        return Err("the text to replace is empty".to_owned());
    }
    if old.len() > text.len() {
        return machine.string(text);
    }
    machine.pay(2 * (text.len() + old.len()))?;
    machine.pay(text.len())?;
    let (mut made, mut rest) = (String::new(), 0);
    for (at, _) in text.match_indices(old) {
        machine.pay(LOOK + new.len())?;
        made.push_str(&text[rest..at]);
        made.push_str(new);
        rest = at + old.len();
    }
    made.push_str(&text[rest..]);
    Ok(Value::String(made))
}

fn split(given: &Given<'_, '_>, text: &str) -> Result<Value, String> {
    let machine = given.machine;
    let most = match given.positional(1)? {
        None => usize::MAX,
        Some(most) => most
            .as_u64()
            .and_then(|most| usize::try_from(most).ok())
            .map(|most| most.saturating_add(1))
            .ok_or("the number of splits must not be negative")?,
    };
    let separator = given.text(0)?;
    machine.pay(2 * text.len())?;
    match separator {
        None => machine.list(text.split_whitespace().map(|part| machine.string(part))),
        Some("") => Err("the separator is empty".to_owned()),
        Some(separator) if separator.len() > text.len() => {
            machine.list(std::iter::once_with(|| machine.string(text)))
        }
        Some(separator) => {
            machine.pay(2 * separator.len())?;
            machine.list(text.splitn(most, separator).map(|part| machine.string(part)))
        }
    }
}
