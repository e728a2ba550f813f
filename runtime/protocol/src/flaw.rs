//! JSON from outside that nobody can read, or that not everybody reads in the same way.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::{MAX_JSON_DEPTH, MAX_PAYLOAD};
use crate::payload::{Payload, is_within_depth};

/// Characters of a key that are shown.
const SHOWN: usize = 64;

/// Returns why a payload from outside is not taken: it is too large, or not
/// [what everybody reads alike](unsound). Of what lies in the blob store only the size is known.
/// `what` says what it is, such as `output`.
pub fn unbearable(what: &str, payload: &Payload) -> Option<String> {
    let size = payload.size();
    if size > MAX_PAYLOAD as u64 {
        let most = MAX_PAYLOAD;
        return Some(format!("the JSON of the {what} has {size} bytes, at most {most} are taken"));
    }
    payload.text().and_then(|text| unsound(what, text))
}

/// Returns why JSON from outside is not taken: it is nested too deep, or nobody, or not everybody,
/// would read it in the same way. `what` says what it is, such as `output`.
pub fn unsound(what: &str, json: &str) -> Option<String> {
    if !is_within_depth(json, MAX_JSON_DEPTH) {
        return Some(format!("the JSON of the {what} is nested more than {MAX_JSON_DEPTH} deep"));
    }
    flaw(json).map(|flaw| format!("the JSON of the {what} {flaw}"))
}

/// Returns what is wrong with JSON whose brackets and quotes are in order: a number that is too
/// large, a text that is none, an object that has a key twice. What is wrong follows the name of
/// what it is.
pub fn flaw(json: &str) -> Option<String> {
    let error = serde_json::from_str::<Plain>(json).err()?;
    Some(if error.is_data() { error.to_string() } else { format!("cannot be read: {error}") })
}

/// Any value, each key of which is there once.
struct Plain;

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_str<E>(self, _: &str) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        while items.next_element::<Plain>()?.is_some() {}
        Ok(Plain)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Plain, A::Error> {
        let mut keys = Keys::default();
        while let Some(Key(key)) = entries.next_key::<Key<'de>>()? {
            if let Some(twice) = keys.insert(key) {
                let shown: String = twice.chars().take(SHOWN).collect();
                let shown = shown.escape_debug();
                return Err(A::Error::custom(format_args!("has the key `{shown}` twice")));
            }
            entries.next_value::<Plain>()?;
        }
        Ok(Plain)
    }
}

/// The key of an object, where it lies if nothing in it is escaped.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The keys of one object: of few, each is held against each.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: BTreeSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    const FEW: usize = 8;

    /// Takes a key in; returns it if it was there.
    fn insert(&mut self, key: Cow<'de, str>) -> Option<Cow<'de, str>> {
        if self.few.contains(&key) || self.many.contains(&key) {
            return Some(key);
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
        } else {
            self.many.insert(key);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Hash;
    use crate::payload::BlobRef;

    fn check(json: &str, expected: &str) {
        assert_eq!(flaw(json).unwrap_or_default(), expected);
    }

    #[test]
    fn what_reads_in_one_way_has_no_flaw() {
        check(r#"{"a": [1, -2, 2.5, null, true, "x"], "b": {"a": {}}}"#, "");
        check("7", "");
    }

    #[test]
    fn keys_that_are_there_twice_are_named() {
        check(r#"{"a": 1, "a": 1}"#, "has the key `a` twice at line 1 column 12");
        check(r#"[{"b": {"a": 1, "\u0061": 2}}]"#, "has the key `a` twice at line 1 column 24");
        let many = |keys: usize, twice: usize| {
            let keys: Vec<_> = (0..keys).chain([twice]).map(|n| format!("\"k{n}\":{n}")).collect();
            flaw(&format!("{{{}}}", keys.join(",")))
        };
        for keys in [7, 8, 9, 30] {
            assert_eq!(many(keys, keys), None);
            assert!((0..keys).all(|twice| many(keys, twice).is_some()));
        }
        let long = format!("{{\"{0}\": 1, \"{0}\": 2}}", "k".repeat(100_000));
        assert!(flaw(&long).unwrap().len() < 200);
    }

    #[test]
    fn payloads_that_are_not_taken_say_why() {
        let check = |text: &str, expected: Option<&str>| {
            let payload = Payload::from_text(text).unwrap();
            assert_eq!(unbearable("output", &payload).as_deref(), expected);
        };
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        check(&nested(64), None);
        check(&nested(65), Some("the JSON of the output is nested more than 64 deep"));
        let twice = "the JSON of the output has the key `a` twice at line 1 column 12";
        check(r#"{"a": 1, "a": 1}"#, Some(twice));
        let large = BlobRef { hash: Hash::ZERO, size: MAX_PAYLOAD as u64 + 1 };
        let large = unbearable("output", &Payload::from(large)).unwrap();
        assert!(large.starts_with("the JSON of the output has "), "{large}");
    }

    #[test]
    fn numbers_and_texts_that_are_none_are_placed() {
        check("[1e400]", "cannot be read: number out of range at line 1 column 6");
        check(r#"["\ud800"]"#, "cannot be read: unexpected end of hex escape at line 1 column 9");
    }
}
