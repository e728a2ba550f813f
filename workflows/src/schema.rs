//! JSON Schemas: those that definitions hold, and the one of the language.

mod patterns;

use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::definition::WorkflowDefinition;
use crate::limits;

/// The most violations that one check reports.
const VIOLATIONS: usize = 8;
/// The longest message of a violation, in characters.
const MESSAGE_CHARS: usize = 200;
/// Keywords times values up to which all violations are collected; each pair may be one.
const COLLECTED_STEPS: usize = 200_000;

/// What a pattern was compiled to, in bytes that are gone through in one step.
const PATTERN_BYTES_PER_STEP: usize = 48;

/// A compiled JSON Schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    json: Value,
    validator: Validator,
    cost: Cost,
    /// What none of its patterns is larger than.
    pattern_bytes: usize,
}

/// What it takes to hold a value against a schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Its keywords and alternatives, with every reference written out.
    pub(crate) keywords: usize,
    /// Its patterns, and the keys of `patternProperties`.
    pub(crate) patterns: usize,
    /// How often the same part of it is held against the same value, at most.
    pub(crate) repeats: usize,
    /// Whether what is wrong may be wrong in several ways (`anyOf`, `oneOf`).
    pub(crate) branches: bool,
}

/// Why a schema cannot be compiled.
#[derive(Debug)]
pub(crate) enum NotCompiled {
    /// The pattern at this place is larger than patterns may be.
    LargePattern(String),
    /// Anything else.
    Invalid(String),
}

/// One way in which a value does not match a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where in the value, as a JSON pointer; empty for the value itself.
    pub path: String,
    /// What is wrong there. It never repeats the value.
    pub message: String,
}

impl Schema {
    /// Compiles a schema that [`crate::check`] has found to be of bounded cost.
    pub(crate) fn compile(
        json: &Value,
        cost: Cost,
        pattern_bytes: usize,
    ) -> Result<Self, NotCompiled> {
        let patterns = PatternOptions::regex()
            .size_limit(pattern_bytes)
            .dfa_size_limit(16 * limits::PATTERN_BYTES);
        let built = jsonschema::options()
            // Whatever `$schema` says: the bounds are those of this draft.
            .with_draft(Draft::Draft202012)
            .with_pattern_options(patterns)
            .offline()
            .build(json);
        match built {
            Ok(validator) => {
                Ok(Self(Arc::new(Inner { json: json.clone(), validator, cost, pattern_bytes })))
            }
            Err(error) => Err(why_not(&error)),
        }
    }

    /// Returns the schema as it was written.
    pub fn json(&self) -> &Value {
        &self.0.json
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// The violations, at most eight, each of bounded length. Of a large value only the first one
    /// is found, or just that there is one; a value that takes too many steps counts as wrong.
    pub fn check(&self, value: &Value) -> Result<(), Vec<Violation>> {
        let steps = self.steps(value);
        if steps > limits::SCHEMA_STEPS {
            return Err(vec![Violation::of_all("too large to be held against its schema")]);
        }
        if self.0.validator.is_valid(value) {
            return Ok(());
        }
        if steps <= COLLECTED_STEPS {
            let violations = self.0.validator.iter_errors(value).take(VIOLATIONS);
            return Err(violations.map(Violation::from).collect());
        }
        // Wherever there are branches, all that is wrong in each of them is collected.
        let first = (!self.0.cost.branches).then(|| self.0.validator.validate(value).err());
        let first = first.flatten().map(Violation::from);
        Err(vec![first.unwrap_or_else(|| {
            Violation::of_all("not what its schema says; it is too large to say where")
        })])
    }

    /// Returns how many steps it can take at most to check a value.
    pub(crate) fn steps(&self, value: &Value) -> usize {
        let Inner { json, cost, pattern_bytes, .. } = self.0.as_ref();
        let steps = cost.keywords.saturating_mul(values(value));
        if cost.patterns == 0 || steps > limits::SCHEMA_STEPS {
            return steps;
        }
        // For each byte of a text, a pattern may go through all that it was compiled to.
        let each = pattern_bytes.div_ceil(PATTERN_BYTES_PER_STEP).saturating_mul(cost.repeats);
        steps.saturating_add(patterns::bytes(json, value).saturating_mul(each))
    }
}

/// Returns how many values a value has in it, itself and the names of an object included.
pub(crate) fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::Object(entries) => {
            1 + entries.values().map(|value| 1 + values(value)).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

impl Violation {
    pub(crate) fn of_all(message: &str) -> Self {
        Self { path: String::new(), message: message.to_owned() }
    }
}

impl From<ValidationError<'_>> for Violation {
    fn from(error: ValidationError<'_>) -> Self {
        Self {
            path: bounded(error.instance_path().as_str()),
            message: bounded(&error.masked().to_string()),
        }
    }
}

fn why_not(error: &ValidationError<'_>) -> NotCompiled {
    let place = error.instance_path().as_str();
    let is_pattern = matches!(
        error.kind(),
        ValidationErrorKind::Format { format } if format == "regex"
    );
    if !is_pattern {
        return NotCompiled::Invalid(bounded(format!("{place} {}", error.masked()).trim()));
    }
    if error.instance().as_str().is_some_and(is_large) {
        return NotCompiled::LargePattern(bounded(place));
    }
    let why = "not a regular expression; it cannot look around or refer back";
    NotCompiled::Invalid(bounded(&format!("{place} is {why}")))
}

/// Tells whether a pattern that cannot be compiled is a regular expression all the same: without
/// its counts (`{1,100}`) it can be.
fn is_large(pattern: &str) -> bool {
    let mut without = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let count = after.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(after.len());
        without.push_str(before);
        match after[count..].strip_prefix('}') {
            Some(more) if count > 0 => {
                without.push('*');
                rest = more;
            }
            Some(_) | None => {
                without.push('{');
                rest = after;
            }
        }
    }
    without.push_str(rest);
    let patterns = PatternOptions::regex().size_limit(limits::LARGE_PATTERN_BYTES);
    let schema = serde_json::json!({ "pattern": without });
    jsonschema::options().with_pattern_options(patterns).offline().build(&schema).is_ok()
}

fn bounded(text: &str) -> String {
    if text.chars().count() <= MESSAGE_CHARS {
        return text.to_owned();
    }
    text.chars().take(MESSAGE_CHARS).chain(['…']).collect()
}

/// Returns the JSON Schema of the definition language, for editors.
///
/// It knows every key and every shape. What needs more than one look (references, cycles,
/// "exactly one of") is left to [`crate::read`].
pub fn language() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<WorkflowDefinition>();
    schema.insert("title".to_owned(), "skep workflow".into());
    schema.to_value()
}

#[cfg(test)]
mod tests;
