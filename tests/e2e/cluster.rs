//! A cluster whose agents write down what they do, and a client of it.

use std::fs;
use std::ops::{Deref, DerefMut, Range};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use futures::future::try_join_all;
use skep_broker::{Commands as _, Queries as _, RequestError};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::{
    Command as Ask, CommandReply, PartitionCount, PartitionId, Payload, Query, QueryReply,
    RegisterWorkflow, RunFilter, RunId, RunStatus, RunSummary, StartRun,
};
use skep_tests::LOOK_EVERY;

/// The processes, and a client.
pub(crate) struct Cluster {
    processes: skep_tests::Cluster,
    pub(crate) nats: Nats,
}

impl Deref for Cluster {
    type Target = skep_tests::Cluster;

    fn deref(&self) -> &Self::Target {
        &self.processes
    }
}

impl DerefMut for Cluster {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.processes
    }
}

impl Cluster {
    /// Starts nats-server, one coordinator and `agents` agents.
    pub(crate) async fn start(agents: usize) -> Result<Self> {
        let processes = skep_tests::Cluster::start().await?;
        let url = processes.server.url();
        Self::on(processes, &url, agents).await
    }

    /// Connects to the NATS at `url` and starts `agents` agents.
    pub(crate) async fn on(
        processes: skep_tests::Cluster,
        url: &str,
        agents: usize,
    ) -> Result<Self> {
        let nats = Nats::connect(ConnectOptions::url(url)).await?;
        let mut cluster = Self { processes, nats };
        for _ in 0..agents {
            let mut command = Command::new(env!("CARGO_BIN_EXE_skep-test-agent"));
            command.arg(cluster.ledger_path());
            cluster.start_agent(command)?;
        }
        Ok(cluster)
    }

    fn ledger_path(&self) -> PathBuf {
        self.path().join("ledger")
    }

    /// Returns what the agents wrote down, line by line.
    pub(crate) fn ledger(&self) -> Vec<String> {
        let text = fs::read_to_string(self.ledger_path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the agents wrote at least so many lines.
    pub(crate) async fn ledger_has(&self, lines: usize) {
        while self.ledger().len() < lines {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends a command until somebody owns the partition and answers.
    pub(crate) async fn command(&self, partition: PartitionId, ask: Ask) -> Result<CommandReply> {
        loop {
            match self.nats.command(partition, ask.clone()).await {
                Ok(CommandReply::Rejected(rejection)) => bail!(rejection),
                Ok(reply) => return Ok(reply),
                Err(RequestError::TooLarge { what, .. }) => bail!("{what} is too large"),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Registers a definition and starts `count` runs of it at the same time.
    pub(crate) async fn start_runs(&self, definition: &str, count: usize) -> Result<Vec<RunId>> {
        self.start_runs_from(definition, 0..count).await
    }

    /// Registers a definition and starts those runs of it at the same time.
    pub(crate) async fn start_runs_from(
        &self,
        definition: &str,
        numbers: Range<usize>,
    ) -> Result<Vec<RunId>> {
        let register = RegisterWorkflow {
            source: definition.to_owned(),
            file: "test.skep.yaml".to_owned(),
            publish: false,
        };
        let reply = self.command(PartitionId::new(0), Ask::Register(register)).await?;
        let CommandReply::Registered { digest, .. } = reply else { bail!("no digest: {reply:?}") };
        let runs: Vec<_> =
            numbers.clone().map(|i| RunId::from_key("test", &i.to_string())).collect();
        try_join_all(numbers.zip(&runs).map(async |(number, run)| {
            let start = StartRun {
                run: *run,
                workflow: digest.to_string(),
                inputs: Payload::encode(&serde_json::json!({ "number": number }))?,
                parent: None,
                depth: 0,
                labels: std::collections::BTreeMap::new(),
            };
            let partition = PartitionCount::DEFAULT.of(*run);
            self.command(partition, Ask::Start(Box::new(start))).await
        }))
        .await?;
        Ok(runs)
    }

    async fn runs(&self) -> Option<Vec<RunSummary>> {
        let filter = RunFilter { limit: 10_000, ..RunFilter::default() };
        match self.nats.query(Query::Runs(filter)).await {
            Ok(QueryReply::Runs(runs)) => Some(runs),
            Ok(_) | Err(_) => None,
        }
    }

    /// Waits until so many runs are over, and fails if one of them did not complete.
    pub(crate) async fn complete(&self, count: usize) -> Result<()> {
        loop {
            let runs = self.runs().await.unwrap_or_default();
            let bad =
                runs.iter().find(|run| run.status.is_final() && run.status != RunStatus::Completed);
            ensure!(bad.is_none(), "a run did not complete: {bad:?}");
            if runs.iter().filter(|run| run.status == RunStatus::Completed).count() >= count {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
