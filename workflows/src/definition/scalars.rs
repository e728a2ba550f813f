//! Values that are one scalar, or nearly.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::UntilDefinition;
use super::durations::DurationText;
use super::keyed::entries;
use super::shape::{At, Shape, words, wrong_type};
use crate::diagnostic::{Problems, Span, codes};
use crate::limits;
use crate::parse::{Data, Node};
use crate::policy::{
    Backoff, Jitter, Join, OnFailure, OnTimeout, Share, StepOnFailure, Strategy, Tolerate, WhenOpen,
};
use crate::suggest::suggest;

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

/// Gives a type its name and its JSON Schema.
macro_rules! described {
    ($($type:ty, $name:literal, $schema:tt;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

described! {
    Any, "Any", { "description": "anything; strings may hold ${{ expressions }}" };
    SchemaText, "JsonSchema", { "type": ["object", "boolean"] };
    Text, "Text", { "type": "string" };
    Identifier, "Identifier", {
        "type": "string",
        "maxLength": 64,
        "pattern": "^[A-Za-z_][A-Za-z0-9_-]*(\\.[A-Za-z0-9_-]+)*$",
    };
    SignalName, "SignalName", {
        "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$",
    };
    WorkflowReference, "WorkflowReference", {
        "type": "string",
        "pattern": "^[A-Za-z_][A-Za-z0-9_-]*(\\.[A-Za-z0-9_-]+)*(@[A-Za-z0-9][A-Za-z0-9._+-]*)?$",
    };
    ExpressionText, "Expression", { "type": ["string", "boolean"], "maxLength": 2048 };
    ForEachText, "Items", { "type": ["string", "array"] };
    Count, "Count", { "type": "integer", "minimum": 0, "maximum": 4_294_967_295u32 };
    ShareText, "Share", { "type": "string", "pattern": "^[0-9]+(\\.[0-9])?%$" };
    TolerateText, "Tolerate", {
        "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": 4_294_967_295u32 },
            { "type": "string", "pattern": "^[0-9]+(\\.[0-9])?%$" },
        ]
    };
    JoinText, "Join", {
        "anyOf": [
            { "enum": ["all", "any"] },
            { "type": "integer", "minimum": 1, "maximum": 4_294_967_295u32 },
        ]
    };
    Names, "Names", {
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
        ]
    };
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

/// The name of a workflow or of a capability: may contain dots.
#[derive(Clone, Debug)]
pub(crate) struct Identifier(pub(crate) String);

impl Shape for Identifier {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let span = node.span;
        let Text(text) = Text::decode(node, what, problems)?;
        let valid = text.len() <= limits::NAME_CHARS
            && text.split('.').enumerate().all(|(at, part)| is_name(part, at == 0));
        if !valid {
            invalid_name(&text, what, ". A dot may stand between two parts", span, problems);
            return None;
        }
        Some(Self(text))
    }
}

/// The name of a signal.
#[derive(Clone, Debug)]
pub(crate) struct SignalName(pub(crate) String);

impl Shape for SignalName {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let span = node.span;
        let Text(text) = Text::decode(node, what, problems)?;
        check_name(&text, what, span, problems).then_some(Self(text))
    }
}

/// Tells whether a text is a name, and reports it if not.
pub(crate) fn check_name(text: &str, what: &str, span: Span, problems: &mut Problems) -> bool {
    let valid = text.len() <= limits::NAME_CHARS && is_name(text, true);
    if !valid {
        invalid_name(text, what, "", span, problems);
    }
    valid
}

fn is_name(text: &str, first: bool) -> bool {
    let lead = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text.bytes()
        .enumerate()
        .all(|(at, byte)| if at == 0 && first { lead(byte) } else { rest(byte) })
        && !text.is_empty()
}

fn invalid_name(text: &str, what: &str, more: &str, span: Span, problems: &mut Problems) {
    let short: String = text.chars().take(80).collect();
    let message = if text.chars().count() > limits::NAME_CHARS {
        format!("{what} is longer than {} characters", limits::NAME_CHARS)
    } else {
        format!("{what} cannot be `{short}`")
    };
    let help =
        format!("a name has letters, digits, `_` and `-`, and starts with a letter or `_`{more}");
    problems.error(codes::INVALID_NAME, span, message).help(help);
}

/// A sub-workflow: its name and, after `@`, its version.
#[derive(Clone, Debug)]
pub(crate) struct WorkflowReference {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

impl Shape for WorkflowReference {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let span = node.span;
        let Text(text) = Text::decode(node, what, problems)?;
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text.as_str(), None),
        };
        let valid = name.len() <= limits::NAME_CHARS
            && name.split('.').enumerate().all(|(at, part)| is_name(part, at == 0));
        if !valid {
            invalid_name(name, what, ". A version may follow after `@`", span, problems);
            return None;
        }
        if let Some(version) = version
            && !is_version(version)
        {
            problems
                .error(codes::INVALID_NAME, span, "the version after `@` is not valid")
                .help("write it as the sub-workflow does, such as `notify@1.2.0`");
            return None;
        }
        Some(Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

/// Tells whether a text can be a version.
pub(crate) fn is_version(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    text.len() <= limits::NAME_CHARS
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(rest)
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

/// A number that is not negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) u32);

impl Shape for Count {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        match node.data {
            Data::Int(number) => match u32::try_from(number) {
                Ok(number) => Some(Self(number)),
                Err(_) => out_of_range(what, number, node.span, problems),
            },
            Data::UInt(number) => out_of_range(what, number, node.span, problems),
            Data::Float(_) => {
                let message = format!("{what} must be a whole number");
                problems.error(codes::WRONG_TYPE, node.span, message);
                None
            }
            Data::Null | Data::Bool(_) | Data::Text(_) | Data::List(_) | Data::Map(_) => {
                wrong_type(&node, what, "a number", problems)
            }
        }
    }
}

fn out_of_range<T>(
    what: &str,
    number: impl std::fmt::Display,
    span: Span,
    problems: &mut Problems,
) -> Option<T> {
    let message = format!("{what} cannot be {number}");
    problems
        .error(codes::OUT_OF_RANGE, span, message)
        .help(format!("it must be between 0 and {}", u32::MAX));
    None
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

/// A share such as `12.5%`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShareText(pub(crate) Share);

impl Shape for ShareText {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let share = match &node.data {
            Data::Text(text) => share(text),
            Data::Null
            | Data::Bool(_)
            | Data::Int(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::List(_)
            | Data::Map(_) => None,
        };
        if share.is_none() {
            let message = format!("{what} must be a share between 0% and 100%");
            problems.error(codes::INVALID_SHARE, node.span, message).help("such as `50%`");
        }
        share.map(Self)
    }
}

/// Parses `12.5%` into thousandths.
fn share(text: &str) -> Option<Share> {
    let number = text.strip_suffix('%')?;
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(tenth) || tenth.len() != 1 || whole.len() > 3 {
        return None;
    }
    let per_mille = whole.parse::<u16>().ok()? * 10 + tenth.parse::<u16>().ok()?;
    (per_mille <= 1000).then_some(Share(per_mille))
}

/// A number of items, or a share of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TolerateText(pub(crate) Tolerate);

impl Shape for TolerateText {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let tolerate = match &node.data {
            Data::Int(number) => u32::try_from(*number).ok().map(Tolerate::Count),
            Data::Text(text) => share(text).map(Tolerate::Share),
            Data::Null
            | Data::Bool(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::List(_)
            | Data::Map(_) => None,
        };
        if tolerate.is_none() {
            let message = format!("{what} must be a number of items or a share of them");
            problems.error(codes::INVALID_SHARE, node.span, message).help("such as `3` or `10%`");
        }
        tolerate.map(Self)
    }
}

/// How many needs must have succeeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinText(pub(crate) Join);

impl Shape for JoinText {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        match &node.data {
            Data::Text(text) if text == "all" => Some(Self(Join::All)),
            Data::Text(text) if text == "any" => Some(Self(Join::Any)),
            Data::Int(number) if *number >= 1 && u32::try_from(*number).is_ok() => {
                Some(Self(Join::AtLeast(u32::try_from(*number).unwrap_or(u32::MAX))))
            }
            Data::Null
            | Data::Bool(_)
            | Data::Int(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::Text(_)
            | Data::List(_)
            | Data::Map(_) => {
                let message = format!("{what} must be `all`, `any` or a number of at least 1");
                let mut near = None;
                if let Data::Text(text) = &node.data {
                    near = suggest(text, ["all", "any"]);
                }
                problems
                    .error(codes::UNKNOWN_WORD, node.span, message)
                    .maybe_help(near.map(|near| format!("did you mean `{near}`?")));
                None
            }
        }
    }
}

/// One name or a list of names.
#[derive(Clone, Debug)]
pub(crate) struct Names(pub(crate) Vec<At<Text>>);

impl Shape for Names {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        match node.data {
            Data::Text(_) => Some(Self(vec![At::decode(node, what, problems)?])),
            Data::List(items) => Some(Self(
                items
                    .into_iter()
                    .filter_map(|item| At::decode(item, &format!("each of {what}"), problems))
                    .collect(),
            )),
            Data::Null
            | Data::Bool(_)
            | Data::Int(_)
            | Data::UInt(_)
            | Data::Float(_)
            | Data::Map(_) => wrong_type(&node, what, "a list of names", problems),
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
