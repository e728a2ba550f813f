//! Names, and what is written like one.

use super::scalars::Text;
use super::shape::{At, Shape, described, wrong_type};
use crate::diagnostic::{Problems, Span, codes};
use crate::limits;
use crate::parse::{Data, Node};

described! {
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
    Names, "Names", {
        "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
        ]
    };
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
    let help = format!(
        "a name has letters (a to z), digits, `_` and `-`, and starts with a letter or `_`{more}"
    );
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
