//! A Python with the NATS client, in an environment of its own below `target`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The client library that agents in Python use.
const CLIENT: &str = "nats-py==2.16.0";

/// Returns an interpreter that has the client, made on first use.
///
/// # Errors
/// There is no python3 with venv and pip, or the client cannot be installed.
pub fn python_with_nats() -> Result<PathBuf> {
    let target = crate::root().join("target");
    // Another version is another environment.
    let (ready, made) = (target.join(format!("python-{CLIENT}")), target.join("python.making"));
    fs::create_dir_all(&target)?;
    let lock = File::create(target.join("python.lock"))?;
    lock.lock().context("cannot lock the environment")?;
    let interpreter = ready.join("bin").join("python");
    if interpreter.exists() {
        return Ok(interpreter);
    }
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&made), "make an environment")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT];
    run(Command::new(made.join("bin").join("python")).args(pip), "install the NATS client")?;
    fs::rename(&made, &ready)?;
    Ok(interpreter)
}

fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot {what}"))?;
    ensure!(status.success(), "cannot {what}: {command:?}");
    Ok(())
}
