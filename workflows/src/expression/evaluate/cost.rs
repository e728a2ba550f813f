//! What an evaluation pays for: memory as it is really taken, and bytes that are looked at.
//!
//! The costs are constants and not sizes of types, so that an expression costs the same on every
//! machine.

use std::borrow::Cow;
use std::io;

use serde_json::Value;

use super::Machine;
use crate::limits;

/// The place of a value in a list, without what it points to.
pub(in crate::expression) const VALUE: usize = 72;
/// An allocation, beside its contents.
pub(in crate::expression) const ALLOCATION: usize = 16;
/// What a list takes that is made value by value, however few these are.
pub(super) const SMALL_LIST: usize = 4 * VALUE + ALLOCATION;
/// The place of an entry in a map, without the value and the text of the key.
const ENTRY: usize = 64;
/// A look at one value.
pub(in crate::expression) const LOOK: usize = 8;
/// A look for a key in a map, beside the text of the key.
pub(in crate::expression) const LOOK_UP: usize = 32;

const TOO_EXPENSIVE: &str = "it is too expensive: it makes or looks at too much data";

impl Machine<'_> {
    /// Pays for work that follows; about one unit per byte.
    pub(in crate::expression) fn pay(&self, units: usize) -> Result<(), String> {
        let spent = self.spent.get().saturating_add(units);
        self.spent.set(spent);
        if spent > limits::EVALUATION_COST { Err(TOO_EXPENSIVE.to_owned()) } else { Ok(()) }
    }

    /// Returns what has been paid so far.
    pub(in crate::expression) fn spent(&self) -> usize {
        self.spent.get()
    }

    /// Pays for a copy of a value, value by value: what is too big is not walked to its end.
    pub(super) fn pay_for_copy(&self, value: &Value) -> Result<(), String> {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.pay(VALUE),
            Value::String(text) => self.pay(VALUE + ALLOCATION + text.len()),
            Value::Array(items) => {
                self.pay(VALUE + ALLOCATION)?;
                items.iter().try_for_each(|item| self.pay_for_copy(item))
            }
            Value::Object(map) => {
                self.pay(VALUE + 2 * ALLOCATION)?;
                map.iter().try_for_each(|(key, value)| {
                    self.pay(ENTRY + ALLOCATION + key.len())?;
                    self.pay_for_copy(value)
                })
            }
        }
    }

    /// Returns a copy of a value.
    pub(in crate::expression) fn copy(&self, value: &Value) -> Result<Value, String> {
        self.pay_for_copy(value)?;
        Ok(value.clone())
    }

    /// Returns the value as owned; only a copy costs something.
    pub(in crate::expression) fn owned(&self, value: Cow<'_, Value>) -> Result<Value, String> {
        match value {
            Cow::Borrowed(value) => self.copy(value),
            Cow::Owned(value) => Ok(value),
        }
    }

    /// Returns the value as an element of a new list, and pays for its place there.
    pub(in crate::expression) fn kept(&self, value: Cow<'_, Value>) -> Result<Value, String> {
        if let Cow::Owned(_) = value {
            self.pay(VALUE)?;
        }
        self.owned(value)
    }

    /// Makes a list of values that are paid for. A small one takes more than its values do.
    pub(in crate::expression) fn list(
        &self,
        values: impl Iterator<Item = Result<Value, String>>,
    ) -> Result<Value, String> {
        self.pay(SMALL_LIST)?;
        values.collect::<Result<_, _>>().map(Value::Array)
    }

    /// Pays for an entry of a new map.
    pub(in crate::expression) fn pay_for_entry(&self, key: &str) -> Result<(), String> {
        self.pay(ENTRY + ALLOCATION + key.len())
    }

    /// Returns a string as a value.
    pub(in crate::expression) fn string(&self, text: &str) -> Result<Value, String> {
        self.pay(VALUE + ALLOCATION + text.len())?;
        Ok(Value::from(text))
    }

    /// Appends the value as it reads within text: strings as they are, the rest as JSON.
    pub(in crate::expression) fn write_text(
        &self,
        value: &Value,
        to: &mut String,
    ) -> Result<(), String> {
        match value {
            Value::String(text) => {
                self.pay(LOOK + text.len())?;
                to.push_str(text);
                Ok(())
            }
            other => self.write_json(other, to),
        }
    }

    /// Appends the value as JSON.
    pub(in crate::expression) fn write_json(
        &self,
        value: &Value,
        to: &mut String,
    ) -> Result<(), String> {
        serde_json::to_writer(Paying { machine: self, to }, value)
            .map_err(|_| TOO_EXPENSIVE.to_owned())
    }
}

/// A text that is paid for while it grows.
struct Paying<'m, 's, 't> {
    machine: &'m Machine<'s>,
    to: &'t mut String,
}

impl io::Write for Paying<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.machine.pay(LOOK + bytes.len()).map_err(io::Error::other)?;
        self.to.push_str(std::str::from_utf8(bytes).map_err(io::Error::other)?);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_value_takes_no_more_than_it_costs() {
    assert!(size_of::<Value>() <= VALUE);
}
