//! The programs that an operator allows.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The allowed programs, each found once, when the agent starts: what `PATH` says later changes
/// nothing. A path is kept as it is, and if it is a link, that is followed at each start: some
/// programs are many in one file and go by the name they are called by. So whoever may change the
/// link or the file says what is run, and no directory on the way may be writable for tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commands(BTreeMap<String, PathBuf>);

/// An allowed program that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The name makes no sense.
    #[error("`{0}` names no program: give the name of one in PATH, or an absolute path")]
    InvalidName(String),
    /// It is nowhere in `PATH`.
    #[error("there is no program `{0}` in PATH")]
    NotFound(String),
    /// There is no such file, or it may not be executed.
    #[error("`{0}` is not a file that may be executed")]
    NotExecutable(PathBuf),
}

impl Commands {
    /// Finds each program; names are looked up in `path`, absolute paths are taken as they are.
    ///
    /// # Errors
    /// [`CommandError`] of the first one that cannot be run.
    pub fn resolve<'a>(
        names: impl IntoIterator<Item = &'a str>,
        path: Option<&OsStr>,
    ) -> Result<Self, CommandError> {
        let find = |name: &str| Ok((name.to_owned(), resolve(name, path)?));
        names.into_iter().map(find).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the file of a program, asked for by the very name or path that was allowed.
    pub(crate) fn find(&self, command: &str) -> Option<&Path> {
        self.0.get(command).map(PathBuf::as_path)
    }

    /// Returns the allowed names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn resolve(name: &str, path: Option<&OsStr>) -> Result<PathBuf, CommandError> {
    let invalid = || CommandError::InvalidName(name.to_owned());
    if name.is_empty() || name.contains('\0') {
        return Err(invalid());
    }
    if Path::new(name).is_absolute() {
        let file = PathBuf::from(name);
        return if is_executable(&file) {
            Ok(file)
        } else {
            Err(CommandError::NotExecutable(file))
        };
    }
    if name.contains('/') {
        return Err(invalid());
    }
    let directories = path.map(|path| std::env::split_paths(path).collect::<Vec<_>>());
    let mut files = directories.into_iter().flatten().map(|directory| directory.join(name));
    // An entry of PATH that is empty or relative means the current directory, which may change.
    files
        .find(|file| file.is_absolute() && is_executable(file))
        .ok_or_else(|| CommandError::NotFound(name.to_owned()))
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn names_are_found_in_path_and_paths_are_taken_as_they_are() {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (home.path().join("first"), home.path().join("second"));
        for (directory, file, mode) in
            [(&first, "tool", 0o644), (&second, "tool", 0o755), (&second, "other", 0o755)]
        {
            std::fs::create_dir_all(directory).unwrap();
            std::fs::write(directory.join(file), "#!/bin/sh\n").unwrap();
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(directory.join(file), permissions).unwrap();
        }
        let path = std::env::join_paths([Path::new(""), &first, &second]).unwrap();
        let resolve = |name: &str| Commands::resolve([name], Some(&path));

        let tool = second.join("tool");
        assert_eq!(resolve("tool").unwrap().find("tool"), Some(tool.as_path()));
        let absolute = tool.to_str().unwrap();
        assert_eq!(resolve(absolute).unwrap().find(absolute), Some(tool.as_path()));
        assert_eq!(resolve("tool").unwrap().find(absolute), None, "only as it was allowed");

        assert_eq!(resolve("missing"), Err(CommandError::NotFound("missing".into())));
        for name in ["", "bin/tool", "../tool", "to\0ol"] {
            assert_eq!(resolve(name), Err(CommandError::InvalidName(name.into())));
        }
        let plain = first.join("tool");
        let name = plain.to_str().unwrap();
        assert_eq!(resolve(name), Err(CommandError::NotExecutable(plain.clone())));
        assert_eq!(Commands::resolve(["tool"], None), Err(CommandError::NotFound("tool".into())));
    }
}
