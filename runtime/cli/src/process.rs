//! This program again, as a child process that ends with its handle, by its own pid.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, waitid};

use crate::error::{Error, Exit};

/// Set for a process that is to end with the one that started it.
const ENDS_WITH_PARENT: &str = "SKEP_ENDS_WITH_PARENT";

/// Sees to it that this process is killed when the one that started it ends, however it ends, if
/// that one wants it and the system can.
pub(crate) fn end_with_parent() {
    #[cfg(target_os = "linux")]
    if let Some(parent) = std::env::var_os(ENDS_WITH_PARENT) {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).ok();
        let is_there = rustix::process::getppid().map(|pid| pid.to_string());
        if is_there.as_deref().map(std::ffi::OsStr::new) != Some(&parent) {
            std::process::exit(Exit::Failed.number().into());
        }
    }
}

/// How a process is started, again and again, and the one that runs, if one does.
#[derive(Debug)]
pub(crate) struct Process {
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// What it prints is appended here.
    log: Option<PathBuf>,
    /// None after it was killed.
    child: Option<Child>,
    /// It was asked to end.
    drains: bool,
}

impl Process {
    /// Starts this program with other arguments.
    pub(crate) fn start(
        arguments: Vec<String>,
        environment: Vec<(&'static str, String)>,
        log: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let mut process = Self { arguments, environment, log, child: None, drains: false };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it, if it does not run.
    pub(crate) fn start_again(&mut self) -> Result<(), Error> {
        if self.runs() {
            return Ok(());
        }
        let started = self.spawn();
        self.child = Some(started.map_err(|error| failed("start a process", &error))?);
        self.drains = false;
        Ok(())
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        // It knows nothing of the surroundings of this one.
        for (name, _) in std::env::vars_os() {
            let is_ours = name.to_str().is_some_and(|name| name.starts_with("SKEP_"));
            if is_ours && name != "SKEP_LOG" {
                command.env_remove(name);
            }
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(k, v)| (k, v)));
        command.env(ENDS_WITH_PARENT, std::process::id().to_string());
        // Ctrl-C at the terminal is for the one that started it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let (out, err) = match &self.log {
            Some(log) => {
                let opened = File::options().create(true).append(true).open(log);
                let log = opened.map_err(|error| named(log, &error))?;
                (log.try_clone()?.into(), log.into())
            }
            None => (Stdio::null(), Stdio::null()),
        };
        command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()
    }

    /// Asks it to end in order: SIGTERM.
    pub(crate) fn drain(&mut self) {
        self.drains = true;
        self.signal(Signal::TERM);
    }

    /// Starts it again if it ended, as whatever keeps daemons alive would; returns how it had, if
    /// nobody had asked for that.
    pub(crate) fn keep(&mut self) -> Result<Option<ExitStatus>, Error> {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let unasked = ended.filter(|status| !(self.drains && status.success()));
        if ended.is_some() {
            self.start_again()?;
        }
        Ok(unasked)
    }

    /// Ends it as a crash would: SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Returns whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Returns that it ended, and how, if it did though nobody had asked for that.
    pub(crate) fn ended_by_itself(&self) -> Option<Error> {
        let child = self.child.as_ref().filter(|_| !self.drains)?;
        // Its end is left for those who look after it.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(pid_of(child.id())?), options).ok().flatten()?;
        let what = self.arguments.iter().take_while(|word| !word.starts_with('-'));
        let what = what.map(String::as_str).collect::<Vec<_>>().join(" ");
        let error = Error::new(Exit::Failed, format!("`skep {what}` ended: {}", how(&status)));
        Some(match &self.log {
            Some(log) => error.help(format!("see {}", log.display())),
            None => error.help("to see why, name a folder for its log: --logs DIR"),
        })
    }

    /// Sends it a signal, if it runs.
    pub(crate) fn signal(&self, what: Signal) {
        if let Some(pid) = self.pid() {
            signal(pid, what);
        }
    }

    /// Returns its process id, if it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process; one that is gone does not mind.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        kill_process(pid, signal).ok();
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn how(status: &WaitIdStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => format!("exit status {status}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "nobody knows how".to_owned(),
    }
}

fn named(path: &Path, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

pub(crate) fn failed(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(Exit::Failed, format!("cannot {what}: {error}"))
}
