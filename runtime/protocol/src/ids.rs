//! Names of things. Every id is a newtype, so that none can be taken for another.

use std::fmt;
use std::io::BufWriter;
use std::str::FromStr;

use compact_str::{CompactString, ToCompactString, format_compact};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::MAX_NAME_LEN;

/// A text that is no id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: {reason}")]
pub struct IdError {
    kind: &'static str,
    text: String,
    reason: &'static str,
}

/// Identifies one execution of a workflow; also the idempotency key of its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// Wraps a UUID that a shell minted (version 7, so that ids sort by time).
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the id that belongs to a key chosen by a user: the same key gives the same run.
    pub fn from_key(workflow: &str, key: &str) -> Self {
        Self::derived(&[b"key", workflow.as_bytes(), key.as_bytes()])
    }

    /// Returns the id of the run that `step` of `parent` starts with its `attempt`-th try.
    pub fn child(parent: Self, step: &StepPath, attempt: u32) -> Self {
        let attempt = attempt.to_be_bytes();
        Self::derived(&[b"child", parent.0.as_bytes(), step.as_str().as_bytes(), &attempt])
    }

    /// Returns an id for the run that does `run` over; `request` tells one way to do so from
    /// another, and `number` which of many ids is meant.
    pub fn retry(run: Self, request: &str, number: u64) -> Self {
        let number = number.to_be_bytes();
        Self::derived(&[b"retry", run.0.as_bytes(), request.as_bytes(), &number])
    }

    /// Returns the UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    fn derived(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let reason = "a UUID such as 0192d3a4-1b2c-7def-8123-456789abcdef is wanted";
        let id = Uuid::try_parse(text);
        id.map(Self).map_err(|_| IdError { kind: "run id", text: shortened(text), reason })
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = RunId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a run id")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RunId, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The place of a step in its run: `fetch`, `review[2]` (an item of a `for_each`), `group/inner`,
/// `group[0]/inner[7]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepPath(CompactString);

impl StepPath {
    /// Wraps the text of a path; nothing is checked, an unknown path is found where it is used.
    pub fn new(path: &str) -> Self {
        Self(path.to_compact_string())
    }

    /// Returns the path of the `index`-th item of this step.
    #[must_use]
    pub fn item(&self, index: u32) -> Self {
        Self(format_compact!("{}[{index}]", self.0))
    }

    /// Returns the step and the index, if this is an item of a `for_each`.
    pub fn as_item(&self) -> Option<(Self, u32)> {
        let (step, index) = self.0.strip_suffix(']')?.rsplit_once('[')?;
        Some((Self::new(step), index.parse().ok()?))
    }

    /// Returns the step that this one is inside of: its group, or the `for_each` whose item it is.
    pub fn around(&self) -> Option<Self> {
        if self.compensated().is_some() {
            return None;
        }
        match self.as_item() {
            Some((fan, _)) => Some(fan),
            None => self.0.rsplit_once('/').map(|(group, _)| Self::new(group)),
        }
    }

    /// Returns the path of `step` inside this group.
    #[must_use]
    pub fn inner(&self, step: &str) -> Self {
        Self(format_compact!("{}/{step}", self.0))
    }

    /// Returns the path of the compensation of this step: an attempt of its own, with keys and
    /// tokens of its own. No step can have such a name.
    #[must_use]
    pub fn compensation(&self) -> Self {
        Self(format_compact!("{}{COMPENSATION}", self.0))
    }

    /// Returns the step that this compensation makes good, if it is one.
    pub fn compensated(&self) -> Option<Self> {
        self.0.strip_suffix(COMPENSATION).map(Self::new)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the path of a compensation ends with.
const COMPENSATION: &str = "~compensate";

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One try of a step in a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// The number of the try: 1, 2, … It never falls, not even when a group starts over.
    pub attempt: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.step, self.attempt)
    }
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "CompactString", into = "CompactString")]
        pub struct $name(CompactString);

        impl $name {
            /// Checks the text: 1 to 64 of `A-Z a-z 0-9 _ -`.
            ///
            /// # Errors
            /// [`IdError`] says what is wrong with it.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check_token($kind, text).map(Self)
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<CompactString> for $name {
            type Error = IdError;

            fn try_from(text: CompactString) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for CompactString {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

token! {
    /// Names one agent process. Becomes a token of a subject, so its letters are checked.
    AgentId, "agent id"
}
token! {
    /// Names one coordinator process.
    CoordinatorId, "coordinator id"
}
token! {
    /// Names one signal sent to a run, so that sending it twice counts once.
    SignalId, "signal id"
}

fn check_token(kind: &'static str, text: &str) -> Result<CompactString, IdError> {
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_NAME_LEN {
        "it is longer than 64 bytes"
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        "only A-Z a-z 0-9 _ - are allowed"
    } else {
        return Ok(text.to_compact_string());
    };
    Err(IdError { kind, text: shortened(text), reason })
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 {
        return text.escape_debug().to_string();
    }
    let start: String = text.chars().take(40).collect();
    format!("{}…", start.escape_debug())
}

/// A BLAKE3 hash: the digest of a definition, the key of a blob, a link of the journal's chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

/// What a hasher is handed at a time, in bytes.
const PIECE: usize = 64 * 1024;

impl Hash {
    /// The hash before the first message of a journal.
    pub const ZERO: Self = Self([0; 32]);

    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Hashes the JSON of a value, without all of it being in memory.
    ///
    /// # Panics
    /// If the value has no JSON form; every type of the protocol has one.
    pub fn of_json<T: Serialize>(value: &T) -> Self {
        // The hasher takes large pieces much faster than small ones.
        let mut pieces = BufWriter::with_capacity(PIECE, blake3::Hasher::new());
        serde_json::to_writer(&mut pieces, value).expect("types of the protocol have a JSON form");
        let hasher = pieces.into_inner().expect("a hasher takes everything");
        Self(*hasher.finalize().as_bytes())
    }

    /// Wraps a hash computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first twelve hexadecimal digits, enough for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Hash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let reason = "64 hexadecimal digits are wanted";
        let hash = blake3::Hash::from_hex(text);
        hash.map(|hash| Self(*hash.as_bytes())).map_err(|_| IdError {
            kind: "hash",
            text: shortened(text),
            reason,
        })
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_wildcards_are_no_agent_ids() {
        for text in ["", "a.b", "*", ">", "a b", "a\0", "ü", &"x".repeat(65)] {
            assert!(AgentId::new(text).is_err(), "{text:?} was taken");
        }
        assert_eq!(AgentId::new("exec-7_Z").unwrap().as_str(), "exec-7_Z");
    }

    #[test]
    fn derived_run_ids_depend_on_every_part() {
        let parent = RunId::from_key("w", "k");
        assert_eq!(parent, RunId::from_key("w", "k"));
        assert_ne!(parent, RunId::from_key("wk", ""));
        let step = StepPath::new("s");
        assert_ne!(RunId::child(parent, &step, 1), RunId::child(parent, &step, 2));
        assert_ne!(RunId::child(parent, &step, 1), RunId::child(parent, &step.item(0), 1));
    }

    #[test]
    fn what_is_around_a_step_is_its_group_or_its_for_each() {
        let around = |path: &str| StepPath::new(path).around().map(|around| around.to_string());
        assert_eq!(around("pay"), None);
        assert_eq!(around("shop/pay").as_deref(), Some("shop"));
        assert_eq!(around("shop/pay[3]").as_deref(), Some("shop/pay"));
        assert_eq!(around("shop[1]/pay").as_deref(), Some("shop[1]"));
        assert_eq!(around("shop/pay~compensate"), None);
    }

    #[test]
    fn hashes_round_trip_as_text() {
        let hash = Hash::of(b"skep");
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        assert_eq!(
            serde_json::from_str::<Hash>(&serde_json::to_string(&hash).unwrap()).unwrap(),
            hash
        );
        assert!("xyz".parse::<Hash>().is_err());
    }
}
