//! Calls of the binary that come to their end, and what they did.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What a call did.
#[derive(Debug)]
pub struct Called {
    /// The code it ended with; -1 after a signal.
    pub exit: i32,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started, or prints something else than text.
///
/// # Cancel safety
/// Safe: the process is killed.
pub async fn call(command: Command) -> Result<Called> {
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await.with_context(|| format!("cannot run {shown}"))?;
    Ok(Called {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

impl Called {
    /// Returns everything, for the message of a failing test.
    pub fn text(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.exit, self.stdout, self.stderr)
    }

    /// Returns stdout, which is one JSON document.
    ///
    /// # Errors
    /// It is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// Returns stdout, of which each line is one JSON document.
    ///
    /// # Errors
    /// One is not.
    pub fn json_lines(&self) -> Result<Vec<Value>> {
        let lines = self.stdout.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().with_context(|| format!("no JSON: {}", self.text()))
    }

    /// Returns the error that the last line of stderr is.
    ///
    /// # Errors
    /// It is none.
    pub fn error(&self) -> Result<Value> {
        let last = self.stderr.lines().next_back().unwrap_or_default();
        let read = serde_json::from_str::<Value>(last).ok();
        let error = read.and_then(|object| object.get("error").cloned());
        error.with_context(|| format!("no error: {}", self.text()))
    }
}
