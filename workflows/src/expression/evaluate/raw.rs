//! JSON that is copied without being read.

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::Machine;
use super::cost::{ALLOCATION, LOOK, LOOK_UP, VALUE};
use crate::expression::code::Code;
use crate::expression::{Reference, value};

impl<'s> Machine<'s> {
    /// Returns the JSON of something that is copied from where it lies, if that is all there is to
    /// do: whatever is missing or unusual is left to the evaluation of values.
    pub(super) fn raw(&self, code: &'s Code) -> Result<Option<&'s RawValue>, String> {
        if !self.copies {
            return Ok(None);
        }
        let raw = self.find(code)?;
        if let Some(raw) = raw {
            self.pay(VALUE + ALLOCATION + raw.get().len())?;
        }
        Ok(raw)
    }

    fn find(&self, code: &'s Code) -> Result<Option<&'s RawValue>, String> {
        match code {
            Code::Quoted(_, code) => self.find(code),
            Code::Load(Reference::Input(name)) => {
                self.pay(LOOK_UP + name.as_str().len())?;
                let inputs = self.scope.raw(&Reference::Inputs);
                Ok(inputs.and_then(|inputs| field(inputs, name.as_str())))
            }
            Code::Load(reference) => Ok(self.scope.raw(reference)),
            Code::Field(of, name) => {
                let Some(of) = self.find(of)? else { return Ok(None) };
                self.pay(LOOK + LOOK_UP + name.len())?;
                Ok(field(of, name))
            }
            _ => Ok(None),
        }
    }
}

/// Tells whether lists and maps are nested at most so deep. Few brackets, be they of texts, are
/// never too deep; where there are many, the value is made.
pub(super) fn is_within_depth(json: &RawValue, most: usize) -> bool {
    let value = || serde_json::from_str(json.get());
    brackets(json) <= most || value().is_ok_and(|made| value::is_within_depth(&made, most))
}

/// Counts `[` and `{`, which differ in one bit; in chunks whose count is a byte, many at a time.
fn brackets(json: &RawValue) -> usize {
    const CHUNK: usize = u8::MAX as usize;
    let chunks = json.get().as_bytes().chunks(CHUNK);
    let count = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    chunks.map(|chunk| usize::from(count(chunk))).sum()
}

/// Returns the value of a key, if the JSON is an object that has it.
fn field<'a>(json: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    let looked = Field { name, found: &mut found };
    // What follows the value is not looked at, which is an error to who expects the end.
    Deserializer::from_str(json.get()).deserialize_map(looked).ok();
    found
}

struct Field<'n, 'f, 'a> {
    name: &'n str,
    found: &'f mut Option<&'a RawValue>,
}

impl<'a> Visitor<'a> for Field<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(is_it) = map.next_key_seed(Is(self.name))? {
            if is_it {
                *self.found = Some(map.next_value()?);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Tells whether a key is this one.
struct Is<'n>(&'n str);

impl<'a> DeserializeSeed<'a> for Is<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_as_it_is_written() {
        let check = |json: &str, name: &str, expected: Option<&str>| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(field(raw, name).map(RawValue::get), expected, "{name} of {json}");
        };
        check(r#"{"a": 1.50, "b": {"a": [2 , 3]}}"#, "a", Some("1.50"));
        check(r#"{"a": 1.50, "b": {"a": [2 , 3]}}"#, "b", Some(r#"{"a": [2 , 3]}"#));
        check(r#" { "x": "}\"", "\u0061" : "\u0062" } "#, "a", Some(r#""\u0062""#));
        check(r#"{"a": 1e400}"#, "a", Some("1e400"));
        check("{}", "a", None);
        check(r#"{"b": {"a": 1}}"#, "a", None);
        for other in ["[1]", "1", "null", r#""a""#] {
            check(other, "a", None);
        }
    }

    #[test]
    fn brackets_of_texts_and_side_by_side_are_not_deep() {
        let within = |json: &str, most| is_within_depth(serde_json::from_str(json).unwrap(), most);
        assert!(within("7", 0) && within("[{}]", 2) && within("[[],[]]", 2));
        assert!(within(r#"["[[["]"#, 1));
        assert!(!within("[{}]", 1) && !within("[[],[[]]]", 2));
    }
}
