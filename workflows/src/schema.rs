//! JSON Schemas: those that definitions hold, and the one of the language.

use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::definition::WorkflowDefinition;

/// The most violations that one check reports.
const VIOLATIONS: usize = 8;
/// The longest message of a violation, in characters.
const MESSAGE_CHARS: usize = 200;
/// What a regular expression of a schema may cost, in bytes.
const PATTERN_BYTES: usize = 64 * 1024;

/// A compiled JSON Schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    json: Value,
    validator: Validator,
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
    pub(crate) fn compile(json: Value) -> Result<Self, String> {
        let patterns =
            PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(16 * PATTERN_BYTES);
        let validator =
            jsonschema::options().with_pattern_options(patterns).offline().build(&json).map_err(
                |error| {
                    let place = error.instance_path().as_str().to_owned();
                    bounded(format!("{place} {}", error.masked()).trim())
                },
            )?;
        Ok(Self(Arc::new(Inner { json, validator })))
    }

    /// Returns the schema as it was written.
    pub fn json(&self) -> &Value {
        &self.0.json
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// The violations, at most eight, each of bounded length.
    pub fn check(&self, value: &Value) -> Result<(), Vec<Violation>> {
        if self.0.validator.is_valid(value) {
            return Ok(());
        }
        let violations = self.0.validator.iter_errors(value).take(VIOLATIONS);
        Err(violations
            .map(|error| Violation {
                path: bounded(error.instance_path().as_str()),
                message: bounded(&error.masked().to_string()),
            })
            .collect())
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
