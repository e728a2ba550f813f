//! Versions of nats-server.

use std::fmt;
use std::str::FromStr;

/// The oldest nats-server that skep works with.
pub const OLDEST_SUPPORTED: Version = Version { major: 2, minor: 12, patch: 0 };

/// The version of a nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Formats and protocols.
    pub major: u32,
    /// Features.
    pub minor: u32,
    /// Fixes.
    pub patch: u32,
}

impl Version {
    /// Returns whether skep works with a server of this version.
    pub fn is_supported(self) -> bool {
        self >= OLDEST_SUPPORTED
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no version")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    /// Reads `2.15.1`, `v2.15.1` and `2.12.0-RC.2`; what follows the patch is dropped.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(text.chars().take(40).collect());
        let bare = text.trim().trim_start_matches('v');
        let core = bare.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = core.split('.').map(str::parse::<u32>);
        let mut number = || numbers.next().and_then(Result::ok).ok_or_else(error);
        let version = Self { major: number()?, minor: number()?, patch: number()? };
        if numbers.next().is_some() { Err(error()) } else { Ok(version) }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        let seen = match text.parse::<Version>() {
            Ok(version) if version.is_supported() => format!("{version}, supported"),
            Ok(version) => format!("{version}, too old"),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&seen);
    }

    #[test]
    fn versions_are_read_and_compared() {
        check("v2.15.1", expect!["2.15.1, supported"]);
        check("2.9.10", expect!["2.9.10, too old"]);
        check("2.12.0-RC.2", expect!["2.12.0, supported"]);
        check("3.0.0\n", expect!["3.0.0, supported"]);
        check("2.12", expect!["`2.12` is no version"]);
        check("1.2.3.4", expect!["`1.2.3.4` is no version"]);
        check("", expect!["`` is no version"]);
    }
}
