//! A cluster of processes on this machine: nats-server, coordinators, agents.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use skep_nats::server::{Options, ThrowawayServer};
use tempfile::TempDir;

use crate::{Called, Process, call, command};

/// Between two looks at something that has no other way to tell.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The processes, and the folder of all they write; both go with the handle.
#[derive(Debug)]
pub struct Cluster {
    /// The server, to be killed and restarted.
    pub server: ThrowawayServer,
    agents: Vec<Process>,
    coordinator: Option<Process>,
    named: BTreeMap<String, Process>,
    folder: TempDir,
}

impl Cluster {
    /// Starts nats-server and one coordinator, and waits until it serves.
    ///
    /// # Errors
    /// One of them does not start.
    ///
    /// # Cancel safety
    /// Safe: what was started is killed.
    pub async fn start() -> Result<Self> {
        let server = ThrowawayServer::start(Options::default()).await?;
        let mut cluster = Self::with(server)?;
        cluster.start_coordinator()?;
        let coordinator = cluster.coordinator.as_mut().expect("it was started");
        coordinator.says("serves the cluster", LOOK_EVERY).await?;
        Ok(cluster)
    }

    /// Takes a server that is there, and starts nothing yet.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn with(server: ThrowawayServer) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let cluster =
            Self { server, agents: Vec::new(), coordinator: None, named: BTreeMap::new(), folder };
        Ok(cluster)
    }

    /// Starts the coordinator's process; its data is kept over restarts.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_coordinator(&mut self) -> Result<()> {
        let mut command = command()?;
        command.args(["serve", "--nats", &self.server.url(), "--data"]);
        command.arg(self.folder.path().join("data"));
        self.coordinator = Some(Process::start("coordinator", &mut command, self.path())?);
        Ok(())
    }

    /// Starts several coordinators, each by its name, on whatever NATS is at `url`.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start_named(&mut self, name: &str, url: &str, replicas: usize) -> Result<()> {
        let mut command = command()?;
        command.args(["serve", "--nats", url, "--name", name, "--data"]);
        command.arg(self.folder.path().join(name)).env("SKEP_REPLICAS", replicas.to_string());
        let process = Process::start(name, &mut command, self.path())?;
        self.named.insert(name.to_owned(), process);
        Ok(())
    }

    /// Returns the process of a coordinator that was started by its name.
    ///
    /// # Errors
    /// There is none of the name.
    pub fn named(&mut self, name: &str) -> Result<&mut Process> {
        self.named.get_mut(name).with_context(|| format!("there is no coordinator {name}"))
    }

    /// Ends the coordinator by SIGKILL.
    ///
    /// # Errors
    /// There is none, or it cannot be killed.
    pub fn kill_coordinator(&mut self) -> Result<()> {
        self.coordinator.as_mut().context("there is no coordinator")?.kill()
    }

    /// Starts an agent's process, which finds the cluster by `SKEP_NATS_URL`.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_agent(&mut self, mut command: Command) -> Result<()> {
        let name = format!("agent-{}", self.agents.len());
        command.env("SKEP_NATS_URL", self.server.url());
        let agent = Process::start(&name, &mut command, self.path())?;
        self.agents.push(agent);
        Ok(())
    }

    /// Runs `skep …` to its end, with `--output json`, on this cluster.
    ///
    /// # Errors
    /// It cannot be run.
    ///
    /// # Cancel safety
    /// Safe: the process is killed.
    pub async fn skep(&self, args: &[&str]) -> Result<Called> {
        let mut command = command()?;
        command.args(args).args(["--output", "json"]).current_dir(self.path());
        command.env("SKEP_NATS_URL", self.server.url());
        call(command).await
    }

    /// Returns the folder of all they write.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns what the processes printed, for the message of a failing test.
    pub fn printed(&self) -> String {
        let processes = self.coordinator.iter().chain(self.named.values()).chain(&self.agents);
        processes.map(Process::printed).collect::<Vec<_>>().join("\n")
    }
}
