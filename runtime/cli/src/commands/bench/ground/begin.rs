//! How a cluster is started for a benchmark, or joined.

use std::time::Duration;

use skep_broker::Revision;
use skep_nats::server::ThrowawayServer;
use skep_nats::{ConnectOptions, Nats};

use super::super::clock;
use super::super::worker::{CAPABILITIES, capability};
use super::coordinators::{served, settled};
use super::there::{while_there, within};
use super::{Cluster, GroundArgs, LOOK_EVERY, PATIENCE, has_runs};
use crate::agents::Running;
use crate::cli::Global;
use crate::client::Client;
use crate::cluster;
use crate::error::{Error, Exit};
use crate::human;
use crate::process::Process;

/// How long agents of a benchmark that ended may still be counted among those that are there.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(10);

impl GroundArgs {
    /// Starts a cluster.
    pub(super) async fn start(&self) -> Result<Cluster, Error> {
        let (wanted, partitions) = (self.coordinators.unwrap_or(1), self.partitions());
        if wanted > partitions {
            let partitions = human::count(partitions.into(), "partition");
            let message = format!("{wanted} coordinators cannot share {partitions}");
            return Err(Error::usage(message).help(format!("take --partitions {wanted} or more")));
        }
        let server = self.server.start().await?;
        let url = server.url();
        let at = vec!["--nats".to_owned(), url.clone()];
        let mut coordinators = Vec::new();
        let connect = async || Ok(Nats::connect(ConnectOptions::url(&url)).await?);
        let from = clock();
        for number in 0..wanted {
            let name = format!("bench-{number}");
            let data = server.store_dir().join(&name).display().to_string();
            let partitions = partitions.to_string();
            let args = ["serve", "--name", &name, "--data", &data, "--partitions", &partitions];
            coordinators.push(self.process(&args, &at, &name)?);
        }
        self.join_as(connect, at, (coordinators, Some(server)), from).await
    }

    /// Joins a cluster that is there.
    pub(super) async fn join(&self, global: &Global) -> Result<Cluster, Error> {
        let client = cluster::client(&global.cluster).await?;
        let from = clock();
        // Without a coordinator it is of no use to wait for one.
        while let Some(other) = other_benchmark(&client).await? {
            if clock().saturating_sub(from) > FORGOTTEN_WITHIN {
                let message = format!(
                    "another benchmark is under way on this cluster: agent {other} serves it"
                );
                return Err(Error::new(Exit::Conflict, message).help("try again when it is over"));
            }
            tokio::time::sleep(10 * LOOK_EVERY).await;
        }
        has_runs();
        let connect = async || cluster::connect(&global.cluster).await;
        self.join_as(connect, global.cluster.to_args(), (Vec::new(), None), clock()).await
    }

    async fn join_as(
        &self,
        connect: impl AsyncFn() -> Result<Nats, Error>,
        at: Vec<String>,
        (coordinators, server): (Vec<Process>, Option<ThrowawayServer>),
        from: Duration,
    ) -> Result<Cluster, Error> {
        let nats = connect().await?;
        let serving = within(
            "the partitions are not served",
            served(&nats, coordinators.len(), Revision::ABSENT),
        );
        let partitions = while_there(&nats, [&coordinators, &[]], async { serving.await? }).await?;
        let ready = clock().saturating_sub(from);
        if coordinators.len() > 1 {
            within("the partitions are handed over again and again", settled(&nats)).await??;
        }
        // A load may be more than there is room for: then it is borne.
        let client = Client::new(nats.clone(), partitions).patient(PATIENCE);
        let (slots, step) = (self.slots.to_string(), self.step.as_millis().to_string());
        let lane = self.lane().name();
        let capability = capability();
        let args = [
            "bench",
            "worker",
            "--slots",
            &slots,
            "--lane",
            lane,
            "--step-ms",
            &step,
            "--capability",
            &capability,
        ];
        let before = client.agents().await?.len();
        let (mut agents, mut here) = (Vec::new(), None);
        if self.begun.is_some() {
            here = Some(Running::start(self.agents_here()?, &connect().await?));
        } else {
            for _ in 0..self.agents {
                agents.push(self.process(&args, &at, "agents")?);
            }
        }
        let there = within("the agents are not there", async {
            while client.agents().await?.len() < before + self.agents as usize {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        });
        while_there(&nats, [&coordinators, &agents], async { there.await? }).await?;
        Ok(Cluster { client, agents, _agents_here: here, coordinators, server, ready })
    }

    fn process(&self, args: &[&str], at: &[String], name: &str) -> Result<Process, Error> {
        let args = args.iter().map(|arg| (*arg).to_owned()).chain(at.iter().cloned());
        self.server.process(args.collect(), name)
    }
}

/// Returns an agent that serves what those of a benchmark do.
async fn other_benchmark(client: &Client<Nats>) -> Result<Option<String>, Error> {
    let agents = client.agents().await?;
    let mut serving = agents.iter().filter(|agent| {
        agent.offers.iter().any(|offer| offer.capability.starts_with(CAPABILITIES))
    });
    Ok(serving.next().map(|agent| agent.agent.to_string()))
}
