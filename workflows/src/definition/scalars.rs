//! Values that are one scalar, or nearly.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::UntilDefinition;
use super::durations::DurationText;
use super::keyed::entries;
use super::shape::{Shape, described, words, wrong_type};
use crate::diagnostic::{Problems, codes};
use crate::parse::{Data, Node};
use crate::policy::{Backoff, Jitter, OnFailure, OnTimeout, StepOnFailure, Strategy, WhenOpen};

words! {
    OnFailure "OnFailure" { "stop" => Stop, "continue" => Continue, "compensate" => Compensate, }
    StepOnFailure "StepOnFailure" { "fail" => Fail, "continue" => Continue, }
    OnTimeout "OnTimeout" { "fail" => Fail, "skip" => Skip, "continue" => Continue, }
    WhenOpen "WhenOpen" { "wait" => Wait, "fail" => Fail, }
    Backoff "Backoff" {
        "exponential" => Exponential, "linear" => Linear, "constant" => Constant,
    }
    Jitter "Jitter" { "full" => Full, "none" => None, }
    Strategy "Strategy" {
        "one_for_one" => OneForOne, "one_for_all" => OneForAll, "rest_for_one" => RestForOne,
    }
}

described! {
    Any, "Any", { "description": "anything; strings may hold ${{ expressions }}" };
    SchemaText, "JsonSchema", { "type": ["object", "boolean"] };
    Text, "Text", { "type": "string" };
    ExpressionText, "Expression", { "type": ["string", "boolean"], "maxLength": 2048 };
    ForEachText, "Items", { "type": ["string", "array"] };
}

/// Anything, to be looked at later.
#[derive(Debug)]
pub(crate) struct Any(pub(crate) Node);

impl Shape for Any {
    fn decode(node: Node, _: &str, _: &mut Problems) -> Option<Self> {
        Some(Self(node))
    }
}

/// A JSON Schema, to be compiled later.
#[derive(Debug)]
pub(crate) struct SchemaText(pub(crate) Node);

impl Shape for SchemaText {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        if matches!(node.data, Data::Map(_) | Data::Bool(_)) {
            return Some(Self(node));
        }
        let message = format!("{what} must be a JSON Schema, but is {}", node.kind());
        problems
            .error(codes::WRONG_TYPE, node.span, message)
            .help("write a map such as `{ type: string }`");
        None
    }
}

/// A string.
#[derive(Clone, Debug)]
pub(crate) struct Text(pub(crate) String);

impl Shape for Text {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        if let Data::Text(text) = &node.data {
            return Some(Self(text.to_string()));
        }
        let message = format!("{what} must be a string, but is {}", node.kind());
        let problem = problems.error(codes::WRONG_TYPE, node.span, message);
        if matches!(node.data, Data::Bool(_) | Data::Int(_) | Data::UInt(_) | Data::Float(_)) {
            problem.help("quote it");
        }
        None
    }
}

/// An expression with or without delimiters.
#[derive(Debug)]
pub(crate) struct ExpressionText(pub(crate) Node);

impl Shape for ExpressionText {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        match &node.data {
            Data::Text(_) | Data::Bool(_) => Some(Self(node)),
            Data::Null
            | Data::Int(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::List(_)
            | Data::Map(_) => wrong_type(&node, what, "an expression", problems),
        }
    }
}

/// The items of a fan-out: an expression or a list.
#[derive(Debug)]
pub(crate) struct ForEachText(pub(crate) Node);

impl Shape for ForEachText {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        match &node.data {
            Data::Text(_) | Data::List(_) => Some(Self(node)),
            Data::Null
            | Data::Bool(_)
            | Data::Int(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::Map(_) => {
                wrong_type(&node, what, "a list or an expression that gives one", problems)
            }
        }
    }
}

impl Shape for bool {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        match node.data {
            Data::Bool(value) => Some(value),
            Data::Null
            | Data::Int(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::Text(_)
            | Data::List(_)
            | Data::Map(_) => wrong_type(&node, what, "true or false", problems),
        }
    }
}

impl Shape for BTreeMap<String, String> {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let entries = entries(node, what, problems)?;
        let mut map = Self::new();
        for (key, value) in entries {
            let label: String = key.text.chars().take(80).collect();
            if let Some(Text(text)) = Text::decode(value, &format!("label `{label}`"), problems) {
                map.insert(key.text.to_string(), text);
            }
        }
        Some(map)
    }
}

/// What a `wait` step waits for.
#[derive(Debug)]
pub(crate) enum WaitText {
    /// A time to pass.
    Duration(DurationText),
    /// A point in time.
    Until(UntilDefinition),
}

impl Shape for WaitText {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        if matches!(node.data, Data::Map(_)) {
            return UntilDefinition::decode(node, what, problems).map(Self::Until);
        }
        DurationText::decode(node, what, problems).map(Self::Duration)
    }
}

impl JsonSchema for WaitText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Wait".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let duration = generator.subschema_for::<DurationText>();
        let until = generator.subschema_for::<UntilDefinition>();
        json_schema!({ "anyOf": [duration, until] })
    }
}
