//! How much text the patterns of a schema have to be held against.

use serde_json::Value;

/// Returns the bytes that all patterns together look at in a value. Each schema that may apply to a
/// part of it counts as applied.
pub(super) fn bytes(root: &Value, value: &Value) -> usize {
    Patterns { root }.schema(root, value)
}

struct Patterns<'a> {
    root: &'a Value,
}

impl Patterns<'_> {
    fn schema(&self, schema: &Value, value: &Value) -> usize {
        let Value::Object(keywords) = schema else { return 0 };
        let one = |(keyword, inner): (&String, &Value)| self.keyword(keyword, inner, value);
        keywords.iter().map(one).fold(0, usize::saturating_add)
    }

    fn keyword(&self, keyword: &str, inner: &Value, value: &Value) -> usize {
        match keyword {
            "pattern" => value.as_str().map_or(0, str::len),
            "$ref" => {
                let pointer = inner.as_str().and_then(|target| target.strip_prefix('#'));
                let found = pointer.and_then(|pointer| self.root.pointer(pointer));
                found.map_or(0, |found| self.schema(found, value))
            }
            "allOf" | "anyOf" | "oneOf" => self.all(inner.as_array().into_iter().flatten(), value),
            "not" | "if" | "then" | "else" => self.schema(inner, value),
            "dependentSchemas" | "dependencies" => {
                self.all(inner.as_object().into_iter().flat_map(|schemas| schemas.values()), value)
            }
            "prefixItems" => match (inner, value) {
                (Value::Array(schemas), Value::Array(items)) => schemas
                    .iter()
                    .zip(items)
                    .map(|(schema, item)| self.schema(schema, item))
                    .fold(0, usize::saturating_add),
                _ => 0,
            },
            "items" | "unevaluatedItems" | "contains" => {
                let items = value.as_array().into_iter().flatten();
                items.map(|item| self.schema(inner, item)).fold(0, usize::saturating_add)
            }
            _ => value.as_object().map_or(0, |entries| {
                let one =
                    |(name, value): (&String, &Value)| self.entry(keyword, inner, name, value);
                entries.iter().map(one).fold(0, usize::saturating_add)
            }),
        }
    }

    /// Looks at one entry of an object with a keyword for objects.
    fn entry(&self, keyword: &str, inner: &Value, name: &str, value: &Value) -> usize {
        match keyword {
            "properties" => inner.get(name).map_or(0, |schema| self.schema(schema, value)),
            "patternProperties" => {
                let schemas = inner.as_object().into_iter().flat_map(|schemas| schemas.values());
                schemas
                    .map(|schema| name.len().saturating_add(self.schema(schema, value)))
                    .fold(0, usize::saturating_add)
            }
            "additionalProperties" | "unevaluatedProperties" => self.schema(inner, value),
            "propertyNames" => self.schema(inner, &Value::from(name)),
            _ => 0,
        }
    }

    fn all<'s>(&self, schemas: impl Iterator<Item = &'s Value>, value: &Value) -> usize {
        schemas.map(|schema| self.schema(schema, value)).fold(0, usize::saturating_add)
    }
}
