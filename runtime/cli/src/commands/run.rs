//! `skep run`

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use skep_broker::Broker;
use skep_nats::Nats;
use skep_protocol::{Command, Payload, RegisterWorkflow, RunId, Signal, SignalId, StartRun};
use skep_workflow::Workflow;
use tokio::time::Instant;

use crate::agents::{AgentArgs, ReadyMade, Running};
use crate::awaited::Awaited;
use crate::beside::beside;
use crate::cli::Global;
use crate::client::{Client, Existed};
use crate::commands::change::{self, mint};
use crate::drive::{Drive, Home, Left};
use crate::error::{Error, Exit};
use crate::inputs::InputArgs;
use crate::local::Local;
use crate::missing::{Missing, Wait};
use crate::output::{self, BOLD, Format, paint};
use crate::progress::Progress;
use crate::signals::Interrupts;
use crate::{cluster, definition, human, runtime};

/// How long agents in this process may take to leave a cluster.
const LEAVE_WITHIN: Duration = Duration::from_secs(30);

/// How what a signal carries is written.
const SIGNAL: &str = "write --signal 'NAME={\"by\": \"Ada\"}'";

/// Run a definition: in this process, without any server, or on a cluster.
///
/// Without --nats, --context or SKEP_NATS_URL everything happens in this process: nothing is
/// installed, nothing is left behind, and the ready-made agents that the steps need are started.
/// With one of them the run is started on that cluster and followed. The definition in FILE is
/// sent along for this run alone: it gets no name there, as it does by `skep apply`, and workflows
/// that its steps run have to be applied. The steps are performed by the agents of the cluster;
/// --agent, --allow-command, --allow-address, --root, --reports and --agents start agents in this
/// process that join the cluster for the time of the run.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The definition file (`-` for stdin); on a cluster also the name of an applied workflow:
    /// NAME, or NAME@VERSION.
    #[arg(value_name = "FILE")]
    target: String,
    #[command(flatten)]
    inputs: InputArgs,
    /// Give up after this long: 90s, 5m, 1h30m. A run in this process is cancelled then, one on a
    /// cluster goes on.
    #[arg(long, value_name = "DURATION", value_parser = human::parse_duration)]
    #[arg(conflicts_with = "detach")]
    timeout: Option<Duration>,
    /// The id of the run: starting the same again makes no second run.
    #[arg(long, value_name = "UUID", conflicts_with = "key")]
    id: Option<RunId>,
    /// A word of yours that stands for the id: the same workflow and key are one run.
    #[arg(long, value_name = "WORD")]
    key: Option<String>,
    /// A word to find the run by later: skep list --label NAME=VALUE.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Send a signal at the start, for a step that will wait for it: an approval in advance.
    #[arg(long = "signal", value_name = "NAME[=JSON]")]
    signals: Vec<String>,
    /// Start the run on the cluster, print its id, and leave.
    #[arg(short, long)]
    detach: bool,
    /// Run in this process even if a cluster is named.
    #[arg(long, conflicts_with = "detach")]
    embedded: bool,
    /// Show no progress, only how it ended.
    #[arg(short, long)]
    quiet: bool,
    /// The ready-made agents to start in this process; without it, those the steps need, and on a
    /// cluster those that options are given for.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    agents: Vec<ReadyMade>,
    #[command(flatten)]
    allowed: AgentArgs,
}

impl Run {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let labels = labels(&self.labels)?;
        if self.embedded || !global.cluster.is_named() {
            if self.detach {
                return Err(Error::usage("--detach needs a cluster that the run can live on")
                    .help("name one with --nats URL or SKEP_NATS_URL: `run` looks for none itself")
                    .help("to try things out, `skep dev` starts one at nats://127.0.0.1:4222"));
            }
            let workflow =
                definition::load_to_run(&self.target).map_err(|error| self.hint(error))?;
            self.check_signals(&Awaited::by(&workflow))?;
            let called = beside(&self.target, &workflow)?;
            let inputs = self.inputs.accept(&workflow)?;
            let start = self.start(workflow.name(), &json!(inputs), labels);
            return runtime::large()?.block_on(self.here(workflow, called, start, global));
        }
        let (named, start) = if is_name(&self.target) {
            (None, self.start(&self.target, &json!(self.inputs.read()?), labels))
        } else {
            let workflow = definition::load_to_run(&self.target)?;
            self.check_signals(&Awaited::by(&workflow))?;
            let inputs = self.inputs.accept(&workflow)?;
            let start = self.start(workflow.name(), &json!(inputs), labels);
            (Some(workflow), start)
        };
        runtime::large()?.block_on(self.there(named, start, global))
    }

    fn start(
        &self,
        workflow: &str,
        inputs: &serde_json::Value,
        labels: BTreeMap<String, String>,
    ) -> StartRun {
        let run = match (&self.id, &self.key) {
            (Some(id), _) => *id,
            (None, Some(key)) => RunId::from_key(workflow, key),
            (None, None) => RunId::from_uuid(mint()),
        };
        let (workflow, inputs) = (workflow.to_owned(), Payload::from(inputs));
        StartRun { run, workflow, inputs, parent: None, depth: 0, labels }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| Instant::now() + timeout)
    }

    /// Runs it in this process.
    async fn here(
        self,
        workflow: Workflow,
        called: Vec<Workflow>,
        start: StartRun,
        global: &Global,
    ) -> Result<Exit, Error> {
        let deadline = self.deadline();
        let mut interrupts = Interrupts::listen()?;
        let all = || called.iter().chain([&workflow]);
        let needed = all().flat_map(|one| one.capabilities().iter().map(ToString::to_string));
        let needed: BTreeSet<String> = needed.collect();
        let agents = self.allowed.build(&self.agents, &needed)?;
        let local = Local::start(agents).await?;
        let workflows: Vec<&Workflow> = all().collect();
        let offered = local.agents().capabilities();
        self.missing(&needed, offered, &workflows, Home::Here).tell();
        // By name, too: a workflow may call itself.
        for one in &workflows {
            register(local.client(), one, &format!("{}.skep.yaml", one.name()), true).await?;
        }
        let progress = Progress::new(start.run).with_workflow(&workflow);
        let start = named(local.client(), &workflow, &self.target, start).await?;
        local.client().start(start).await?;
        self.send_signals(local.client(), progress.run()).await?;
        let drive = Drive { client: local.client(), global, home: Home::Here, deadline };
        let left = drive.to_the_end(progress, self.quiet, &mut interrupts).await?;
        // What is not over was left in a hurry: agents and their programs are ended, not drained.
        if let Left::Ended(_) = left {
            tokio::select! { biased;
                _ = interrupts.next() => {}
                () = local.stop() => {}
            }
        }
        Ok(left.exit())
    }

    fn missing<'a>(
        &'a self,
        needed: &'a BTreeSet<String>,
        offered: &'a BTreeSet<String>,
        workflows: &'a [&'a Workflow],
        home: Home,
    ) -> Missing<'a> {
        let wait = match (self.detach, self.timeout) {
            (true, _) => Wait::Detached,
            (false, Some(_)) => Wait::Bounded,
            (false, None) => Wait::Forever,
        };
        Missing { needed, offered, workflows, home, agents: &self.agents, wait }
    }

    /// Says what else may have been meant by a file that is not there.
    fn hint(&self, error: Error) -> Error {
        if error.exit() != Exit::NotFound || !is_name(&self.target) {
            return error;
        }
        error
            .help("give the definition file, such as hello.skep.yaml")
            .help("registered workflows are run by name on a cluster: name one with --nats URL")
    }

    /// Refuses signals that no step can take.
    fn check_signals(&self, awaited: &Awaited) -> Result<(), Error> {
        let name = |signal: &str| signal.split('=').next().unwrap_or_default().to_owned();
        self.signals.iter().try_for_each(|signal| awaited.check(&name(signal), None))
    }

    /// Warns of signals that no step can take, of a run whose definition the cluster has.
    async fn warn_of_signals(&self, client: &Client<Nats>, run: RunId) -> Result<(), Error> {
        if let Some(detail) = client.run(run).await?
            && let Some(awaited) = Awaited::by_digest(client, detail.summary.digest).await
            && let Err(error) = self.check_signals(&awaited)
        {
            output::warn(error);
        }
        Ok(())
    }

    /// Sends the signals that were given in advance; each counts once, however often it is sent. A
    /// run that is over by then did without the rest.
    async fn send_signals<B: Broker>(&self, client: &Client<B>, run: RunId) -> Result<(), Error> {
        for (number, signal) in self.signals.iter().enumerate() {
            let (name, payload) = match signal.split_once('=') {
                Some((name, payload)) => (name, change::payload(Some(payload), &[], SIGNAL)?),
                None => (signal.as_str(), serde_json::Value::Null),
            };
            let id = SignalId::new(&format!("at-start-{number}")).expect("letters of an id");
            let (name, payload) = (name.to_owned(), payload.into());
            let command = Command::Signal(Signal { run, name, id, payload });
            match client.change(run, command).await {
                Err(error) if error.exit() == Exit::Conflict => {
                    output::warn(error);
                    return Ok(());
                }
                sent => sent?,
            };
        }
        Ok(())
    }

    /// Runs it on a cluster.
    async fn there(
        self,
        workflow: Option<Workflow>,
        start: StartRun,
        global: &Global,
    ) -> Result<Exit, Error> {
        let deadline = self.deadline();
        let needed = workflow.as_ref().map(|workflow| {
            workflow.capabilities().iter().map(ToString::to_string).collect::<BTreeSet<_>>()
        });
        let named = match self.agents.is_empty() {
            true => self.allowed.asked_for(needed.as_ref()),
            false => self.agents.clone(),
        };
        let agents = self.allowed.build(&named, &BTreeSet::new())?;
        if self.detach && !agents.is_empty() {
            let message = "--detach leaves at once, and agents of this process with it";
            return Err(Error::usage(message)
                .help("start agents that stay: skep agent exec --agent NAME=PROGRAM"));
        }
        let client = cluster::client(&global.cluster).await.map_err(|error| {
            let alone = error.exit() == Exit::Unreachable && !self.detach;
            if alone { error.help("or run it in this process: --embedded") } else { error }
        })?;
        let mut interrupts = Interrupts::listen()?;
        let agents = Running::start(agents, client.broker());
        if let (Some(needed), Some(workflow)) = (&needed, &workflow) {
            self.joined(&client, &agents, needed, workflow).await;
        }
        let drive = Drive { client: &client, global, home: Home::Cluster, deadline };
        let exit = self.on(drive, workflow, start, &mut interrupts).await;
        tokio::select! { biased;
            () = agents.stop(LEAVE_WITHIN) => {}
            _ = interrupts.next() => {}
        }
        exit
    }

    /// Says which agents joined the cluster for the run, and which it needs and does not have.
    async fn joined(
        &self,
        client: &Client<Nats>,
        agents: &Running,
        needed: &BTreeSet<String>,
        workflow: &Workflow,
    ) {
        let mut offered = agents.capabilities().clone();
        if !offered.is_empty() {
            let names = offered.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            output::note(format!("agents of this process offer {names} while the run goes on"));
        }
        // Who else is there is of interest, not of importance.
        if let Ok(live) = client.agents().await {
            let live = live.into_iter().flat_map(|agent| agent.offers);
            offered.extend(live.map(|offer| offer.capability));
            self.missing(needed, &offered, &[workflow], Home::Cluster).tell();
        }
    }

    async fn on(
        &self,
        drive: Drive<'_, Nats>,
        workflow: Option<Workflow>,
        start: StartRun,
        interrupts: &mut Interrupts,
    ) -> Result<Exit, Error> {
        let (run, client) = (start.run, drive.client);
        let mut progress = Progress::new(run);
        let start = match &workflow {
            Some(workflow) => {
                progress = progress.with_workflow(workflow);
                named(client, workflow, &self.target, start).await?
            }
            None => start,
        };
        let hurried = client.clone().hurried(self.timeout);
        let existed = hurried.start(start).await? == Existed::Before;
        if workflow.is_none() && !self.signals.is_empty() {
            self.warn_of_signals(client, run).await?;
        }
        self.send_signals(client, run).await?;
        if self.detach {
            match drive.global.output {
                Format::Text => output::data(run),
                Format::Json => output::json(&json!({ "run": run, "existing": existed })),
            }
            return Ok(Exit::Ok);
        }
        let word = if existed { "run (it existed)" } else { "run" };
        output::note(format!("{word} {}", paint(BOLD, run)));
        Ok(drive.to_the_end(progress, self.quiet, interrupts).await?.exit())
    }
}

/// Registers the definition and starts from its digest, so that it is this one that runs.
async fn named<B: Broker>(
    client: &Client<B>,
    workflow: &Workflow,
    file: &str,
    start: StartRun,
) -> Result<StartRun, Error> {
    let digest = register(client, workflow, file, false).await?;
    Ok(StartRun { workflow: digest, ..start })
}

async fn register<B: Broker>(
    client: &Client<B>,
    workflow: &Workflow,
    file: &str,
    publish: bool,
) -> Result<String, Error> {
    let (source, file) = (workflow.source().to_owned(), file.to_owned());
    let kept = client.register(RegisterWorkflow { source, file, publish }).await?;
    Ok(kept.digest.to_string())
}

/// Reads labels as they are written on the command line.
pub(crate) fn labels(pairs: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let split = |pair: &String| {
        let pair = pair.split_once('=');
        let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Error::usage("a label looks like --label team=search"))
    };
    pairs.iter().map(split).collect()
}

/// Tells a name of a registered workflow from a file.
fn is_name(target: &str) -> bool {
    let file = target == "-" || target.contains(['/', '\\']) || Path::new(target).exists();
    let ending = [".yaml", ".yml", ".json"].iter().any(|ending| target.ends_with(ending));
    !file && !ending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_told_apart() {
        assert!(is_name("review-pr") && is_name("review-pr@2"));
        for file in ["-", "review.skep.yaml", "./review", "a/b", "x.json", "Cargo.toml"] {
            assert!(!is_name(file), "{file}");
        }
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(labels(&["a=b=c".to_owned()]).unwrap()["a"], "b=c");
        assert!(labels(&["a".to_owned()]).is_err());
    }
}
