//! Any YAML, read by the library, and what it says of that which is none.

use std::fmt;

use compact_str::CompactString;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use super::{Data, Key, Node, scalar};
use crate::diagnostic::{Problems, Span, codes, is_line_end};
use crate::limits;

/// Reads a text, or says why that cannot be done. Of two keys that are the same number the last
/// one is kept.
pub(super) fn read(body: &str, shift: u32, problems: &mut Problems) -> Option<Node> {
    match tree(body, DuplicateKeyPolicy::LastWins) {
        Ok(mut node) => {
            tidy(&mut node, body);
            Some(node)
        }
        Err(error) => {
            report(&error, body, shift, problems);
            None
        }
    }
}

/// Reads a text that was read before. Of two keys that are the same number the first one is kept.
pub(super) fn read_first(body: &str) -> Option<Node> {
    tree(body, DuplicateKeyPolicy::FirstWins).ok()
}

fn tree(body: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Node, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(body, options(duplicate_keys)).map(|Positioned(node)| node)
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(limits::FILE_BYTES),
            max_events: limits::YAML_EVENTS,
            max_nodes: limits::YAML_EVENTS,
            max_aliases: limits::ALIASES,
            max_anchors: limits::ALIASES,
            max_recorded_anchor_events: limits::REPLAYED_EVENTS,
            max_recorded_anchor_bytes: 4 * limits::FILE_BYTES,
            max_depth: limits::DEPTH + 2,
            flow_nesting_limit: limits::DEPTH + 2,
            max_documents: 1,
            enforce_alias_anchor_ratio: false,
        },
        duplicate_keys: duplicate_keys,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits::REPLAYED_EVENTS,
            max_replay_stack_depth: 4,
        },
        strict_booleans: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// Says what the YAML parser found, with the place it found it.
fn report(error: &serde_saphyr::Error, body: &str, shift: u32, problems: &mut Problems) {
    let span = error.location().map_or_else(Span::default, |at| error_span(at, body, shift));
    let full = error.render();
    let message = full.lines().next().unwrap_or_default();
    let message = message.split(" at line ").next().unwrap_or(message);
    let says = |word: &str| message.contains(word);
    if says("Documents") || says("multiple documents") {
        problems
            .error(codes::SYNTAX, span, "the file holds more than one YAML document")
            .help("one file holds one workflow; remove the `---` between them");
    } else if says("recursion limit") || says("Depth") || says("nesting") {
        problems
            .error(codes::TOO_DEEP, span, "the file is nested too deep")
            .help(format!("lists and maps can be nested {} levels deep", limits::DEPTH));
    } else if says("budget breached") || says("replay") || says("expansion") {
        problems
            .error(codes::TOO_MUCH_YAML, span, "aliases make the file too large")
            .help("write out what is meant, or let an agent produce it");
    } else if says("recursive references") {
        problems.error(codes::TOO_MUCH_YAML, span, "an alias refers to what it is inside of");
    } else if says("null into string") {
        problems
            .error(codes::SYNTAX, span, "a key cannot be empty or null")
            .help("name it, or quote it if the name is `null` or `~`");
    } else if says("!!binary") {
        problems
            .error(codes::SYNTAX, span, "`!!binary` does not hold text in UTF-8")
            .help("a definition is text; let an agent read what is binary");
    } else {
        let problem = problems.error(codes::SYNTAX, span, format!("not valid YAML: {message}"));
        if says("tab") {
            problem.help("indent with spaces");
        } else if line_at(body, span, shift).contains("${{") {
            problem.help("within `{ }` and `[ ]` an expression is in quotes: \"${{ … }}\"");
        }
    }
}

/// Returns the line in which a problem is.
fn line_at(body: &str, span: Span, shift: u32) -> &str {
    let at = (span.offset.saturating_sub(shift) as usize).min(body.len());
    let start = body[..at].rfind(['\n', '\r']).map_or(0, |at| at + 1);
    body[start..].split(['\n', '\r']).next().unwrap_or_default()
}

/// Returns where an error is; errors of the scanner know line and column only.
fn error_span(location: Location, body: &str, shift: u32) -> Span {
    if location.span().byte_offset().is_some() {
        let span = to_span(location);
        return Span { offset: span.offset.saturating_add(shift), len: 1 };
    }
    let line = usize::try_from(location.line().saturating_sub(1)).unwrap_or_default();
    let column = usize::try_from(location.column().saturating_sub(1)).unwrap_or_default();
    let ends = |at: &usize| is_line_end(body.as_bytes(), *at);
    let before = match line.checked_sub(1) {
        None => 0,
        Some(ended) => (0..body.len()).filter(ends).nth(ended).map_or(body.len(), |at| at + 1),
    };
    let within = body[before..].split(['\n', '\r']).next().unwrap_or_default();
    let within = within.char_indices().nth(column).map_or(within.len(), |(at, _)| at);
    Span { offset: shift + (before + within) as u32, len: 1 }
}

fn to_span(location: Location) -> Span {
    let span = location.span();
    let offset = span.byte_offset().unwrap_or_default();
    let len = span.byte_len().unwrap_or_default();
    Span { offset: u32::try_from(offset).unwrap_or(u32::MAX), len: len as u32 }
}

/// Cuts what follows a scalar from its span, and reads plain ones by the core schema.
fn tidy(node: &mut Node, body: &str) {
    node.span = tidy_span(node.span, body);
    match &mut node.data {
        Data::List(items) => items.iter_mut().for_each(|item| tidy(item, body)),
        Data::Map(entries) => {
            for (key, value) in entries {
                key.span = tidy_span(key.span, body);
                tidy(value, body);
            }
        }
        Data::Null
        | Data::Bool(_)
        | Data::Int(_)
        | Data::UInt(_)
        | Data::Float(_)
        | Data::Text(_) => resolve(node, body),
    }
}

/// Cuts white space and following lines from a span, and keeps it in the text.
fn tidy_span(span: Span, body: &str) -> Span {
    let start = (span.offset as usize).min(body.len());
    let end = (start + span.len as usize).min(body.len());
    let text = body.get(start..end).unwrap_or_default();
    Span { offset: start as u32, len: text.trim_end().len() as u32 }
}

/// Reads a plain scalar anew: the parser takes more for a number than the core schema does, and
/// some numbers for others. What is quoted is a text; a tag has the last word.
fn resolve(node: &mut Node, body: &str) {
    let start = node.span.offset as usize;
    let text = body.get(start..start + node.span.len as usize).unwrap_or_default();
    let plausible = match &node.data {
        Data::Null => text.eq_ignore_ascii_case("null"),
        Data::Bool(_) => text.starts_with(['t', 'T', 'f', 'F']),
        Data::Int(_) | Data::UInt(_) | Data::Float(_) => {
            text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
        }
        Data::Text(_) | Data::List(_) | Data::Map(_) => false,
    };
    if plausible && !scalar::is_tagged(body, node.span) {
        node.data = scalar::plain(text);
    }
}

struct Positioned(Node);

impl<'de> Deserialize<'de> for Positioned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Raw>::deserialize(deserializer)?;
        Ok(Self(Node { span: to_span(spanned.defined), data: spanned.value.0 }))
    }
}

struct Raw(Data);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw(Data::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw(Data::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw(Data::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw(Data::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw(i64::try_from(value).map_or(Data::UInt(value), Data::Int)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw(Data::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw(Data::Text(CompactString::new(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(Positioned(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw(Data::List(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { text: key.value.into(), span: to_span(key.defined) };
            let Positioned(value) = map.next_value()?;
            entries.push((key, value));
        }
        Ok(Raw(Data::Map(entries)))
    }
}
