//! Walking a directory: which files there are, without those that are to be left out.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, FileType};
use std::io::{self, BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::overrides::{Override, OverrideBuilder};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{CorpusError, files};

/// How many files are found unless a task says otherwise, and at most: a run has 10 000 steps.
const DEFAULT_LIMIT: usize = 5_000;
const MAX_LIMIT: usize = 9_000;
/// The files that say what to leave out; the first one has the last word.
const IGNORE_FILES: [&str; 2] = [".ignore", ".gitignore"];
/// How long one of them may be, and all of a directory and those above it together.
const MAX_IGNORE_FILE: u64 = 1024 * 1024;
const MAX_IGNORE_FILES: u64 = 4 * MAX_IGNORE_FILE;

/// What a step of the capability `corpus-discover` gives in `with`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscoverInput {
    /// Where to look.
    pub directory: String,
    /// Globs, as in `.gitignore`; if there are any, only matching files are found.
    #[serde(default)]
    pub include: Vec<String>,
    /// Globs of files and directories to leave out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// How many files to find at most.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// The files of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Discovered {
    /// Paths relative to the directory, sorted.
    pub files: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// Whether there were more.
    pub truncated: bool,
    /// What was passed by.
    pub passed_by: PassedBy,
}

/// What a walk does not follow or cannot name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PassedBy {
    /// Symbolic links.
    pub links: usize,
    /// Pipes, sockets, devices.
    pub special: usize,
    /// Directories that may not be read, and each `.gitignore` or `.ignore` that may not, is no
    /// regular file, or is too long.
    pub unreadable: usize,
    /// Names that are not UTF-8.
    pub unnameable: usize,
}

/// Walks a directory. Hidden files and those that a `.gitignore` or `.ignore` in it names are left
/// out, links are not followed.
pub(super) fn discover(
    base: &Path,
    input: &DiscoverInput,
    stop: &CancellationToken,
) -> Result<Discovered, CorpusError> {
    let limit = input.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let globs = globs(base, input)?;
    let mut walk = Walk { globs, stop, pending: Vec::new(), found: Discovered::default() };
    walk.enter(base, None)?;
    while let Some(Pending { path, kind, rules }) = walk.pending.pop() {
        if kind.is_dir() {
            walk.enter(&path, rules.as_ref())?;
            continue;
        }
        let found = &mut walk.found;
        match path.strip_prefix(base).unwrap_or(&path).to_str() {
            _ if kind.is_symlink() => found.passed_by.links += 1,
            _ if !kind.is_file() => found.passed_by.special += 1,
            None => found.passed_by.unnameable += 1,
            Some(_) if found.files.len() == limit => {
                found.truncated = true;
                break;
            }
            Some(path) => found.files.push(path.to_owned()),
        }
    }
    let mut found = walk.found;
    found.files.sort_unstable();
    found.count = found.files.len();
    Ok(found)
}

/// A walk, depth first, in the order of names.
struct Walk<'a> {
    globs: Override,
    stop: &'a CancellationToken,
    /// What is still to be looked at, last one first.
    pending: Vec<Pending>,
    found: Discovered,
}

/// Something in a directory that was entered.
struct Pending {
    path: PathBuf,
    kind: FileType,
    rules: Option<Arc<Rules>>,
}

impl Walk<'_> {
    /// Takes down what is in a directory and not to be left out.
    fn enter(&mut self, directory: &Path, above: Option<&Arc<Rules>>) -> Result<(), CorpusError> {
        let unreadable = &mut self.found.passed_by.unreadable;
        let Ok(entries) = fs::read_dir(directory) else {
            *unreadable += 1;
            return Ok(());
        };
        let rules = Rules::of(directory, above, unreadable);
        let first = self.pending.len();
        for entry in entries {
            if self.stop.is_cancelled() {
                return Err(CorpusError::Stopped);
            }
            let Ok((entry, kind)) = entry.and_then(with_kind) else {
                *unreadable += 1;
                continue;
            };
            let path = entry.path();
            // An `include` would let hidden files in.
            let is_wanted = !is_hidden(&entry.file_name())
                && match self.globs.matched(&path, kind.is_dir()) {
                    Match::None => !leave_out(rules.as_ref(), &path, kind),
                    Match::Ignore(_) => false,
                    Match::Whitelist(_) => true,
                };
            if is_wanted {
                self.pending.push(Pending { path, kind, rules: rules.clone() });
            }
        }
        self.pending[first..].sort_unstable_by(|one, other| other.path.cmp(&one.path));
        Ok(())
    }
}

fn with_kind(entry: DirEntry) -> io::Result<(DirEntry, FileType)> {
    let kind = entry.file_type()?;
    Ok((entry, kind))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn globs(base: &Path, input: &DiscoverInput) -> Result<Override, CorpusError> {
    let invalid = |error: ignore::Error| CorpusError::InvalidInput(error.to_string());
    let mut globs = OverrideBuilder::new(base);
    for glob in &input.include {
        globs.add(glob.trim_start_matches('!')).map_err(invalid)?;
    }
    for glob in &input.exclude {
        globs.add(&format!("!{}", glob.trim_start_matches('!'))).map_err(invalid)?;
    }
    globs.build().map_err(invalid)
}

/// What the ignore files of a directory say, and of those above it.
struct Rules {
    above: Option<Arc<Self>>,
    own: [Gitignore; IGNORE_FILES.len()],
    /// How long all these files are together.
    bytes: u64,
}

impl Rules {
    /// Adds those of a directory. The walk's own files are read with more care than the crate
    /// `ignore` takes: a pipe of that name would block it for ever, and `/dev/zero` fill memory.
    fn of(
        directory: &Path,
        above: Option<&Arc<Self>>,
        unreadable: &mut usize,
    ) -> Option<Arc<Self>> {
        let mut bytes = above.map_or(0, |above| above.bytes);
        let own = IGNORE_FILES.map(|name| {
            let max = MAX_IGNORE_FILE.min(MAX_IGNORE_FILES.saturating_sub(bytes));
            match read(&directory.join(name), max) {
                Ok(text) => {
                    bytes += text.len() as u64;
                    parse(directory, &text)
                }
                Err(error) => Err(error),
            }
        });
        let own = own.map(|rules| match rules {
            Ok(rules) => rules,
            Err(_) => {
                *unreadable += 1;
                Gitignore::empty()
            }
        });
        if own.iter().all(Gitignore::is_empty) {
            return above.cloned();
        }
        Some(Arc::new(Self { above: above.cloned(), own, bytes }))
    }
}

/// Reads a file that need not be there.
fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = match files::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Understands what it can: a line that is no glob says nothing.
fn parse(directory: &Path, text: &[u8]) -> io::Result<Gitignore> {
    let mut rules = GitignoreBuilder::new(directory);
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    for line in text.lines().map_while(Result::ok) {
        rules.add_line(None, &line).ok();
    }
    rules.build().map_err(io::Error::other)
}

/// Tells what the ignore files say of a path: the nearest one that says anything.
fn leave_out(rules: Option<&Arc<Rules>>, path: &Path, kind: FileType) -> bool {
    for which in 0..IGNORE_FILES.len() {
        let mut next = rules;
        while let Some(Rules { above, own, .. }) = next.map(Arc::as_ref) {
            match own[which].matched(path, kind.is_dir()) {
                Match::None => next = above.as_ref(),
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use expect_test::{Expect, expect};
    use ignore::WalkBuilder;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use tempfile::TempDir;

    use super::*;

    fn plant(files: &[(&str, &str)]) -> TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        home
    }

    fn check(base: &Path, expected: Expect) {
        let found = discover(base, &DiscoverInput::default(), &CancellationToken::new()).unwrap();
        let PassedBy { links, special, unreadable, .. } = found.passed_by;
        let passed_by = format!("links {links}, special {special}, unreadable {unreadable}");
        expected.assert_eq(&format!("{}\n{passed_by}", found.files.join(" ")));
    }

    /// The crate's own walk, without the hidden files.
    fn walked(base: &Path, input: &DiscoverInput) -> Vec<String> {
        let mut walk = WalkBuilder::new(base);
        walk.parents(false).git_global(false).git_exclude(false).require_git(false);
        walk.overrides(globs(base, input).unwrap());
        walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name()));
        let files = walk.build().flatten().filter(|entry| entry.file_type().unwrap().is_file());
        let name = |path: &Path| path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = files.map(|entry| name(entry.path())).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn ignore_files_mean_what_they_mean_elsewhere() {
        let home = plant(&[
            (".gitignore", "\u{feff}*.log\r\n/build/\nsub/only\n!keep.log\n[\n# no.md\n\\#x\n"),
            (".ignore", "secret*\n!a.log\ndeep/**/z\n"),
            ("a.log", ""),
            ("b.log", ""),
            ("keep.log", ""),
            ("secret.md", ""),
            ("#x", ""),
            ("no.md", ""),
            ("build/x", ""),
            ("sub/build/x", ""),
            ("sub/only", ""),
            ("sub/.gitignore", "!*.log\nkeep.log\nno.md\n*.tmp"),
            ("sub/b.log", ""),
            ("sub/keep.log", ""),
            ("sub/no.md", ""),
            ("sub/x.tmp", ""),
            ("sub/other/x.tmp", ""),
            ("sub/other/.ignore", "!x.tmp\n!secret.md\n"),
            ("sub/other/secret.md", ""),
            ("deep/a/b/z", ""),
            ("deep/a/b/y", ""),
            ("deep/.hidden/y", ""),
            ("other/.gitignore", "*\n!*.md\n"),
            ("other/x.md", ""),
            ("other/x.txt", ""),
        ]);
        fs::write(home.path().join("deep/.gitignore"), b"a/b/y\n\xff\nz\n").unwrap();
        let globs = |globs: &[&str]| globs.iter().map(|&glob| glob.to_owned()).collect();
        let inputs = [(&[][..], &[][..]), (&["*.log", "x"], &[]), (&[], &["*.md", "sub/other/"])];
        for (include, exclude) in inputs {
            let (include, exclude) = (globs(include), globs(exclude));
            let input = DiscoverInput { include, exclude, ..DiscoverInput::default() };
            let found = discover(home.path(), &input, &CancellationToken::new()).unwrap();
            assert_eq!(found.files, walked(home.path(), &input), "{input:?}");
            assert!(!found.files.is_empty());
        }
        check(
            home.path(),
            expect![[r#"
                a.log keep.log no.md other/x.md sub/b.log sub/build/x sub/other/secret.md sub/other/x.tmp
                links 0, special 0, unreadable 0"#]],
        );
    }

    #[test]
    fn ignore_files_that_are_no_files_are_passed_by() {
        let home = plant(&[("a/x", ""), ("b/x", ""), ("c/x", ""), ("d/.gitignore/x", "")]);
        let at = |name: &str| home.path().join(name);
        mkfifoat(CWD, at("a/.gitignore"), Mode::RUSR).unwrap();
        mkfifoat(CWD, at("a/.ignore"), Mode::RUSR).unwrap();
        symlink("/dev/zero", at("b/.gitignore")).unwrap();
        fs::write(at("c/.ignore"), "x\n".repeat(MAX_IGNORE_FILE as usize)).unwrap();
        check(
            home.path(),
            expect![[r#"
                a/x b/x c/x
                links 0, special 0, unreadable 5"#]],
        );
    }

    #[test]
    fn a_walk_ends_when_it_is_told_to() {
        let home = plant(&[("a/x", "")]);
        let stop = CancellationToken::new();
        stop.cancel();
        let stopped = discover(home.path(), &DiscoverInput::default(), &stop);
        assert!(matches!(stopped, Err(CorpusError::Stopped)), "{stopped:?}");
    }

    #[test]
    fn ignore_files_of_one_path_are_bounded_together() {
        let line = format!("{}\n", "x".repeat(MAX_IGNORE_FILE as usize / 2));
        let deep: Vec<_> = (1..=5).map(|depth| "d/".repeat(depth)).collect();
        let files: Vec<_> = deep.iter().map(|path| format!("{path}.ignore")).collect();
        let twice = line.repeat(2);
        let files: Vec<_> = files.iter().map(|file| (file.as_str(), &twice[2..])).collect();
        let home = plant(&files);
        check(
            home.path(),
            expect![[r#"

                links 0, special 0, unreadable 1"#]],
        );
    }
}
