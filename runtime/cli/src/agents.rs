//! Agents inside this process: the ready-made ones, and the user's own programs.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use skep_agent::{Agent, RunError};
use skep_agents::Stock;
use skep_agents::corpus::CorpusConfig;
use skep_agents::exec::{Commands, ExecConfig};
use skep_agents::http::{AddressPolicy, HttpConfig, Network};
use skep_broker::AgentBroker;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::Cluster;
use crate::cluster;
use crate::error::{Error, Exit, chain};
use crate::output;
use crate::programs::{self, Program};
use crate::signals::Interrupts;

/// A ready-made agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum ReadyMade {
    /// Runs allowed programs: `--allow-command`.
    Exec,
    /// Makes HTTP requests to public addresses: `--allow-address` adds others.
    Http,
    /// Indexes text files below `--root` and answers questions from them.
    Corpus,
    /// None of them.
    None,
}

impl ReadyMade {
    const ALL: [Self; 3] = [Self::Exec, Self::Http, Self::Corpus];

    /// Returns the one that offers a capability.
    pub(crate) fn of(capability: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.offers(capability))
    }

    /// Tells whether the agent offers a capability.
    fn offers(self, capability: &str) -> bool {
        match self {
            Self::Exec => capability == "exec",
            Self::Http => capability == "http",
            Self::Corpus => capability.starts_with("corpus-"),
            Self::None => false,
        }
    }

    /// Says how it is started.
    const fn how(self) -> &'static str {
        match self {
            Self::Exec => "--agents exec, or: skep agent exec",
            Self::Http => "--agents http, or: skep agent http",
            Self::Corpus => "--agents corpus, or: skep agent corpus",
            Self::None => "--agents",
        }
    }
}

impl fmt::Display for ReadyMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exec => "exec",
            Self::Http => "http",
            Self::Corpus => "corpus",
            Self::None => "none",
        })
    }
}

/// What ready-made agents may do.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Agents in this process")]
pub(crate) struct AgentArgs {
    /// Serve a capability with a program of yours: for each task it is started once, gets the
    /// step's `with` as JSON on stdin, and answers with JSON on stdout. PROGRAM is split at spaces;
    /// quotes, ' or ", hold words together; there is no shell. A JSON array of strings is taken
    /// word by word.
    #[arg(long = "agent", value_name = "NAME=PROGRAM")]
    pub(crate) programs: Vec<Program>,
    /// A program that steps with `agent: exec` may run: a name in PATH, or an absolute path.
    #[arg(long = "allow-command", value_name = "NAME")]
    pub(crate) commands: Vec<String>,
    /// Addresses that steps with `agent: http` may reach although they are not public.
    #[arg(long = "allow-address", value_name = "NETWORK")]
    pub(crate) addresses: Vec<Network>,
    /// Where programs run, yours too (of several folders, in the first), and files are read; the
    /// current folder if not given.
    #[arg(long = "root", value_name = "DIR")]
    pub(crate) roots: Vec<PathBuf>,
    /// Where reports are written; .skep/reports if not given.
    #[arg(long, value_name = "DIR")]
    pub(crate) reports: Option<PathBuf>,
    /// How many tasks each agent performs at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) slots: Option<u32>,
}

impl AgentArgs {
    /// Builds the programs, and those ready-made agents that were asked for; if none was named,
    /// those that offer one of the `needed` capabilities.
    pub(crate) fn build(
        &self,
        named: &[ReadyMade],
        needed: &BTreeSet<String>,
    ) -> Result<Vec<Agent>, Error> {
        let mut own = BTreeSet::new();
        for name in self.programs.iter().map(Program::capability) {
            if !own.insert(name) {
                return Err(Error::usage(format!("--agent {name}=… is given twice"))
                    .help("one program serves a capability; --slots N runs more of it at a time"));
            }
        }
        self.check_roots()?;
        if let Some((option, one)) = self.unused(named) {
            let message = format!("{option} is for the agent `{one}`, which is not started here");
            return Err(Error::usage(message)
                .help(format!("leave it away, or start that agent: {}", one.how())));
        }
        let root = self.roots.first().map(PathBuf::as_path);
        let mut agents = programs::agents(&self.programs, self.slots, root)?;
        let wanted = |one: &ReadyMade| match named {
            [] => needed.iter().any(|name| one.offers(name) && !own.contains(name.as_str())),
            named => named.contains(one),
        };
        let wanted: Vec<ReadyMade> = ReadyMade::ALL.into_iter().filter(wanted).collect();
        agents.extend(self.stock(&wanted)?.agents().map_err(|error| failed(&error))?);
        Ok(agents)
    }

    /// In a folder that is not there each task would fail.
    fn check_roots(&self) -> Result<(), Error> {
        for root in &self.roots {
            let told =
                |problem: &str| Error::usage(format!("--root {}: {problem}", root.display()));
            match root.metadata() {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(told("that is no folder")),
                Err(error) => return Err(told(&error.to_string())),
            }
        }
        Ok(())
    }

    /// Returns an option that says nothing to the agents that were named, and whom it is for.
    fn unused(&self, named: &[ReadyMade]) -> Option<(&'static str, ReadyMade)> {
        let (is_given, none) = (|one| named.contains(&one), named.is_empty());
        let rooted = !self.programs.is_empty() || is_given(ReadyMade::Exec);
        let unused = |option, given: bool, one: ReadyMade| {
            (given && !none && !is_given(one)).then_some((option, one))
        };
        unused("--allow-command", !self.commands.is_empty(), ReadyMade::Exec)
            .or_else(|| unused("--allow-address", !self.addresses.is_empty(), ReadyMade::Http))
            .or_else(|| unused("--reports", self.reports.is_some(), ReadyMade::Corpus))
            .or_else(|| unused("--root", !self.roots.is_empty() && !rooted, ReadyMade::Corpus))
    }

    /// Returns the ready-made agents that options were given for. `needed` is what the definition
    /// needs, if it is known: `--root` alone says little.
    pub(crate) fn asked_for(&self, needed: Option<&BTreeSet<String>>) -> Vec<ReadyMade> {
        let is_asked_for = |one: &ReadyMade| match one {
            ReadyMade::Exec => !self.commands.is_empty(),
            ReadyMade::Http => !self.addresses.is_empty(),
            ReadyMade::Corpus => {
                // Programs run in a root, too.
                let only_reads = self.programs.is_empty() && self.commands.is_empty();
                let needs = |needed: &BTreeSet<String>| needed.iter().any(|name| one.offers(name));
                let rooted = !self.roots.is_empty() && needed.map_or(only_reads, needs);
                rooted || (self.reports.is_some() && needed.is_none_or(needs))
            }
            ReadyMade::None => false,
        };
        ReadyMade::ALL.into_iter().filter(is_asked_for).collect()
    }

    fn stock(&self, wanted: &[ReadyMade]) -> Result<Stock, Error> {
        let mut stock = Stock::default();
        let root = self.roots.first().cloned().unwrap_or_else(|| PathBuf::from("."));
        if wanted.contains(&ReadyMade::Exec) {
            let path = std::env::var_os("PATH");
            let commands =
                Commands::resolve(self.commands.iter().map(String::as_str), path.as_deref());
            let commands = commands.map_err(|error| Error::usage(chain(&error)))?;
            let mut config = ExecConfig::new(commands, root.clone());
            config.slots = self.slots.unwrap_or(config.slots);
            stock.exec = Some(config);
        }
        if wanted.contains(&ReadyMade::Http) {
            let addresses = AddressPolicy { allowed: self.addresses.clone() };
            let mut config = HttpConfig { addresses, ..HttpConfig::default() };
            config.slots = self.slots.unwrap_or(config.slots);
            stock.http = Some(config);
        }
        if wanted.contains(&ReadyMade::Corpus) {
            let reports = self.reports.clone().unwrap_or_else(|| ".skep/reports".into());
            let mut config = CorpusConfig::new(root, ".skep/corpus", reports);
            if !self.roots.is_empty() {
                config.roots.clone_from(&self.roots);
            }
            config.slots = self.slots.unwrap_or(config.slots);
            stock.corpus = Some(config);
        }
        Ok(stock)
    }
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::new(Exit::Usage, chain(error))
}

/// Agents that are running in this process. Dropping it ends them at once.
#[derive(Debug)]
pub(crate) struct Running {
    tasks: JoinSet<Result<(), RunError>>,
    stop: CancellationToken,
    capabilities: BTreeSet<String>,
}

impl Running {
    /// Starts agents on a broker.
    pub(crate) fn start<B: AgentBroker>(agents: Vec<Agent>, broker: &B) -> Self {
        let stop = CancellationToken::new();
        let names = agents.iter().flat_map(|agent| agent.capabilities().map(str::to_owned));
        let capabilities = names.collect();
        let mut tasks = JoinSet::new();
        for agent in agents {
            let (broker, stop) = (broker.clone(), stop.clone());
            tasks.spawn(async move { agent.run_until(&broker, stop.cancelled()).await });
        }
        Self { tasks, stop, capabilities }
    }

    /// Lets agents perform what a cluster has for them until a signal comes, and then for a while.
    pub(crate) async fn until_told(
        agents: Vec<Agent>,
        cluster: &Cluster,
        leave_within: Duration,
    ) -> Result<Exit, Error> {
        let mut interrupts = Interrupts::listen()?;
        let nats = cluster::connect(cluster).await?;
        let mut running = Self::start(agents, &nats);
        tokio::select! { biased;
            _ = interrupts.next() => {}
            error = running.ended() => return error.map_or(Ok(Exit::Ok), Err),
        }
        running.stop(leave_within).await;
        Ok(Exit::Ok)
    }

    /// Returns what they offer.
    pub(crate) const fn capabilities(&self) -> &BTreeSet<String> {
        &self.capabilities
    }

    /// Lets them finish what they hold and waits until they have left, at most so long.
    pub(crate) async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        let ended = tokio::time::timeout(within, async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => output::warn(error),
                    Err(error) => output::warn(format!("an agent ended badly: {error}")),
                }
            }
        });
        if ended.await.is_err() {
            output::warn("agents were ended before they had finished");
        }
    }

    /// Waits until one of them ends by itself; for ever if there is none.
    pub(crate) async fn ended(&mut self) -> Option<Error> {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(Ok(()))) => None,
            Some(Ok(Err(error))) => Some(Error::new(Exit::Failed, chain(&error))),
            Some(Err(error)) => Some(Error::new(Exit::Failed, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn options_ask_for_the_agents_they_are_for() {
        let asked = |args: AgentArgs, needed: Option<&[&str]>| {
            let needed = needed.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            args.asked_for(needed.as_ref())
        };
        let commands = || AgentArgs { commands: vec!["ls".to_owned()], ..AgentArgs::default() };
        let roots = || AgentArgs { roots: vec![PathBuf::from(".")], ..AgentArgs::default() };
        assert_eq!(asked(AgentArgs::default(), None), []);
        assert_eq!(asked(commands(), Some(&["x"])), [ReadyMade::Exec]);
        assert_eq!(asked(roots(), None), [ReadyMade::Corpus]);
        assert_eq!(asked(roots(), Some(&["exec"])), []);
        assert_eq!(asked(roots(), Some(&["corpus-search"])), [ReadyMade::Corpus]);
        let program = AgentArgs { programs: vec!["x=cat".parse().unwrap()], ..roots() };
        assert_eq!(asked(program, None), []);
    }

    #[test]
    fn options_that_would_say_nothing_are_refused() {
        let told = |args: AgentArgs, named: &[ReadyMade]| match args.build(named, &BTreeSet::new())
        {
            Ok(agents) => format!("{} agents", agents.len()),
            Err(error) => format!("{}: {error}", error.exit().number()),
        };
        let command = || AgentArgs { commands: vec!["true".to_owned()], ..AgentArgs::default() };
        let roots =
            |root: &str| AgentArgs { roots: vec![PathBuf::from(root)], ..AgentArgs::default() };
        expect!["1 agents"].assert_eq(&told(command(), &[ReadyMade::Exec]));
        expect!["2: --allow-command is for the agent `exec`, which is not started here"]
            .assert_eq(&told(command(), &[ReadyMade::Http]));
        let addresses = vec!["10.0.0.0/8".parse().unwrap()];
        let address = AgentArgs { addresses, ..AgentArgs::default() };
        expect!["2: --allow-address is for the agent `http`, which is not started here"]
            .assert_eq(&told(address, &[ReadyMade::Corpus]));
        expect!["2: --root is for the agent `corpus`, which is not started here"]
            .assert_eq(&told(roots("."), &[ReadyMade::Http]));
        let program = AgentArgs { programs: vec!["x=cat".parse().unwrap()], ..roots(".") };
        expect!["1 agents"].assert_eq(&told(program, &[ReadyMade::None]));
        let nowhere = AgentArgs { commands: vec!["true".to_owned()], ..roots("/nowhere") };
        expect!["2: --root /nowhere: No such file or directory (os error 2)"]
            .assert_eq(&told(nowhere, &[ReadyMade::Exec]));
    }

    #[test]
    fn a_capability_is_served_by_one_program() {
        let programs = ["x=true", "x=false"].map(|text| text.parse().unwrap()).to_vec();
        let args = AgentArgs { programs, ..AgentArgs::default() };
        let error = args.build(&[], &BTreeSet::new()).unwrap_err();
        assert_eq!(error.to_string(), "--agent x=… is given twice");
    }
}
