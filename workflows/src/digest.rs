//! The identity of a definition file.

use std::fmt;

/// The hash of a definition file: two workflows with the same digest are the same.
///
/// It is the blake3 hash of the file's text without a byte order mark and with line ends as `\n`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of a definition's text.
    pub fn of(source: &str) -> Self {
        let text = source.strip_prefix('\u{feff}').unwrap_or(source);
        let mut hasher = blake3::Hasher::new();
        for (index, line) in text.split("\r\n").enumerate() {
            if index > 0 {
                hasher.update(b"\n");
            }
            hasher.update(line.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Returns the 32 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_byte_order_marks_do_not_count() {
        assert_eq!(Digest::of("a\nb\n"), Digest::of("\u{feff}a\r\nb\r\n"));
        assert_ne!(Digest::of("a\nb\n"), Digest::of("a\nb"));
        assert_eq!(Digest::of("").to_string().len(), 64);
    }
}
