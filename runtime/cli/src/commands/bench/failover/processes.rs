//! The processes of the cluster: each ends with its handle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::super::worker::capability;
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
    /// Where coordinators keep what they can do without: a history of many hours is not in memory.
    data: PathBuf,
    /// Where their logs go.
    logs: Option<PathBuf>,
    coordinators: BTreeMap<String, Process>,
    agents: Vec<Process>,
}

impl Processes {
    pub(super) fn new(url: &str, data: &Path, logs: Option<PathBuf>) -> Self {
        let (coordinators, agents) = (BTreeMap::new(), Vec::new());
        Self { url: url.to_owned(), data: data.to_owned(), logs, coordinators, agents }
    }

    pub(super) fn start_coordinator(&mut self, name: &str) -> Result<(), Error> {
        let data = self.data.join(name).display().to_string();
        let process = self.start(name, &["serve", "--name", name, "--data", &data])?;
        self.coordinators.insert(name.to_owned(), process);
        Ok(())
    }

    pub(super) fn start_agent(&mut self, step_ms: u64) -> Result<(), Error> {
        let step_ms = step_ms.to_string();
        let capability = capability();
        let args = ["bench", "worker", "--step-ms", &step_ms, "--capability", &capability];
        let process = self.start("agents", &args)?;
        self.agents.push(process);
        Ok(())
    }

    fn start(&self, name: &str, args: &[&str]) -> Result<Process, Error> {
        let args = args.iter().chain(&["--nats"]).map(|arg| (*arg).to_owned());
        let log = self.logs.as_ref().map(|folder| folder.join(format!("{name}.log")));
        Process::start(args.chain([self.url.clone()]).collect(), Vec::new(), log)
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

    /// Kills the agent that has been there longest.
    pub(super) fn kill_agent(&mut self) {
        if !self.agents.is_empty() {
            drop(self.agents.remove(0));
        }
    }

    /// Stops the agent that has been there longest; afterwards it is the one that came last.
    pub(super) fn stop_agent(&mut self) {
        let first = self.agents.len().min(1);
        self.agents.rotate_left(first);
        self.signal_last(Signal::STOP);
    }

    /// Lets the agent go on that was stopped.
    pub(super) fn agent_goes_on(&self) {
        self.signal_last(Signal::CONT);
    }

    fn signal_last(&self, what: Signal) {
        if let Some(agent) = self.agents.last() {
            agent.signal(what);
        }
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
