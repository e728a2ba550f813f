//! Which of the clusters that share a server.

use std::fmt;
use std::str::FromStr;

/// A text that is no namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no namespace: 1 to 32 of A-Z a-z 0-9 _ - are allowed")]
pub struct NamespaceError(String);

/// The first token of all subjects and names; separates clusters that share a server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("skep".to_owned())
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;

    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NamespaceError(text.chars().take(40).collect()))
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_one_token() {
        assert_eq!("test_7-X".parse::<Namespace>().unwrap().as_str(), "test_7-X");
        for text in ["", "a.b", "*", "a b", &"x".repeat(33)] {
            assert!(text.parse::<Namespace>().is_err(), "{text:?} was taken");
        }
    }
}
