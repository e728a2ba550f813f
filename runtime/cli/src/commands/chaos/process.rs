//! A child process that ends with its handle, by its own pid.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Error, Exit};

/// How a process is started, again and again, and the one that runs, if one does.
#[derive(Debug)]
pub(super) struct Process {
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    /// None after it was killed.
    child: Option<Child>,
    /// It was asked to end.
    drains: bool,
}

impl Process {
    /// Starts this program with other arguments; what it prints is appended to `NAME.log`.
    pub(super) fn start(
        name: &str,
        arguments: Vec<String>,
        environment: Vec<(&'static str, String)>,
        folder: &Path,
    ) -> Result<Self, Error> {
        let log = folder.join(format!("{name}.log"));
        let mut process = Self { arguments, environment, log, child: None, drains: false };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it, if it does not run.
    pub(super) fn start_again(&mut self) -> Result<(), Error> {
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            return Ok(());
        }
        let started = self.spawn();
        self.child = Some(started.map_err(|error| failed("start a process", &error))?);
        self.drains = false;
        Ok(())
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        // It knows nothing of the surroundings of this one.
        for (name, _) in std::env::vars_os() {
            let is_ours = name.to_str().is_some_and(|name| name.starts_with("SKEP_"));
            if is_ours && name != "SKEP_LOG" {
                command.env_remove(name);
            }
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    /// Asks it to end in order: SIGTERM.
    pub(super) fn drain(&mut self) {
        self.drains = true;
        if let Some(pid) = self.pid() {
            signal(pid, Signal::TERM);
        }
    }

    /// Starts it again if it ended, as whatever keeps daemons alive would; returns how it had, if
    /// nobody had asked for that.
    pub(super) fn keep(&mut self) -> Result<Option<ExitStatus>, Error> {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let unasked = ended.filter(|status| !(self.drains && status.success()));
        if ended.is_some() {
            self.start_again()?;
        }
        Ok(unasked)
    }

    /// Ends it as a crash would: SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Returns its process id, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process; one that is gone does not mind.
pub(super) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        kill_process(pid, signal).ok();
    }
}

pub(super) fn failed(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(Exit::Failed, format!("cannot {what}: {error}"))
}
