//! Numbers, shares, and words that stand for a number.

use super::shape::{Shape, described, wrong_type};
use crate::diagnostic::{Problems, codes};
use crate::parse::{Data, Node};
use crate::policy::{Join, Share, Tolerate};

described! {
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
}

/// A whole number from here on is read as one with a fraction.
const TOO_LARGE: f64 = 1e18;

/// A whole number; what it counts knows its bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) i128);

impl Shape for Count {
    fn decode(node: Node, what: &str, problems: &mut Problems) -> Option<Self> {
        match node.data {
            Data::Int(number) => Some(Self(number.into())),
            Data::UInt(number) => Some(Self(number.into())),
            Data::Float(number) => {
                let large = number.is_finite() && number.abs() >= TOO_LARGE;
                let wrong = if large { "is too large a number" } else { "must be a whole number" };
                let message = format!("{what} {wrong}");
                problems.error(codes::WRONG_TYPE, node.span, message);
                None
            }
            Data::Null | Data::Bool(_) | Data::Text(_) | Data::List(_) | Data::Map(_) => {
                wrong_type(&node, what, "a number", problems)
            }
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
                    near = problems.suggest(text, ["all", "any"]);
                }
                problems
                    .error(codes::UNKNOWN_WORD, node.span, message)
                    .maybe_help(near.map(|near| format!("did you mean `{near}`?")));
                None
            }
        }
    }
}
