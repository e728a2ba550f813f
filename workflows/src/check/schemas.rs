//! JSON Schemas of a definition: compiled once each, and never more costly than they are long.

use std::collections::HashMap;

use serde_json::Value;

use crate::diagnostic::{Problems, codes};
use crate::limits;
use crate::parse::Node;
use crate::schema::{Cost, Schema, Violation, values};

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
        let json = node.to_json();
        let text = json.to_string();
        if let Some(known) = self.compiled.get(&text)
            && (known.is_some() || !problems.is_empty())
        {
            return known.clone();
        }
        let compiled = self.bounded(&json, &text).and_then(|cost| Schema::compile(json, cost));
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

    /// Refuses what would cost more to compile or to check than its length suggests.
    fn bounded(&mut self, json: &Value, text: &str) -> Result<Cost, String> {
        if text.len() > limits::SCHEMA_BYTES {
            return Err(format!("it is longer than {} bytes", limits::SCHEMA_BYTES));
        }
        let mut walk = Walk {
            root: json,
            left: limits::SCHEMA_NODES,
            branches: false,
            patterns: 0,
            refs: Vec::new(),
        };
        walk.schema(json)?;
        self.patterns += walk.patterns;
        if self.patterns > limits::SCHEMA_PATTERNS {
            return Err(format!("the file has more than {} patterns", limits::SCHEMA_PATTERNS));
        }
        Ok(Cost { keywords: limits::SCHEMA_NODES - walk.left, branches: walk.branches })
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

/// The walk over a schema as it would be with every reference written out.
struct Walk<'a> {
    root: &'a Value,
    left: usize,
    branches: bool,
    patterns: usize,
    refs: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn take(&mut self, keywords: usize) -> Result<(), String> {
        let left = self.left.checked_sub(keywords);
        self.left = left.ok_or("with its references written out it is too large")?;
        Ok(())
    }

    fn schema(&mut self, schema: &'a Value) -> Result<(), String> {
        self.take(1)?;
        match schema {
            Value::Object(keywords) => {
                for (keyword, value) in keywords {
                    self.keyword(keyword, value)?;
                }
                Ok(())
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.schema(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    fn keyword(&mut self, keyword: &str, value: &'a Value) -> Result<(), String> {
        match (keyword, value) {
            ("enum" | "const", value) => self.take(values(value)),
            ("default" | "examples", _) => Ok(()),
            ("anyOf" | "oneOf", value) => {
                self.branches = true;
                self.schema(value)
            }
            ("$ref", Value::String(target)) => self.reference(target),
            (
                "$dynamicRef" | "$recursiveRef" | "$id" | "$anchor" | "$dynamicAnchor",
                Value::String(_),
            ) => Err(format!("`{keyword}` is not supported")),
            ("pattern", Value::String(_)) => {
                self.patterns += 1;
                Ok(())
            }
            ("patternProperties", Value::Object(patterns)) => {
                self.patterns += patterns.len();
                patterns.values().try_for_each(|schema| self.schema(schema))
            }
            ("$defs" | "definitions", _) => Ok(()),
            (_, value) => self.schema(value),
        }
    }

    fn reference(&mut self, target: &'a str) -> Result<(), String> {
        let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(found) = found else {
            let short: String = target.chars().take(80).collect();
            return Err(format!("`$ref: {short}` does not point into the schema itself"));
        };
        if self.refs.contains(&target) || target == "#" {
            return Err(format!("`$ref: {target}` refers to itself: a schema cannot be recursive"));
        }
        if self.refs.len() >= limits::DEPTH {
            return Err("references go through too many others".to_owned());
        }
        self.refs.push(target);
        let result = self.schema(found);
        self.refs.pop();
        result
    }
}
