//! How costly a schema is: the walk over it with every reference written out.

use serde_json::{Map, Value};

use crate::limits;
use crate::schema::{Cost, values};

/// Bytes of a constant that are compared in one step.
const COMPARED_BYTES: usize = 64;

/// Steps that it takes to hash a value and to find it among others.
const HASHED: usize = 8;

/// Returns what a schema costs, or why that is too much.
pub(super) fn cost(schema: &Value) -> Result<Cost, String> {
    let mut walk = Walk {
        root: schema,
        left: limits::SCHEMA_NODES,
        branches: false,
        patterns: 0,
        repeats: 1,
        refs: Vec::new(),
        depth: 0,
    };
    walk.schema(schema, Times { all: 1, again: 0 })?;
    let Walk { left, branches, patterns, repeats, .. } = walk;
    Ok(Cost { keywords: limits::SCHEMA_NODES - left, branches, patterns, repeats })
}

/// How often the validator looks at one part of a schema.
#[derive(Clone, Copy)]
struct Times {
    all: usize,
    /// How often `unevaluatedProperties` or `unevaluatedItems` around it ask once more, for each
    /// level of alternatives that leads there.
    again: usize,
}

impl Times {
    /// For what is held against the same value as the schema around it.
    fn in_place(self) -> Self {
        Self { all: self.all.saturating_add(self.again), again: self.again }
    }

    /// For what is held against a part of the value.
    fn inside(self) -> Self {
        Self { all: self.all, again: 0 }
    }
}

/// The walk over everything that the validator may use. A key is a keyword only where a schema
/// stands: in `properties` and its like it is a name, in `default` it is data.
struct Walk<'a> {
    root: &'a Value,
    left: usize,
    branches: bool,
    patterns: usize,
    repeats: usize,
    refs: Vec<&'a str>,
    depth: usize,
}

impl<'a> Walk<'a> {
    fn take(&mut self, keywords: usize, times: Times) -> Result<(), String> {
        let left = self.left.checked_sub(keywords.saturating_mul(times.all));
        self.left = left.ok_or("with its references written out it is too large")?;
        Ok(())
    }

    fn schema(&mut self, schema: &'a Value, times: Times) -> Result<(), String> {
        self.take(1, times)?;
        self.repeats = self.repeats.max(times.all);
        let Value::Object(keywords) = schema else { return Ok(()) };
        self.depth += 1;
        if self.depth > limits::SCHEMA_DEPTH {
            return Err("with its references written out it is nested too deep".to_owned());
        }
        let times = asked_again(keywords, times);
        for (keyword, value) in keywords {
            self.keyword(keyword, value, times)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn keyword(&mut self, keyword: &str, value: &'a Value, times: Times) -> Result<(), String> {
        match (keyword, value) {
            (
                "$dynamicRef" | "$recursiveRef" | "$id" | "$anchor" | "$dynamicAnchor",
                Value::String(_),
            ) => Err(format!("`{keyword}` is not supported")),
            ("$ref", Value::String(target)) => self.reference(target, times.in_place()),
            ("enum" | "const", value) => self.take(compared(value), times),
            ("required" | "dependentRequired" | "type", value) => self.take(values(value), times),
            ("uniqueItems", Value::Bool(true)) => self.take(HASHED, times),
            ("pattern", Value::String(_)) => {
                self.patterns += 1;
                self.take(1, times)
            }
            ("patternProperties", Value::Object(patterns)) => {
                self.patterns += patterns.len();
                self.each(patterns.values(), times.inside())
            }
            ("anyOf" | "oneOf", Value::Array(schemas)) => {
                self.branches = true;
                self.each(schemas, times.in_place())
            }
            ("allOf", Value::Array(schemas)) => self.each(schemas, times.in_place()),
            ("not" | "if" | "then" | "else", value) => self.schema(value, times.in_place()),
            ("dependentSchemas" | "dependencies", Value::Object(schemas)) => {
                self.each(schemas.values(), times.in_place())
            }
            ("properties", Value::Object(schemas)) => self.each(schemas.values(), times.inside()),
            ("prefixItems" | "items", Value::Array(schemas)) => self.each(schemas, times.inside()),
            (
                "items"
                | "additionalItems"
                | "unevaluatedItems"
                | "contains"
                | "additionalProperties"
                | "unevaluatedProperties"
                | "propertyNames"
                | "contentSchema",
                value,
            ) => self.schema(value, times.inside()),
            // Annotations, bounds, definitions that nothing refers to and words of others.
            _ => self.take(1, times),
        }
    }

    fn each(
        &mut self,
        schemas: impl IntoIterator<Item = &'a Value>,
        times: Times,
    ) -> Result<(), String> {
        self.take(1, times)?;
        schemas.into_iter().try_for_each(|schema| {
            // The names of `dependencies`.
            self.take(schema.as_array().map_or(0, Vec::len), times)?;
            self.schema(schema, times)
        })
    }

    fn reference(&mut self, target: &'a str, times: Times) -> Result<(), String> {
        let Some(found) = self.find(target) else {
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
        let result = self.schema(found, times);
        self.refs.pop();
        result
    }

    /// Follows a pointer as the validator does; what it would read in another way is not found.
    fn find(&self, target: &str) -> Option<&'a Value> {
        let pointer = target.strip_prefix('#').filter(|pointer| !pointer.contains('%'))?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return None;
        }
        let mut found = self.root;
        let mut end = 0;
        while end < pointer.len() {
            let rest = &pointer[end + 1..];
            end += 1 + rest.find('/').unwrap_or(rest.len());
            // A part with a name of its own would be the root of what is in it.
            if found.get("$id").is_some_and(Value::is_string) {
                return None;
            }
            found = self.root.pointer(&pointer[..end])?;
        }
        Some(found)
    }
}

/// To find out what was evaluated, the validator holds all that applies in place against the value
/// once more, on each level; where levels ask for themselves, this multiplies.
fn asked_again(keywords: &Map<String, Value>, times: Times) -> Times {
    let asks = |key: &str| keywords.get(key).is_some_and(|schema| *schema != Value::Bool(true));
    if asks("unevaluatedProperties") || asks("unevaluatedItems") {
        return Times { all: times.all, again: times.all.saturating_mul(2) };
    }
    times
}

/// Returns how many steps it takes to compare with a value.
fn compared(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / COMPARED_BYTES,
        Value::Array(items) => 1 + items.iter().map(compared).sum::<usize>(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| 1 + key.len() / COMPARED_BYTES + compared(value))
            .fold(1, usize::saturating_add),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}
