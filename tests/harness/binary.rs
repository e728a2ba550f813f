//! The binary under test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

/// Returns the path of `skep`: `SKEP_BIN` if set, otherwise built from this checkout.
///
/// # Errors
/// The build failed.
pub fn skep() -> Result<PathBuf> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = BINARY.get() {
        return Ok(path.clone());
    }
    let path = match std::env::var_os("SKEP_BIN") {
        Some(path) => PathBuf::from(path),
        None => build()?,
    };
    Ok(BINARY.get_or_init(|| path).clone())
}

/// Returns a call of `skep` that knows nothing of the surroundings of the tests.
///
/// # Errors
/// The build failed.
pub fn command() -> Result<Command> {
    let mut command = Command::new(skep()?);
    let ours = std::env::vars_os().filter_map(|(name, _)| {
        let is_ours = name.to_str().is_some_and(|name| name.starts_with("SKEP_"));
        (is_ours && name != "SKEP_NATS_SERVER").then_some(name)
    });
    for name in ours.chain(["CLICOLOR_FORCE".into()]) {
        command.env_remove(name);
    }
    Ok(command)
}

fn build() -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "skep", "--bins"]).current_dir(crate::root());
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "cannot build skep");
    let here = std::env::current_exe().context("this test has no path")?;
    let folder = here.ancestors().nth(2).context("tests lie in target/PROFILE/deps")?;
    Ok(folder.join("skep"))
}
