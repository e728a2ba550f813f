//! Text to a tree of positioned values: the only file that knows YAML.

mod numbers;
mod scalar;

use std::fmt;

use compact_str::CompactString;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

use crate::diagnostic::{Problems, Span, codes, is_line_end};
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
    let shift = source.len() - body.len();
    let result = serde_saphyr::from_str_with_options::<Positioned>(
        body,
        options(DuplicateKeyPolicy::LastWins),
    );
    let mut node = match result {
        Ok(Positioned(node)) => node,
        Err(error) => {
            report(&error, body, shift, problems);
            return None;
        }
    };
    let mut review = Review { source, shift, problems, integer_keys: false, too_deep: false };
    review.node(&mut node, 1);
    if review.too_deep {
        return None;
    }
    if review.integer_keys
        && let Ok(Positioned(first)) = serde_saphyr::from_str_with_options::<Positioned>(
            body,
            options(DuplicateKeyPolicy::FirstWins),
        )
    {
        numbers::duplicates(&node, &first, shift, problems);
    }
    Some(node)
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
fn report(error: &serde_saphyr::Error, body: &str, shift: usize, problems: &mut Problems) {
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
fn line_at(body: &str, span: Span, shift: usize) -> &str {
    let at = (span.offset as usize).saturating_sub(shift).min(body.len());
    let start = body[..at].rfind(['\n', '\r']).map_or(0, |at| at + 1);
    body[start..].split(['\n', '\r']).next().unwrap_or_default()
}

/// Returns where an error is; errors of the scanner know line and column only.
fn error_span(location: Location, body: &str, shift: usize) -> Span {
    if location.span().byte_offset().is_some() {
        return Span { len: 1, ..to_span(location, shift) };
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
    Span { offset: (shift + before + within) as u32, len: 1 }
}

fn to_span(location: Location, shift: usize) -> Span {
    let span = location.span();
    let offset = span.byte_offset().unwrap_or_default() as usize + shift;
    let len = span.byte_len().unwrap_or_default();
    Span { offset: u32::try_from(offset).unwrap_or(u32::MAX), len: len as u32 }
}

/// The walk over the fresh tree: what the parser does not look at, and tidier spans.
struct Review<'a> {
    source: &'a str,
    shift: usize,
    problems: &'a mut Problems,
    integer_keys: bool,
    too_deep: bool,
}

impl Review<'_> {
    fn node(&mut self, node: &mut Node, depth: usize) {
        node.span = self.tidy(node.span);
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
        self.resolve(node);
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
            key.span = self.tidy(key.span);
            self.integer_keys |= key.text.bytes().any(|byte| byte.is_ascii_digit())
                && !key.text.starts_with(|first: char| first.is_ascii_alphabetic());
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

    /// Reads a plain scalar anew: the parser takes more for a number than the core schema does, and
    /// some numbers for others. What is quoted is a text; a tag has the last word.
    fn resolve(&self, node: &mut Node) {
        let text = self.text(node.span);
        let plausible = match &node.data {
            Data::Null => text.eq_ignore_ascii_case("null"),
            Data::Bool(_) => text.starts_with(['t', 'T', 'f', 'F']),
            Data::Int(_) | Data::UInt(_) | Data::Float(_) => {
                text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
            }
            Data::Text(_) | Data::List(_) | Data::Map(_) => false,
        };
        if plausible && !self.is_tagged(node.span) {
            node.data = scalar::plain(text);
        }
    }

    /// Tells whether a tag stands before a value, be it with an anchor between them.
    fn is_tagged(&self, span: Span) -> bool {
        let before = self.source.get(..span.offset as usize).unwrap_or_default();
        let apart = |c: char| c.is_whitespace() || "[]{},".contains(c);
        let mut words = before.rsplit(apart).filter(|word| !word.is_empty());
        words.find(|word| !word.starts_with('&')).is_some_and(|word| word.starts_with('!'))
    }

    fn text(&self, span: Span) -> &str {
        let start = span.offset as usize;
        self.source.get(start..start + span.len as usize).unwrap_or_default()
    }

    /// Cuts white space and following lines from the span of a scalar, keeps it in the source.
    fn tidy(&self, span: Span) -> Span {
        let start = (span.offset as usize).saturating_add(self.shift).min(self.source.len());
        let end = (start + span.len as usize).min(self.source.len());
        let text = self.source.get(start..end).unwrap_or_default();
        Span { offset: start as u32, len: text.trim_end().len() as u32 }
    }
}

struct Positioned(Node);

impl<'de> Deserialize<'de> for Positioned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Raw>::deserialize(deserializer)?;
        Ok(Self(Node { span: to_span(spanned.defined, 0), data: spanned.value.0 }))
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
            let key = Key { text: key.value.into(), span: to_span(key.defined, 0) };
            let Positioned(value) = map.next_value()?;
            entries.push((key, value));
        }
        Ok(Raw(Data::Map(entries)))
    }
}
