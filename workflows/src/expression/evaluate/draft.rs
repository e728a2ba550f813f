//! Values that are put together of others: paid for as a whole before anything of them is made, and
//! not made at all if only their JSON is wanted.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::cost::{LOOK, SMALL_LIST, VALUE};
use super::{Machine, raw};
use crate::expression::code::Code;
use crate::expression::value::{is_within_depth, kind};

/// A value that is paid for; of what is borrowed nothing was copied yet.
#[derive(Debug)]
pub(in crate::expression) enum Draft<'s> {
    Value(Cow<'s, Value>),
    /// The JSON of a value.
    Raw(&'s RawValue),
    List(Vec<Self>),
    Map(Vec<(Cow<'s, str>, Self)>),
}

impl<'s> Machine<'s> {
    /// Evaluates something as a whole.
    pub(in crate::expression) fn draft(&self, code: &'s Code) -> Result<Draft<'s>, String> {
        let draft = self.outline(code)?;
        if let Draft::Value(Cow::Borrowed(value)) = &draft {
            self.pay_for_copy(value)?;
        }
        Ok(draft)
    }

    /// Evaluates the elements of a list. A small one takes more than they do.
    pub(super) fn draft_list(&self, items: &'s [Code]) -> Result<Draft<'s>, String> {
        self.pay(SMALL_LIST)?;
        items.iter().map(|item| self.part(item)).collect::<Result<_, _>>().map(Draft::List)
    }

    /// Evaluates the entries of a map.
    pub(super) fn draft_map(&self, entries: &'s [(Code, Code)]) -> Result<Draft<'s>, String> {
        let entry = |(key, value): &'s (Code, Code)| {
            let key = match self.value(key)? {
                Cow::Borrowed(Value::String(key)) => Cow::Borrowed(key.as_str()),
                Cow::Owned(Value::String(key)) => Cow::Owned(key),
                Cow::Borrowed(other) => return Err(no_key(other)),
                Cow::Owned(other) => return Err(no_key(&other)),
            };
            self.pay_for_entry(&key)?;
            Ok((key, self.part(value)?))
        };
        entries.iter().map(entry).collect::<Result<_, _>>().map(Draft::Map)
    }

    /// Evaluates what is within a list or a map, and pays for its place there.
    fn part(&self, code: &'s Code) -> Result<Draft<'s>, String> {
        let part = self.outline(code)?;
        match &part {
            Draft::Value(Cow::Borrowed(value)) => self.pay_for_copy(value)?,
            Draft::Value(Cow::Owned(_)) | Draft::Raw(_) | Draft::List(_) | Draft::Map(_) => {
                self.pay(VALUE)?;
            }
        }
        Ok(part)
    }

    fn outline(&self, code: &'s Code) -> Result<Draft<'s>, String> {
        match code {
            Code::List(items) => {
                self.pay(LOOK)?;
                self.draft_list(items)
            }
            Code::Map(entries) => {
                self.pay(LOOK)?;
                self.draft_map(entries)
            }
            other => match self.raw(other)? {
                Some(raw) => Ok(Draft::Raw(raw)),
                None => self.value(other).map(Draft::Value),
            },
        }
    }
}

fn no_key(value: &Value) -> String {
    format!("the key of a map must be a string, but is {}", kind(value))
}

impl Draft<'_> {
    /// Makes the value.
    pub(in crate::expression) fn into_value(self) -> Result<Value, String> {
        match self {
            Self::Value(value) => Ok(value.into_owned()),
            Self::Raw(raw) => serde_json::from_str(raw.get()).map_err(|error| error.to_string()),
            Self::List(items) => items.into_iter().map(Self::into_value).collect(),
            Self::Map(entries) => {
                let entries =
                    entries.into_iter().map(|(k, value)| Ok((k.into_owned(), value.into_value()?)));
                entries.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
        }
    }

    /// Tells whether lists and maps in the value are nested at most so deep.
    pub(in crate::expression) fn is_within_depth(&self, most: usize) -> bool {
        match self {
            Self::Value(value) => is_within_depth(value, most),
            Self::Raw(raw) => raw::is_within_depth(raw, most),
            Self::List(items) => {
                most > 0 && items.iter().all(|item| item.is_within_depth(most - 1))
            }
            Self::Map(entries) => {
                most > 0 && entries.iter().all(|(_, value)| value.is_within_depth(most - 1))
            }
        }
    }
}

/// Its JSON is that of the value. Only the maps of a template are written, and none of them has a
/// key twice.
impl Serialize for Draft<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Raw(raw) => raw.serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => serializer.collect_map(entries.iter().map(|(k, v)| (k, v))),
        }
    }
}
