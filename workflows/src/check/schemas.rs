//! JSON Schemas of a definition: compiled once each, and never more costly than they are long.

mod walk;

use std::collections::HashMap;

use serde_json::Value;

use crate::diagnostic::{Problems, codes};
use crate::limits;
use crate::parse::Node;
use crate::schema::{NotCompiled, Schema, Violation};

/// Where the search for the size of a pattern starts.
const SMALL_PATTERN_BYTES: usize = 1024;

/// Compiles schemas; the same text is compiled once.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    compiled: HashMap<String, Option<Schema>>,
    patterns: usize,
    steps: usize,
}

impl Schemas {
    /// Compiles the schema of a node, or reports why it cannot be.
    pub(super) fn compile(
        &mut self,
        node: &Node,
        what: &str,
        problems: &mut Problems,
    ) -> Option<Schema> {
        if problems.give_up() {
            return None;
        }
        let json = node.to_json();
        let text = json.to_string();
        if let Some(known) = self.compiled.get(&text)
            && (known.is_some() || !problems.is_empty())
        {
            return known.clone();
        }
        let compiled = self.bounded(&json, &text);
        if let Err(problem) = &compiled {
            problems
                .error(
                    codes::INVALID_SCHEMA,
                    node.span,
                    format!("{what} is not a valid schema: {problem}"),
                )
                .help("it must be a JSON Schema, draft 2020-12");
        }
        let compiled = compiled.ok();
        self.compiled.insert(text, compiled.clone());
        compiled
    }

    /// Compiles a schema; refuses what would cost more to compile or to check than its length
    /// suggests.
    fn bounded(&mut self, json: &Value, text: &str) -> Result<Schema, String> {
        if text.len() > limits::SCHEMA_BYTES {
            return Err(format!("it is longer than {} bytes", limits::SCHEMA_BYTES));
        }
        let cost = walk::cost(json)?;
        self.take_patterns(cost.patterns)?;
        // What a pattern is compiled to is known by trying: it bounds what it costs to use it.
        let mut bytes = SMALL_PATTERN_BYTES;
        loop {
            match Schema::compile(json, cost, bytes) {
                Err(NotCompiled::LargePattern(_)) if bytes < limits::LARGE_PATTERN_BYTES => {}
                other => return other.map_err(message),
            }
            bytes *= 4;
            self.take_patterns(cost.patterns * ((bytes - bytes / 4) / limits::PATTERN_BYTES))?;
        }
    }

    fn take_patterns(&mut self, patterns: usize) -> Result<(), String> {
        self.patterns += patterns;
        if self.patterns > limits::SCHEMA_PATTERNS {
            return Err(format!(
                "the file has more than {} patterns; those of a schema count {} times if one of \
                 them is large, such as `^.{{1,1000}}$`",
                limits::SCHEMA_PATTERNS,
                limits::LARGE_PATTERN_BYTES / limits::PATTERN_BYTES
            ));
        }
        Ok(())
    }

    /// Holds a default against its schema, unless the defaults of the file took too much already.
    pub(super) fn check_default(
        &mut self,
        schema: &Schema,
        default: &Value,
    ) -> Result<(), Vec<Violation>> {
        self.steps = self.steps.saturating_add(schema.steps(default));
        if self.steps > limits::DEFAULT_STEPS {
            return Err(vec![Violation::of_all("too large to be held against its schema")]);
        }
        schema.check(default)
    }
}

fn message(problem: NotCompiled) -> String {
    match problem {
        NotCompiled::LargePattern(place) => format!(
            "{place} takes more than {} KiB when it is compiled; shorten what is repeated, or use \
             `maxLength`",
            limits::LARGE_PATTERN_BYTES / 1024
        ),
        NotCompiled::Invalid(problem) => problem,
    }
}
