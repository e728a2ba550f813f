//! The arguments of a filter or a test.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde_json::Value;

use super::Machine;
use crate::expression::code::Arguments;
use crate::expression::value::kind;

type Argument<'s> = Result<Cow<'s, Value>, String>;

/// Arguments that are evaluated when they are first asked for. They cannot see the element that
/// `map` or `select` is at, so that once is enough for all elements.
pub(in crate::expression) struct Given<'m, 's> {
    pub(in crate::expression) machine: &'m Machine<'s>,
    arguments: &'s Arguments,
    /// The positional ones, then the named ones.
    values: Box<[OnceCell<Argument<'s>>]>,
}

impl<'m, 's> Given<'m, 's> {
    pub(super) fn new(machine: &'m Machine<'s>, arguments: &'s Arguments) -> Self {
        let count = arguments.positional.len() + arguments.named.len();
        Self { machine, arguments, values: (0..count).map(|_| OnceCell::new()).collect() }
    }

    /// Returns a positional argument, borrowed from the scope where possible.
    pub(in crate::expression) fn shared(
        &self,
        at: usize,
    ) -> Result<Option<&Cow<'s, Value>>, String> {
        let Some(code) = self.arguments.positional.get(at) else { return Ok(None) };
        let value = self.values[at].get_or_init(|| self.machine.value(code));
        value.as_ref().map(Some).map_err(Clone::clone)
    }

    pub(in crate::expression) fn positional(&self, at: usize) -> Result<Option<&Value>, String> {
        Ok(self.shared(at)?.map(AsRef::as_ref))
    }

    /// Returns a positional argument as a value of its own.
    pub(in crate::expression) fn taken(&self, at: usize) -> Result<Option<Cow<'s, Value>>, String> {
        Ok(match self.shared(at)? {
            None => None,
            Some(Cow::Borrowed(value)) => Some(Cow::Borrowed(*value)),
            Some(Cow::Owned(value)) => Some(Cow::Owned(self.machine.copy(value)?)),
        })
    }

    pub(in crate::expression) fn named(&self, name: &str) -> Result<Option<&Value>, String> {
        let named = &self.arguments.named;
        let Some(at) = named.iter().position(|(known, _)| **known == *name) else {
            return Ok(None);
        };
        let cell = &self.values[self.arguments.positional.len() + at];
        let value = cell.get_or_init(|| self.machine.value(&named[at].1));
        value.as_ref().map(|value| Some(value.as_ref())).map_err(Clone::clone)
    }

    pub(in crate::expression) fn text(&self, at: usize) -> Result<Option<&str>, String> {
        match self.positional(at)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                Err(format!("a string is needed as argument, but this is {}", kind(other)))
            }
        }
    }

    /// Returns the path of `attribute=`.
    pub(in crate::expression) fn attribute(&self) -> Result<Option<Cow<'_, str>>, String> {
        match self.named("attribute")? {
            None => Ok(None),
            Some(Value::String(path)) => Ok(Some(Cow::Borrowed(path))),
            Some(Value::Number(index)) => Ok(Some(Cow::Owned(index.to_string()))),
            Some(other) => Err(format!("`attribute` must be a string, but is {}", kind(other))),
        }
    }
}
