//! Maps whose keys are known, and maps whose keys are names.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::shape::{Shape, wrong_type};
use crate::diagnostic::{Problems, Span, codes};
use crate::parse::{Data, Key, Node};
use crate::suggest::foreign_key;

/// A type whose keys are known.
pub(crate) trait Keyed {
    /// The keys, in the order in which they are declared.
    const KEYS: &'static [&'static str];
}

/// Which known keys were written, and where.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: Vec<(&'static str, Span)>,
    /// Keys that may have been meant by unknown ones, which were reported.
    meant: Vec<&'static str>,
    unknown: bool,
}

impl Keys {
    /// Returns where a key is written.
    pub(crate) fn span(&self, key: &str) -> Option<Span> {
        self.known.iter().find(|(known, _)| *known == key).map(|(_, span)| *span)
    }

    /// Returns the written keys in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, Span)> {
        self.known.iter().copied()
    }

    /// Tells whether there are unknown keys.
    pub(crate) fn has_unknown(&self) -> bool {
        self.unknown
    }

    /// Tells whether a key is there, be it misspelled.
    pub(super) fn is_meant(&self, key: &str) -> bool {
        self.span(key).is_some() || self.meant.contains(&key)
    }

    pub(super) fn push(&mut self, key: &'static str, span: Span) {
        self.known.push((key, span));
    }
}

/// Takes the entries out of a map, or reports that it is none.
pub(super) fn entries(node: Node, what: &str, problems: &mut Problems) -> Option<Vec<(Key, Node)>> {
    match node.data {
        Data::Map(entries) => Some(entries),
        Data::Null
        | Data::Bool(_)
        | Data::Int(_)
        | Data::UInt(_)
        | Data::Float(_)
        | Data::Text(_)
        | Data::List(_) => wrong_type(&node, what, "a map", problems),
    }
}

/// Reports a key that the type does not have, unless it starts with `x-`.
pub(super) fn unknown_key(
    key: &Key,
    what: &str,
    known: &'static [&'static str],
    keys: &mut Keys,
    problems: &mut Problems,
) {
    // Merge keys are reported by the parser, with their own help.
    if key.text.starts_with("x-") || key.text == "<<" {
        return;
    }
    keys.unknown = true;
    if problems.give_up() {
        return;
    }
    let help = if let Some((ours, help)) = foreign_key(&key.text, known) {
        keys.meant.push(ours);
        help
    } else if let Some(near) = problems.suggest(&key.text, known.iter().copied()) {
        keys.meant.push(near);
        format!("did you mean `{near}`?")
    } else {
        format!("known here: {}; keys that start with `x-` are free", known.join(", "))
    };
    problems
        .error(codes::UNKNOWN_KEY, key.span, format!("unknown key `{}` in {what}", key.text))
        .help(help);
}

/// Reports a key that must be there.
pub(super) fn missing_key(key: &str, what: &str, span: Span, problems: &mut Problems) {
    let message = format!("{what} has no `{key}`");
    problems.error(codes::MISSING_KEY, span, message).help(format!("add `{key}`"));
}

/// Builds the JSON Schema of a type whose keys are known.
pub(super) fn keyed_schema(
    description: &str,
    properties: serde_json::Map<String, serde_json::Value>,
    required: &[&str],
) -> Schema {
    let mut schema = schemars::json_schema!({
        "type": "object",
        "description": description.trim(),
        "properties": properties,
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// Declares a type whose keys are known: the struct, its decoding, its JSON Schema.
macro_rules! keyed {
    (
        $(#[doc = $about:literal])*
        pub(crate) struct $type:ident requires [$($required:literal),*] {
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $value:ty = $key:literal,
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Default)]
        pub(crate) struct $type {
            /// Which keys were written, those with a wrong value included.
            pub(crate) keys: $crate::definition::Keys,
            $(
                $(#[doc = $doc])*
                pub(crate) $field: Option<$value>,
            )*
        }

        impl $crate::definition::Keyed for $type {
            const KEYS: &'static [&'static str] = &[$($key,)*];
        }

        impl $crate::definition::Shape for $type {
            fn decode(
                node: $crate::parse::Node,
                what: &str,
                problems: &mut $crate::diagnostic::Problems,
            ) -> Option<Self> {
                use $crate::definition::keyed;
                let span = node.span;
                let mut this = Self::default();
                for (key, value) in keyed::entries(node, what, problems)? {
                    match key.text.as_str() {
                        $($key => {
                            this.keys.push($key, key.span);
                            let what = concat!("`", $key, "`");
                            this.$field = <$value>::decode(value, what, problems);
                        })*
                        _ => {
                            let known = <Self as $crate::definition::Keyed>::KEYS;
                            keyed::unknown_key(&key, what, known, &mut this.keys, problems);
                        }
                    }
                }
                let required: &[&str] = &[$($required,)*];
                for key in required {
                    if !this.keys.is_meant(key) {
                        keyed::missing_key(key, what, span, problems);
                    }
                }
                Some(this)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).trim_end_matches("Definition").into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = serde_json::Map::new();
                $({
                    let mut property = generator.subschema_for::<$value>();
                    property.insert("description".to_owned(), concat!($($doc),*).trim().into());
                    properties.insert($key.to_owned(), property.to_value());
                })*
                let required: &[&str] = &[$($required,)*];
                $crate::definition::keyed::keyed_schema(concat!($($about),*), properties, required)
            }
        }
    };
}

pub(super) use keyed;

/// A map whose keys are names, in the order of the file.
#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) entries: Vec<(Key, T)>,
    /// The keys whose value could not be decoded, which was reported.
    pub(crate) broken: Vec<Key>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), broken: Vec::new() }
    }
}

impl<T: Shape> Shape for Named<T> {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let mut named = Self::default();
        for (key, value) in entries(node, what, problems)? {
            if key.text.starts_with("x-") || key.text == "<<" {
                continue;
            }
            let bounded: String = key.text.chars().take(80).collect();
            match T::decode(value, &format!("`{bounded}`"), problems) {
                Some(value) => named.entries.push((key, value)),
                None => named.broken.push(key),
            }
        }
        Some(named)
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut value = generator.subschema_for::<T>();
        value.remove("description");
        schemars::json_schema!({
            "type": "object",
            "patternProperties": {
                "^[A-Za-z_][A-Za-z0-9_-]{0,63}$": value,
                "^x-": true,
            },
            "additionalProperties": false,
        })
    }
}
