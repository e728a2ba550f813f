//! Comparisons. They pay as they go: values that differ at once are cheap, whatever their size.

use std::cmp::Ordering;

use serde_json::Value;

use super::Machine;
use super::cost::{LOOK, LOOK_UP};
use crate::expression::code::Comparison;
use crate::expression::operators;
use crate::expression::value::{Numeric, kind};

/// Bytes of texts that are compared at once, and how many of them cost one unit.
const CHUNK: usize = 1024;
const BYTES_PER_UNIT: usize = 16;

impl Machine<'_> {
    pub(in crate::expression) fn compare(
        &self,
        by: Comparison,
        left: &Value,
        right: &Value,
    ) -> Result<bool, String> {
        Ok(match by {
            Comparison::In => operators::contains(self, right, left)?,
            Comparison::NotIn => !operators::contains(self, right, left)?,
            Comparison::Equal => self.equal(left, right)?,
            Comparison::NotEqual => !self.equal(left, right)?,
            Comparison::Less => self.order(left, right)?.is_lt(),
            Comparison::LessOrEqual => self.order(left, right)?.is_le(),
            Comparison::Greater => self.order(left, right)?.is_gt(),
            Comparison::GreaterOrEqual => self.order(left, right)?.is_ge(),
        })
    }

    /// Tells whether two values are the same; `1` and `1.0` are.
    pub(in crate::expression) fn equal(&self, a: &Value, b: &Value) -> Result<bool, String> {
        self.pay(LOOK)?;
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => {
                Ok(Numeric::of(a).compare(Numeric::of(b)) == Ordering::Equal)
            }
            (Value::String(a), Value::String(b)) => {
                Ok(a.len() == b.len() && self.order_texts(a, b)?.is_eq())
            }
            (Value::Array(a), Value::Array(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b) {
                    if !self.equal(a, b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Object(a), Value::Object(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (key, a) in a {
                    self.pay(LOOK_UP + key.len())?;
                    match b.get(key) {
                        Some(b) if self.equal(a, b)? => {}
                        Some(_) | None => return Ok(false),
                    }
                }
                Ok(true)
            }
            (a, b) => Ok(a == b),
        }
    }

    /// Orders two values of the same kind.
    ///
    /// # Errors
    ///
    /// If they have no order.
    pub(in crate::expression) fn order(&self, a: &Value, b: &Value) -> Result<Ordering, String> {
        self.pay(LOOK)?;
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => Ok(Numeric::of(a).compare(Numeric::of(b))),
            (Value::String(a), Value::String(b)) => self.order_texts(a, b),
            (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
            (Value::Array(a), Value::Array(b)) => {
                for (a, b) in a.iter().zip(b) {
                    let ordering = self.order(a, b)?;
                    if ordering != Ordering::Equal {
                        return Ok(ordering);
                    }
                }
                Ok(a.len().cmp(&b.len()))
            }
            (a, b) => Err(format!("{} and {} have no order", kind(a), kind(b))),
        }
    }

    /// Orders two texts by their characters.
    pub(in crate::expression) fn order_texts(&self, a: &str, b: &str) -> Result<Ordering, String> {
        for (a, b) in a.as_bytes().chunks(CHUNK).zip(b.as_bytes().chunks(CHUNK)) {
            self.pay(a.len().min(b.len()) / BYTES_PER_UNIT)?;
            let ordering = a.cmp(b);
            if ordering != Ordering::Equal {
                return Ok(ordering);
            }
        }
        Ok(a.len().cmp(&b.len()))
    }
}
