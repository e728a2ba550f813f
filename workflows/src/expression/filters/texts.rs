//! Filters for strings.

use serde_json::Value;

use super::Given;
use crate::expression::names::Filter;
use crate::expression::value::kind;

/// Applies a filter that works on a string.
pub(super) fn apply(given: &Given<'_, '_>, filter: Filter, value: &Value) -> Result<Value, String> {
    let Value::String(text) = value else {
        return Err(format!("a string is needed here, but this is {}", kind(value)));
    };
    given.machine.pay(2 * text.len())?;
    Ok(match filter {
        Filter::Lower => Value::String(text.to_lowercase()),
        Filter::Upper => Value::String(text.to_uppercase()),
        Filter::Title => Value::String(title(text)),
        Filter::Capitalize => Value::String(capitalize(text)),
        Filter::Trim => Value::from(match given.text(0)? {
            None => text.trim(),
            Some(set) => {
                given.machine.pay(text.len().saturating_mul(set.len().max(1)))?;
                text.trim_matches(|c| set.contains(c))
            }
        }),
        Filter::Replace => replace(given, text)?,
        Filter::Split => split(given, text)?,
        Filter::Lines => {
            given.machine.pay(16 * text.lines().count())?;
            text.lines().map(Value::from).collect()
        }
        _ => Value::String(text.clone()),
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
    let (old, new) = (given.text(0)?.unwrap_or_default(), given.text(1)?.unwrap_or_default());
    if old.is_empty() {
        return Err("the text to replace is empty".to_owned());
    }
    given.machine.pay(text.matches(old.as_str()).count().saturating_mul(new.len()))?;
    Ok(Value::String(text.replace(old.as_str(), &new)))
}

fn split(given: &Given<'_, '_>, text: &str) -> Result<Value, String> {
    let most = match given.positional(1)? {
        None => usize::MAX,
        Some(most) => most
            .as_u64()
            .and_then(|most| usize::try_from(most).ok())
            .map(|most| most.saturating_add(1))
            .ok_or("the number of splits must not be negative")?,
    };
    given.machine.pay(text.len().saturating_mul(16))?;
    Ok(match given.text(0)? {
        None => text.split_whitespace().map(Value::from).collect(),
        Some(separator) if separator.is_empty() => {
            return Err("the separator is empty".to_owned());
        }
        Some(separator) => text.splitn(most, separator.as_str()).map(Value::from).collect(),
    })
}
