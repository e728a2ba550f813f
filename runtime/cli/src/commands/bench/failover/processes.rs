//! The processes of the cluster: each ends with its handle, by its own pid.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::LOOK_EVERY;
use crate::error::{Error, Exit};

/// What ends a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Kill,
    Stop,
    Drain,
}

impl Sign {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Drain => "drain",
        }
    }
}

/// A process that is killed with its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// All of them.
pub(super) struct Processes {
    url: String,
    program: PathBuf,
    coordinators: BTreeMap<String, Process>,
    agents: Vec<Process>,
}

impl Processes {
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(|error| failed("find this program", &error));
        let (coordinators, agents) = (BTreeMap::new(), Vec::new());
        Ok(Self { url: url.to_owned(), program: program?, coordinators, agents })
    }

    pub(super) fn start_coordinator(&mut self, name: &str) -> Result<(), Error> {
        let process = self.start(&["serve", "--name", name])?;
        self.coordinators.insert(name.to_owned(), process);
        Ok(())
    }

    pub(super) fn start_agent(&mut self, step_ms: u64) -> Result<(), Error> {
        let process = self.start(&["bench", "worker", "--step-ms", &step_ms.to_string()])?;
        self.agents.push(process);
        Ok(())
    }

    fn start(&self, args: &[&str]) -> Result<Process, Error> {
        let mut command = Command::new(&self.program);
        command.args(args).args(["--nats", &self.url]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Process).map_err(|error| failed("start a process", &error))
    }

    /// Ends a coordinator.
    pub(super) fn end(&mut self, name: &str, sign: Sign) -> Result<(), Error> {
        match sign {
            // The handle kills it, and waits for it.
            Sign::Kill => {
                self.coordinators.remove(name);
                Ok(())
            }
            Sign::Stop => self.signal(name, "-STOP"),
            Sign::Drain => self.signal(name, "-TERM"),
        }
    }

    /// Lets a stopped coordinator go on.
    pub(super) fn goes_on(&self, name: &str) -> Result<(), Error> {
        self.signal(name, "-CONT")
    }

    fn signal(&self, name: &str, signal: &str) -> Result<(), Error> {
        let Some(process) = self.coordinators.get(name) else { return Ok(()) };
        let status = Command::new("kill").args([signal, &process.0.id().to_string()]).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                Err(failed("signal a coordinator", &std::io::Error::other(status.to_string())))
            }
            Err(error) => Err(failed("signal a coordinator", &error)),
        }
    }

    /// Waits until a coordinator has ended by itself.
    pub(super) async fn ended(&mut self, name: &str) -> Result<(), Error> {
        let Some(process) = self.coordinators.get_mut(name) else { return Ok(()) };
        loop {
            match process.0.try_wait() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => return Err(failed("wait for a coordinator", &error)),
            }
        }
    }
}

fn failed(what: &str, error: &std::io::Error) -> Error {
    Error::new(Exit::Failed, format!("cannot {what}: {error}"))
}
