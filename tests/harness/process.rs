//! A child process that ends with its handle, by its own pid.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A child process whose output goes to a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// The process or its file cannot be made.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let output = folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&output);
        let log = log.with_context(|| format!("cannot write {}", output.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as a crash would: SIGKILL.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    /// Asks the process to end in order: SIGTERM.
    ///
    /// # Errors
    /// It is gone already.
    pub fn terminate(&self) -> Result<()> {
        self.signal("-TERM")
    }

    /// Stops the process where it is: SIGSTOP.
    ///
    /// # Errors
    /// It is gone already.
    pub fn stop(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// Lets a stopped process go on: SIGCONT.
    ///
    /// # Errors
    /// It is gone already.
    pub fn go_on(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status()?;
        anyhow::ensure!(status.success(), "cannot signal {}", self.name);
        Ok(())
    }

    /// Waits until the process ended by itself.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Waits until the process has printed `text`, looking again after each `pause`.
    ///
    /// # Errors
    /// It ends before.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn says(&mut self, text: &str, pause: Duration) -> Result<()> {
        while !self.printed().contains(text) {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.printed());
            }
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Returns what the process has printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing of it stays behind.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
