//! JSON Schemas: those that definitions hold, and the one of the language.

use std::sync::Arc;

use jsonschema::{PatternOptions, ValidationError, Validator};
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
/// What a regular expression of a schema may cost, in bytes.
const PATTERN_BYTES: usize = 64 * 1024;

/// A compiled JSON Schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    json: Value,
    validator: Validator,
    cost: Cost,
}

/// What it takes to hold a value against a schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Its keywords and alternatives, with every reference written out.
    pub(crate) keywords: usize,
    /// Whether what is wrong may be wrong in several ways (`anyOf`, `oneOf`).
    pub(crate) branches: bool,
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
    pub(crate) fn compile(json: Value, cost: Cost) -> Result<Self, String> {
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(16 * PATTERN_BYTES);
        let validator =
            jsonschema::options().with_pattern_options(patterns).offline().build(&json).map_err(
                |error| {
                    let place = error.instance_path().as_str().to_owned();
                    bounded(format!("{place} {}", error.masked()).trim())
                },
            )?;
        Ok(Self(Arc::new(Inner { json, validator, cost })))
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
        self.0.cost.keywords.saturating_mul(values(value))
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
