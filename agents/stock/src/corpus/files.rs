//! Reading files below what the operator allows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use super::CorpusError;

/// A file is binary if it has a NUL byte so early.
const SNIFFED: usize = 8 * 1024;

/// Why a file has no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadFile {
    /// It has NUL bytes or begins like a compressed file.
    #[error("it is binary")]
    Binary,
    /// There is nothing in it but white space.
    #[error("it is empty")]
    Empty,
    /// It is not there or may not be read.
    #[error("it cannot be read")]
    Unreadable(#[from] io::Error),
    /// It is larger than the operator allows.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// It is text of another encoding.
    #[error("it is not UTF-8")]
    InvalidUtf8,
    /// It comes to more passages than an index takes of one file.
    #[error("it comes to more than {0} passages")]
    TooManyPassages(usize),
}

impl BadFile {
    /// Returns the code of the failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Binary => "binary_file",
            Self::Empty => "empty_file",
            Self::Unreadable(_) => "unreadable_file",
            Self::TooLarge(_) => "file_too_large",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooManyPassages(_) => "too_many_passages",
        }
    }
}

/// Returns the directory that a task names, if it lies below one of the roots.
pub(super) fn resolve(roots: &[PathBuf], directory: &str) -> Result<PathBuf, CorpusError> {
    let unknown = |source| CorpusError::NoDirectory { directory: directory.to_owned(), source };
    let first = roots.first().map(PathBuf::as_path).unwrap_or_else(|| Path::new("."));
    let found = first.join(directory).canonicalize().map_err(unknown)?;
    let is_root_of = |root: &PathBuf| root.canonicalize().is_ok_and(|root| found.starts_with(root));
    if !roots.iter().any(is_root_of) {
        let roots = roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>();
        let (directory, roots) = (directory.to_owned(), roots.join(", "));
        return Err(CorpusError::OutsideRoots { directory, roots });
    }
    if !found.is_dir() {
        return Err(unknown(io::Error::from(io::ErrorKind::NotADirectory)));
    }
    Ok(found)
}

/// Reads a text file below `base`.
pub(super) fn read(base: &Path, file: &str, max_bytes: u64) -> Result<String, CorpusError> {
    let bad = |reason| CorpusError::BadFile { file: file.to_owned(), reason };
    let path = below(base, file)?;
    let text = open(&path).map_err(BadFile::from).and_then(|file| text_of(file, max_bytes));
    text.map_err(bad)
}

/// Returns where a file is, if no part of its path leads out of `base`.
fn below(base: &Path, file: &str) -> Result<PathBuf, CorpusError> {
    let outside = || CorpusError::OutsideDirectory { file: file.to_owned() };
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if file.is_empty() || file.contains('\0') || !Path::new(file).components().all(is_plain) {
        return Err(outside());
    }
    let path = base.join(file);
    let parent = path.parent().unwrap_or(base);
    match parent.canonicalize() {
        Ok(parent) if !parent.starts_with(base) => Err(outside()),
        Ok(_) => Ok(path),
        Err(error) => {
            let reason = BadFile::Unreadable(error);
            Err(CorpusError::BadFile { file: file.to_owned(), reason })
        }
    }
}

/// Opens a regular file; a link is an error, and a pipe is not waited for.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

fn text_of(file: impl io::Read, max_bytes: u64) -> Result<String, BadFile> {
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes[..bytes.len().min(SNIFFED)].contains(&0) || is_compressed(&bytes) {
        return Err(BadFile::Binary);
    }
    if bytes.len() as u64 > max_bytes {
        return Err(BadFile::TooLarge(max_bytes));
    }
    let text = String::from_utf8(bytes).map_err(|_| BadFile::InvalidUtf8)?;
    if text.trim_matches('\u{feff}').trim().is_empty() {
        return Err(BadFile::Empty);
    }
    Ok(text)
}

/// Knows compressed files and documents by their first bytes: they need not have a NUL early.
fn is_compressed(bytes: &[u8]) -> bool {
    const MAGIC: [&[u8]; 9] = [
        &[0x1f, 0x8b],
        b"BZh",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
        b"PK\x03\x04",
        b"\x89PNG",
        b"\xff\xd8\xff",
        b"%PDF-",
        b"GIF8",
    ];
    MAGIC.iter().any(|magic| bytes.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_what_is_not() {
        let read = |bytes: &[u8]| text_of(bytes, 20).map_err(|bad| bad.code());
        assert_eq!(read(b"text"), Ok("text".to_owned()));
        assert_eq!(read("\u{feff}café".as_bytes()), Ok("\u{feff}café".to_owned()));
        assert_eq!(read(&[b'x'; 20]), Ok("x".repeat(20)));
        assert_eq!(read(&[b'x'; 21]), Err("file_too_large"));
        assert_eq!(read(b""), Err("empty_file"));
        assert_eq!(read(b" \r\n\t\n"), Err("empty_file"));
        assert_eq!(read("\u{feff}\n".as_bytes()), Err("empty_file"));
        assert_eq!(read(b"a\0b"), Err("binary_file"));
        assert_eq!(read(b"\x1f\x8b\x08"), Err("binary_file"));
        assert_eq!(read(b"%PDF-1.7"), Err("binary_file"));
        assert_eq!(read(b"caf\xe9"), Err("invalid_utf8"));
        assert_eq!(read(&[0x1f, 0x8b].repeat(20)), Err("binary_file"));
    }
}
