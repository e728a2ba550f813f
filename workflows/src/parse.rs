//! Text to a tree of positioned values: this and what lies below are all that knows YAML.

mod library;
mod numbers;
mod ordinary;
mod scalar;

use compact_str::CompactString;

use crate::diagnostic::{Problems, Span, codes};
use crate::limits;

/// A value of the file and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) data: Data,
}

/// What YAML and JSON can say.
#[derive(Debug)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(CompactString),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: CompactString,
    pub(crate) span: Span,
}

impl Node {
    /// Names the kind of value, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Int(_) | Data::UInt(_) | Data::Float(_) => "a number",
            Data::Text(_) => "a string",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }

    /// Returns the value as JSON; a number that JSON cannot say becomes `null`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::from(*value),
            Data::Int(value) => Value::from(*value),
            Data::UInt(value) => Value::from(*value),
            Data::Float(value) => Value::from(*value),
            Data::Text(text) => Value::from(text.as_str()),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Map(entries) => {
                entries.iter().map(|(key, value)| (key.text.to_string(), value.to_json())).collect()
            }
        }
    }
}

/// Parses the text, or says why that cannot be done.
///
/// Problems that leave a tree behind (duplicate keys, numbers that are not finite) are reported
/// as well; the tree is then complete all the same.
pub(crate) fn parse(source: &str, problems: &mut Problems) -> Option<Node> {
    if source.trim_start_matches(['\u{feff}', ' ', '\t', '\n', '\r']).is_empty() {
        problems
            .error(codes::EMPTY, Span::default(), "the file is empty")
            .help("a workflow needs at least `name` and `steps`");
        return None;
    }
    let body = source.strip_prefix('\u{feff}').unwrap_or(source);
    let shift = (source.len() - body.len()) as u32;
    let mut node = match ordinary::read(body) {
        Some(node) => node,
        None => library::read(body, shift, problems)?,
    };
    let mut review = Review { shift, problems, integer_keys: false, too_deep: false };
    review.node(&mut node, 1);
    if review.too_deep {
        return None;
    }
    if review.integer_keys
        && let Some(first) = library::read_first(body)
    {
        numbers::duplicates(&node, &first, shift, problems);
    }
    Some(node)
}

/// Tells whether a key may be a number for the library, however it is written.
fn is_number(key: &str) -> bool {
    !key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.bytes().any(|byte| byte.is_ascii_digit())
}

/// The walk over the fresh tree: what is wrong with it although it is YAML.
struct Review<'a> {
    /// Bytes before the text.
    shift: u32,
    problems: &'a mut Problems,
    integer_keys: bool,
    too_deep: bool,
}

impl Review<'_> {
    fn node(&mut self, node: &mut Node, depth: usize) {
        node.span.offset += self.shift;
        if depth > limits::DEPTH {
            if !self.too_deep {
                self.problems.error(
                    codes::TOO_DEEP,
                    node.span,
                    format!("the file is nested deeper than {} levels", limits::DEPTH),
                );
            }
            self.too_deep = true;
            return;
        }
        match &mut node.data {
            Data::Float(number) if !number.is_finite() => {
                self.problems
                    .error(codes::NOT_FINITE, node.span, "this number is not finite")
                    .help("JSON has no NaN and no infinity; quote it if it is meant as text");
            }
            Data::List(items) => items.iter_mut().for_each(|item| self.node(item, depth + 1)),
            Data::Map(entries) => self.map(entries, depth),
            Data::Null
            | Data::Bool(_)
            | Data::Int(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::Text(_) => {}
        }
    }

    fn map(&mut self, entries: &mut [(Key, Node)], depth: usize) {
        for (key, value) in entries.iter_mut() {
            key.span.offset += self.shift;
            self.integer_keys |= is_number(&key.text);
            if key.text == "<<" {
                self.problems
                    .error(codes::TOO_MUCH_YAML, key.span, "merge keys (`<<`) are not supported")
                    .help("put what the steps share under `defaults`");
            }
            self.node(value, depth + 1);
        }
        let mut keys: Vec<&Key> = entries.iter().map(|(key, _)| key).collect();
        // Equal keys stay in the order of the file.
        keys.sort_by(|a, b| a.text.cmp(&b.text));
        for pair in keys.windows(2) {
            let [first, second] = pair else { continue };
            if first.text == second.text {
                if self.problems.give_up() {
                    return;
                }
                self.problems
                    .error(
                        codes::DUPLICATE_KEY,
                        second.span,
                        format!("duplicate key `{}`", second.text),
                    )
                    .related("first written here", first.span)
                    .help("remove one of them");
            }
        }
    }
}
