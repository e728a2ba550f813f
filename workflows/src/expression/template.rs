//! Strings with `${{ }}` in them, and the values that hold such strings.

use std::ops::Range;

use serde_json::Value;

use super::code::Code;
use super::compile::{Compiled, compile};
use super::shape::Shape;
use super::view::{Located, View};
use super::{Condition, Expression, Inner, Reference, Template};
use crate::diagnostic::{Problems, Span, codes};
use crate::parse::{Data, Node};

/// What compiling a part of a definition gives: the value, and all that it reads.
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) reads: Vec<Reference>,
}

/// Compiles a condition: an expression with or without delimiters.
pub(crate) fn condition(
    node: &Node,
    source: &str,
    view: &View<'_, '_>,
    problems: &mut Problems,
) -> Option<Written<Condition>> {
    let text = match &node.data {
        Data::Text(text) => text.as_str(),
        Data::Bool(true) => "true",
        _ => "false",
    };
    let located = Located::new(text, node.span, source);
    let part = bare(located, problems)?;
    let compiled = compile(located, part.clone(), view, problems)?;
    if compiled.code.never_boolean() {
        problems
            .error(codes::NOT_BOOLEAN, located.span(part), "this condition is never true or false")
            .help("compare it with something, such as `inputs.count > 0`");
        return None;
    }
    let Compiled { code, reads, asks_status, .. } = compiled;
    let inner = Inner::new(text[part].trim(), code, reads.clone());
    Some(Written { value: Condition { expression: Expression(inner), asks_status }, reads })
}

/// Compiles the items of a fan-out: a list, or an expression with or without delimiters.
pub(crate) fn items<'a>(
    node: &Node,
    source: &str,
    view: &View<'a, '_>,
    problems: &mut Problems,
) -> Option<(Written<Expression>, Shape<'a>)> {
    if !matches!(node.data, Data::Text(_)) {
        let mut reads = Vec::new();
        let code = value(node, source, view, &mut reads, problems)?;
        let inner = Inner::new("", code, reads.clone());
        return Some((Written { value: Expression(inner), reads }, Shape::Any));
    }
    let Data::Text(text) = &node.data else { return None };
    let located = Located::new(text, node.span, source);
    let part = bare(located, problems)?;
    let compiled = compile(located, part.clone(), view, problems)?;
    let item = match view.catalogue.element(&compiled.shape, None) {
        super::shape::Found::Shape(_) if is_declared_text(&compiled.shape) => None,
        super::shape::Found::Shape(item) => Some(item),
        super::shape::Found::Excluded(..) => None,
    };
    let Some(item) = item else {
        problems
            .error(
                codes::WRONG_TYPE,
                located.span(part),
                "`for_each` needs a list, but its schema says otherwise",
            )
            .help("a fan-out runs once per element of a list");
        return None;
    };
    let inner = Inner::new(text[part].trim(), compiled.code, compiled.reads.clone());
    Some((Written { value: Expression(inner), reads: compiled.reads }, item))
}

fn is_declared_text(shape: &Shape<'_>) -> bool {
    match shape {
        Shape::Json(schema) => schema.get("type").is_some_and(|declared| declared == "string"),
        Shape::Any | Shape::ListOf(_) | Shape::Group(_) => false,
    }
}

/// Compiles a value with `${{ }}` in its strings.
pub(crate) fn template(
    node: &Node,
    source: &str,
    view: &View<'_, '_>,
    problems: &mut Problems,
) -> Option<Written<Template>> {
    let mut reads = Vec::new();
    let code = value(node, source, view, &mut reads, problems)?;
    Some(Written { value: Template(Inner::new("", code, reads.clone())), reads })
}

impl Template {
    /// Returns the template that gives an empty object.
    pub(crate) fn empty() -> Self {
        Self(Inner::new("", Code::Constant(Value::Object(serde_json::Map::new())), Vec::new()))
    }
}

/// Compiles a value; what needs no evaluation stays plain JSON.
fn value(
    node: &Node,
    source: &str,
    view: &View<'_, '_>,
    reads: &mut Vec<Reference>,
    problems: &mut Problems,
) -> Option<Code> {
    match &node.data {
        Data::Text(text) => {
            let located = Located::new(text, node.span, source);
            string(located, view, reads, problems)
        }
        Data::List(items) => {
            let codes: Vec<Option<Code>> =
                items.iter().map(|item| value(item, source, view, reads, problems)).collect();
            let codes: Vec<Code> = codes.into_iter().collect::<Option<_>>()?;
            if codes.iter().all(|code| matches!(code, Code::Constant(_))) {
                return Some(Code::Constant(codes.into_iter().map(constant).collect()));
            }
            Some(Code::List(codes))
        }
        Data::Map(entries) => {
            let mut codes = Vec::with_capacity(entries.len());
            let mut complete = true;
            for (key, entry) in entries {
                if key.text.contains("${{") {
                    problems
                        .error(codes::TEMPLATE_DELIMITER, key.span, "keys are not evaluated")
                        .help("build the map in an expression: `${{ {inputs.key: 1} }}`");
                }
                match value(entry, source, view, reads, problems) {
                    Some(code) => codes.push((key.text.as_str(), code)),
                    None => complete = false,
                }
            }
            if !complete {
                return None;
            }
            if codes.iter().all(|(_, code)| matches!(code, Code::Constant(_))) {
                let map = codes.into_iter().map(|(key, code)| (key.to_owned(), constant(code)));
                return Some(Code::Constant(Value::Object(map.collect())));
            }
            let entries = codes.into_iter();
            Some(Code::Map(
                entries.map(|(key, code)| (Code::Constant(Value::from(key)), code)).collect(),
            ))
        }
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::UInt(_) | Data::Float(_) => {
            Some(Code::Constant(node.to_json()))
        }
    }
}

fn constant(code: Code) -> Value {
    match code {
        Code::Constant(value) => value,
        _ => Value::Null,
    }
}

/// Compiles one string; if it is exactly one `${{ }}`, its value keeps its type.
fn string(
    located: Located<'_>,
    view: &View<'_, '_>,
    reads: &mut Vec<Reference>,
    problems: &mut Problems,
) -> Option<Code> {
    let text = located.text;
    if !text.contains("${{") {
        return Some(Code::Constant(Value::from(text)));
    }
    let mut parts = Vec::new();
    let mut complete = true;
    let mut at = 0;
    while let Some(found) = text[at..].find("${{") {
        let open = at + found;
        if open > at {
            parts.push(Code::Constant(Value::from(&text[at..open])));
        }
        let Some(close) = closing(text, open + 3) else {
            unclosed(located, open, problems);
            return None;
        };
        let part = open + 3..close;
        match compile(located, part.clone(), view, problems) {
            Some(compiled) => {
                reads.extend(compiled.reads);
                parts.push(Code::Quoted(text[part].trim().into(), Box::new(compiled.code)));
            }
            None => complete = false,
        }
        at = close + 2;
    }
    if !complete {
        return None;
    }
    if at < text.len() {
        parts.push(Code::Constant(Value::from(&text[at..])));
    }
    match parts.len() {
        1 => parts.pop(),
        _ => Some(Code::Text(parts)),
    }
}

/// Returns where the expression of a text stands that may have delimiters around it.
fn bare(located: Located<'_>, problems: &mut Problems) -> Option<Range<usize>> {
    let text = located.text;
    let start = text.len() - text.trim_start().len();
    let Some(found) = text.find("${{") else {
        return Some(0..text.len());
    };
    let Some(close) = closing(text, found + 3) else {
        unclosed(located, found, problems);
        return None;
    };
    if found != start || !text[close + 2..].trim().is_empty() {
        problems
            .error(
                codes::TEMPLATE_DELIMITER,
                located.span(found..found + 3),
                "this is an expression as a whole: `${{` cannot stand inside it",
            )
            .help("remove `${{` and `}}`, or put them around everything");
        return None;
    }
    Some(found + 3..close)
}

fn unclosed(located: Located<'_>, open: usize, problems: &mut Problems) {
    let span: Span = located.span(open..open + 3);
    problems
        .error(codes::TEMPLATE_DELIMITER, span, "`${{` is not closed")
        .help("add `}}`; for the text itself write `${{ '${{' }}`");
}

/// Returns where the `}}` is that closes an expression; strings and braces in it do not count.
fn closing(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut quote, mut open, mut at) = (None, 0usize, from);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(end), byte) if byte == end => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'{') => open += 1,
            (None, b'}') if open > 0 => open -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, _) => {}
        }
        at += 1;
    }
    None
}
