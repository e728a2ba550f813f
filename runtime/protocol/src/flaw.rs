//! JSON from outside that nobody can read, or that not everybody reads in the same way.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Characters of a key that are shown.
const SHOWN: usize = 64;

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
        let mut keys = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if keys.contains(&key) {
                let shown: String = key.chars().take(SHOWN).collect();
                let shown = shown.escape_debug();
                return Err(A::Error::custom(format_args!("has the key `{shown}` twice")));
            }
            keys.insert(key);
            entries.next_value::<Plain>()?;
        }
        Ok(Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let long = format!("{{\"{0}\": 1, \"{0}\": 2}}", "k".repeat(100_000));
        assert!(flaw(&long).unwrap().len() < 200);
    }

    #[test]
    fn numbers_and_texts_that_are_none_are_placed() {
        check("[1e400]", "cannot be read: number out of range at line 1 column 6");
        check(r#"["\ud800"]"#, "cannot be read: unexpected end of hex escape at line 1 column 9");
    }
}
