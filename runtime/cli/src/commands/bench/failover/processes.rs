//! The processes of the cluster: each ends with its handle.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::LOOK_EVERY;
use crate::error::Error;
use crate::process::Process;

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

/// All of them.
pub(super) struct Processes {
    url: String,
    coordinators: BTreeMap<String, Process>,
    agents: Vec<Process>,
}

impl Processes {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), coordinators: BTreeMap::new(), agents: Vec::new() }
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
        let args = args.iter().chain(&["--nats"]).map(|arg| (*arg).to_owned());
        Process::start(args.chain([self.url.clone()]).collect(), Vec::new(), None)
    }

    /// Ends a coordinator.
    pub(super) fn end(&mut self, name: &str, sign: Sign) {
        match sign {
            // The handle kills it, and waits for it.
            Sign::Kill => drop(self.coordinators.remove(name)),
            Sign::Stop => self.signal(name, Signal::STOP),
            Sign::Drain => self.signal(name, Signal::TERM),
        }
    }

    /// Lets a stopped coordinator go on.
    pub(super) fn goes_on(&self, name: &str) {
        self.signal(name, Signal::CONT);
    }

    fn signal(&self, name: &str, what: Signal) {
        if let Some(process) = self.coordinators.get(name) {
            process.signal(what);
        }
    }

    /// Waits until a coordinator has ended by itself.
    pub(super) async fn ended(&mut self, name: &str) {
        while self.coordinators.get_mut(name).is_some_and(Process::runs) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
