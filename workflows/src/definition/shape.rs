//! How a positioned value becomes a typed one.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

use crate::diagnostic::{Problems, Span, codes};
use crate::parse::Node;

/// A type that a value of the file can have.
pub(crate) trait Shape: JsonSchema + Sized {
    /// Decodes the value; `what` names it in messages. Reports why it cannot be done.
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self>;
}

/// Keeps what few steps have out of the way of those that do not.
impl<T: Shape> Shape for Box<T> {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        T::decode(node, what, problems).map(Self::new)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T: Shape> Shape for At<T> {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let span = node.span;
        T::decode(node, what, problems).map(|value| Self { value, span })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Reports a value of the wrong type.
pub(crate) fn wrong_type<T>(
    node: &Node,
    what: &str,
    wanted: &str,
    problems: &mut Problems,
) -> Option<T> {
    let message = format!("{what} must be {wanted}, but is {}", node.kind());
    let problem = problems.error(codes::WRONG_TYPE, node.span, message);
    let example = match what {
        "`steps`" => "each step has its name as key: `steps: { greet: { agent: greet } }`",
        "`retry`" => "`retry: { attempts: 3 }`",
        "`wait_for`" => "`wait_for: { signal: approved, timeout: 24h }`",
        "`inputs`" => "each input has its name as key, and a schema: `topic: { type: string }`",
        _ => return None,
    };
    problem.help(example);
    None
}

/// Reports a word that is not one of the known ones.
pub(super) fn unknown_word<T>(
    node: &Node,
    word: &str,
    what: &str,
    known: &[&str],
    problems: &mut Problems,
) -> Option<T> {
    let list = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let help = match problems.suggest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of {list}"),
    };
    problems.error(codes::UNKNOWN_WORD, node.span, format!("{what} cannot be `{word}`")).help(help);
    None
}

/// Gives an enum its words: decoding and JSON Schema.
macro_rules! words {
    ($($type:ident $name:literal { $($word:literal => $variant:ident,)* })*) => {$(
        impl $crate::definition::Shape for $type {
            fn decode(
                node: $crate::parse::Node,
                what: &str,
                problems: &mut $crate::diagnostic::Problems,
            ) -> Option<Self> {
                use $crate::definition::shape::{unknown_word, wrong_type};
                const WORDS: &[&str] = &[$($word,)*];
                let $crate::parse::Data::Text(text) = &node.data else {
                    let wanted = format!("one of {}", WORDS.join(", "));
                    return wrong_type(&node, what, &wanted, problems);
                };
                match text.as_str() {
                    $($word => Some(Self::$variant),)*
                    other => unknown_word(&node, other, what, WORDS, problems),
                }
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word,)*] })
            }
        }
    )*};
}

/// Gives a type its name and its JSON Schema.
macro_rules! described {
    ($($type:ty, $name:literal, $schema:tt;)*) => {$(
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )*};
}

pub(super) use {described, words};
