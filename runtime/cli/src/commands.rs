//! One file for each command, and what several of them share.

mod agent;
mod agents;
mod apply;
mod bench;
mod breakers;
pub(crate) mod change;
mod chaos;
mod completions;
mod deadletters;
mod dev;
mod doctor;
mod gathered;
pub(crate) mod get;
mod graph;
pub(crate) mod history;
mod list;
mod retry;
pub(crate) mod run;
mod run_ref;
mod schema;
mod serve;
mod table;
mod validate;
mod why;

use clap::Subcommand;

use crate::cli::Global;
use crate::cluster::ask;
use crate::error::{Error, Exit};

/// What skep is asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<run::Run>),
    Validate(validate::Validate),
    Graph(graph::Graph),
    Dev(Box<dev::Dev>),
    Serve(serve::Serve),
    Agent(Box<agent::AgentCommand>),
    Apply(apply::Apply),
    List(list::List),
    Get(get::Get),
    Watch(history::Watch),
    Logs(history::Logs),
    History(history::History),
    Signal(change::SendSignal),
    Pause(change::Pause),
    Resume(change::Resume),
    Skip(change::Skip),
    Retry(retry::Retry),
    #[command(name = "deadletters")]
    DeadLetters(Box<deadletters::DeadLetters>),
    Why(why::Why),
    Cancel(change::Cancel),
    Agents(agents::Agents),
    Breakers(breakers::Breakers),
    Doctor(doctor::Doctor),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Bench(bench::Bench),
    Chaos(Box<chaos::Chaos>),
}

impl Command {
    /// Returns what is traced without `-v`: a daemon tells of its life, other commands of trouble.
    pub(crate) const fn quiet(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info,async_nats=warn",
            Self::Dev(_) | Self::Agent(_) => "warn",
            Self::Run(_)
            | Self::Validate(_)
            | Self::Graph(_)
            | Self::Apply(_)
            | Self::List(_)
            | Self::Get(_)
            | Self::Watch(_)
            | Self::Logs(_)
            | Self::History(_)
            | Self::Signal(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Skip(_)
            | Self::Retry(_)
            | Self::DeadLetters(_)
            | Self::Why(_)
            | Self::Cancel(_)
            | Self::Agents(_)
            | Self::Breakers(_)
            | Self::Doctor(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Bench(_)
            | Self::Chaos(_) => "error",
        }
    }
}

/// Performs a command to its end.
pub(crate) fn perform(command: Command, global: &Global) -> Result<Exit, Error> {
    let cluster = &global.cluster;
    match command {
        Command::Run(run) => run.perform(global),
        Command::Validate(validate) => validate.perform(global),
        Command::Graph(graph) => graph.perform(global),
        Command::Dev(dev) => dev.perform(global),
        Command::Serve(serve) => serve.perform(global),
        Command::Agent(agent) => agent.perform(global),
        Command::Apply(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::List(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Get(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Watch(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Logs(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::History(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Signal(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Pause(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Resume(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Why(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Skip(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Retry(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::DeadLetters(one) => {
            ask(cluster, async |client| one.perform(&client, global).await)
        }
        Command::Cancel(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Breakers(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Agents(one) => ask(cluster, async |client| one.perform(&client, global).await),
        Command::Doctor(doctor) => doctor.perform(global),
        Command::Schema(schema) => schema.perform(),
        Command::Completions(completions) => completions.perform(),
        Command::Bench(bench) => bench.perform(global),
        Command::Chaos(chaos) => chaos.perform(global),
    }
}
