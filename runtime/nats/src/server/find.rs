//! Where a nats-server may be, and whether the one found there will do.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::fetch::{FetchError, NEWEST, OLDEST, Release};
use crate::version::{OLDEST_SUPPORTED, Version};

/// Names a nats-server binary to use before any other.
const VARIABLE: &str = "SKEP_NATS_SERVER";

/// A nats-server that skep can work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// Where it is.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
}

/// A place where a nats-server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The variable `SKEP_NATS_SERVER`.
    Variable,
    /// The folders of `PATH`.
    Path,
    /// The cache of skep.
    Cache,
}

/// A place that was looked at in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Where.
    pub place: Place,
    /// The file that was found there, if any.
    pub file: Option<PathBuf>,
    /// Why it will not do.
    pub reason: String,
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Variable => write!(f, "{VARIABLE}")?,
            Place::Path => write!(f, "PATH")?,
            Place::Cache => write!(f, "the cache")?,
        }
        if let Some(file) = &self.file {
            write!(f, " ({})", file.display())?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why there is no nats-server to start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The variable names something that will not do; nothing else is tried.
    #[error("cannot use the nats-server that {VARIABLE} names: {0}")]
    Variable(Looked),
    /// There is none anywhere, and none was to be fetched.
    #[error(
        "no nats-server {OLDEST_SUPPORTED} or newer was found\n{}\n\
         install one, or name it in {VARIABLE}",
        lines(.0)
    )]
    NotFound(Vec<Looked>),
    /// There is none anywhere, and fetching one failed.
    #[error(
        "no nats-server {OLDEST_SUPPORTED} or newer was found, and none could be fetched\n{}\n\
         install one, or name it in {VARIABLE}",
        lines(looked)
    )]
    NotFetched {
        /// Where it was looked for.
        looked: Vec<Looked>,
        /// Why none was fetched.
        #[source]
        source: FetchError,
    },
}

fn lines(looked: &[Looked]) -> String {
    looked.iter().map(|place| format!("  {place}")).collect::<Vec<_>>().join("\n")
}

/// What the environment says about where to look; taken as a value so that tests can vary it.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    variable: Option<OsString>,
    path: Option<OsString>,
    cache: Option<PathBuf>,
}

impl Surroundings {
    fn of_process() -> Self {
        let named = |name| env::var_os(name).filter(|value| !value.is_empty());
        let home = || named("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = named("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        Self {
            variable: named(VARIABLE),
            path: named("PATH"),
            cache: cache.map(|cache| cache.join("skep")),
        }
    }
}

/// Finds a nats-server: the one that `SKEP_NATS_SERVER` names, then `PATH`, then the cache.
///
/// # Errors
/// [`FindError::Variable`] and [`FindError::NotFound`].
///
/// # Cancel safety
/// Safe: nothing is changed.
pub async fn find() -> Result<Binary, FindError> {
    find_in(&Surroundings::of_process()).await
}

/// Finds a nats-server like [`find`], or fetches one into the cache.
///
/// # Errors
/// [`FindError::Variable`] and [`FindError::NotFetched`].
///
/// # Cancel safety
/// Safe: a half-fetched file is never taken for a whole one.
pub async fn find_or_fetch() -> Result<Binary, FindError> {
    let surroundings = Surroundings::of_process();
    let looked = match find_in(&surroundings).await {
        Err(FindError::NotFound(looked)) => looked,
        other => return other,
    };
    let fetched = fetch(&NEWEST, &surroundings).await;
    fetched.map_err(|source| FindError::NotFetched { looked, source })
}

/// Fetches the oldest nats-server that will do, or finds it in the cache: for tests against it.
///
/// # Errors
/// Every variant of [`FetchError`].
///
/// # Cancel safety
/// Safe: a half-fetched file is never taken for a whole one.
pub async fn fetch_oldest() -> Result<Binary, FetchError> {
    fetch(&OLDEST, &Surroundings::of_process()).await
}

async fn fetch(release: &Release, surroundings: &Surroundings) -> Result<Binary, FetchError> {
    let cache = surroundings.cache.as_ref().ok_or(FetchError::NoCache)?;
    let cached = release.cached(cache);
    let path = match release.check_cached(&cached) {
        Ok(()) => cached,
        Err(_) => release.fetch(cache).await?,
    };
    match version_of(&path).await {
        Ok(version) => Ok(Binary { path, version }),
        Err(reason) => Err(FetchError::Unusable { path, reason }),
    }
}

async fn find_in(surroundings: &Surroundings) -> Result<Binary, FindError> {
    if let Some(named) = &surroundings.variable {
        let path = PathBuf::from(named);
        return match version_of(&path).await {
            Ok(version) => Ok(Binary { path, version }),
            Err(reason) => Err(FindError::Variable(Looked {
                place: Place::Variable,
                file: Some(path),
                reason,
            })),
        };
    }
    let mut looked =
        vec![Looked { place: Place::Variable, file: None, reason: "it is not set".to_owned() }];
    let on_path = on_path(surroundings.path.as_ref());
    let cached = surroundings.cache.as_deref().map(|cache| NEWEST.cached(cache));
    for (place, files) in [(Place::Path, on_path), (Place::Cache, cached.into_iter().collect())] {
        let before = looked.len();
        for path in files.into_iter().filter(|path| path.is_file()) {
            let usable = match place {
                Place::Cache => NEWEST.check_cached(&path),
                Place::Variable | Place::Path => Ok(()),
            };
            let version = match usable {
                Ok(()) => version_of(&path).await,
                Err(reason) => Err(reason),
            };
            match version {
                Ok(version) => return Ok(Binary { path, version }),
                Err(reason) => {
                    looked.push(Looked { place: place.clone(), file: Some(path), reason });
                }
            }
        }
        if looked.len() == before {
            looked.push(Looked { place, file: None, reason: "there is none".to_owned() });
        }
    }
    Err(FindError::NotFound(looked))
}

fn on_path(path: Option<&OsString>) -> Vec<PathBuf> {
    let name = format!("nats-server{}", env::consts::EXE_SUFFIX);
    let folders = path.map(|path| env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    folders.into_iter().map(|folder| folder.join(&name)).collect()
}

/// Returns the version of the server at `path`, or why it will not do.
async fn version_of(path: &Path) -> Result<Version, String> {
    let mut command = Command::new(path);
    command.arg("-v").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| format!("cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .trim()
        .strip_prefix("nats-server: ")
        .and_then(|version| version.parse::<Version>().ok())
        .ok_or_else(|| "does not answer to -v like a nats-server".to_owned())?;
    if version.is_supported() {
        Ok(version)
    } else {
        Err(format!("has version {version}, but {OLDEST_SUPPORTED} or newer is needed"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use expect_test::{Expect, expect};

    use super::*;

    fn pretend(folder: &Path, version: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join("nats-server");
        let staged = folder.join("staged");
        fs::write(&staged, format!("#!/bin/sh\necho {version}\n")).unwrap();
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&staged, &path).unwrap();
        path
    }

    async fn check(surroundings: Surroundings, root: &Path, expected: Expect) {
        let seen = match find_in(&surroundings).await {
            Ok(binary) => format!("{} {}", binary.path.display(), binary.version),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&seen.replace(&root.display().to_string(), "ROOT"));
    }

    #[tokio::test]
    async fn the_variable_wins_and_is_never_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let new = pretend(&root.path().join("new"), "nats-server: v2.15.1");
        let old = pretend(&root.path().join("old"), "nats-server: v2.9.10");
        let with = |path: PathBuf| Surroundings {
            variable: Some(path.into()),
            path: Some(root.path().join("new").into()),
            cache: None,
        };
        check(with(new), root.path(), expect!["ROOT/new/nats-server 2.15.1"]).await;
        check(
            with(old),
            root.path(),
            expect![
                "cannot use the nats-server that SKEP_NATS_SERVER names: \
                 SKEP_NATS_SERVER (ROOT/old/nats-server): \
                 has version 2.9.10, but 2.12.0 or newer is needed"
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn another_file_in_the_cache_is_not_run() {
        let root = tempfile::tempdir().unwrap();
        let cached = NEWEST.cached(root.path());
        pretend(cached.parent().unwrap(), "nats-server: v2.15.1; touch ran");
        let surroundings =
            Surroundings { variable: None, path: None, cache: Some(root.path().to_owned()) };
        check(
            surroundings,
            root.path(),
            expect![[r#"
                no nats-server 2.12.0 or newer was found
                  SKEP_NATS_SERVER: it is not set
                  PATH: there is none
                  the cache (ROOT/nats-server-2.15.1/nats-server): is not the one that was fetched
                install one, or name it in SKEP_NATS_SERVER"#]],
        )
        .await;
    }

    #[tokio::test]
    async fn an_old_one_on_the_path_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        pretend(&root.path().join("old"), "nats-server: v2.9.10");
        pretend(&root.path().join("odd"), "hello");
        pretend(&root.path().join("new"), "nats-server: v2.12.3");
        let with = |folders: &[&str]| Surroundings {
            variable: None,
            path: Some(env::join_paths(folders.iter().map(|f| root.path().join(f))).unwrap()),
            cache: Some(root.path().join("cache")),
        };
        check(with(&["old", "new"]), root.path(), expect!["ROOT/new/nats-server 2.12.3"]).await;
        check(
            with(&["old", "odd", "none"]),
            root.path(),
            expect![[r#"
                no nats-server 2.12.0 or newer was found
                  SKEP_NATS_SERVER: it is not set
                  PATH (ROOT/old/nats-server): has version 2.9.10, but 2.12.0 or newer is needed
                  PATH (ROOT/odd/nats-server): does not answer to -v like a nats-server
                  the cache: there is none
                install one, or name it in SKEP_NATS_SERVER"#]],
        )
        .await;
    }
}
