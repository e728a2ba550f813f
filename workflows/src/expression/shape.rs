//! What is known about a value before there is one: the schema it must match.

use serde_json::Value;

use crate::workflow::StepIndex;

/// What is known about a value.
#[derive(Clone, Debug)]
pub(crate) enum Shape<'a> {
    /// Nothing.
    Any,
    /// It matches this JSON Schema.
    Json(&'a Value),
    /// It is a list of such values.
    ListOf(Box<Self>),
    /// It is the output of a group: a map with an entry for each inner step.
    Group(StepIndex),
}

/// What looking into a value gives.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// It may be there, and this is known about it.
    Shape(Shape<'a>),
    /// It can never be there: why, and which fields can.
    Excluded(String, Vec<&'a str>),
}

/// Looks at the field of a value that matches a schema.
pub(super) fn field<'a>(schema: &'a Value, name: &str) -> Found<'a> {
    let any = Found::Shape(Shape::Any);
    let Value::Object(keywords) = schema else {
        return any;
    };
    if let Some(types) = excludes(keywords.get("type"), &["object"]) {
        return Found::Excluded(format!("its schema says that it is {types}"), Vec::new());
    }
    let properties = keywords.get("properties").and_then(Value::as_object);
    if let Some(property) = properties.and_then(|properties| properties.get(name)) {
        return if *property == Value::Bool(false) {
            Found::Excluded(format!("its schema forbids `{name}`"), Vec::new())
        } else {
            Found::Shape(Shape::Json(property))
        };
    }
    if keywords.get("patternProperties").is_some() {
        return any;
    }
    match keywords.get("additionalProperties") {
        Some(Value::Bool(false)) => {
            let known = properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            Found::Excluded("its schema allows no further fields".to_owned(), known)
        }
        Some(schema @ Value::Object(_)) => Found::Shape(Shape::Json(schema)),
        Some(_) | None => any,
    }
}

/// Looks at an element of a value that matches a schema; `at` is `None` if not known.
pub(super) fn element<'a>(schema: &'a Value, at: Option<usize>) -> Found<'a> {
    let any = Found::Shape(Shape::Any);
    let Value::Object(keywords) = schema else {
        return any;
    };
    if let Some(types) = excludes(keywords.get("type"), &["array", "string"]) {
        return Found::Excluded(format!("its schema says that it is {types}"), Vec::new());
    }
    let first = keywords.get("prefixItems").and_then(Value::as_array);
    if let Some(first) = first {
        let Some(at) = at else { return any };
        if let Some(schema) = first.get(at) {
            return Found::Shape(Shape::Json(schema));
        }
    }
    match keywords.get("items") {
        Some(Value::Bool(false)) => {
            Found::Excluded("its schema allows no such element".to_owned(), Vec::new())
        }
        Some(schema @ Value::Object(_)) => Found::Shape(Shape::Json(schema)),
        Some(_) | None => any,
    }
}

/// Names the declared types, if there are some and none of the wanted is among them.
fn excludes(declared: Option<&Value>, wanted: &[&str]) -> Option<String> {
    let declared: Vec<&str> = match declared? {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    if declared.is_empty() || declared.iter().any(|one| wanted.contains(one)) {
        return None;
    }
    let named = declared.iter().map(|one| match *one {
        "null" => "null".to_owned(),
        one @ ("array" | "integer" | "object") => format!("an {one}"),
        one => format!("a {one}"),
    });
    Some(named.collect::<Vec<_>>().join(" or "))
}
