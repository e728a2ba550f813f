//! One file for each command.

mod agents;
mod apply;
mod bench;
mod change;
mod completions;
mod get;
mod graph;
mod history;
mod list;
mod run_ref;
mod schema;
mod table;
mod validate;

use clap::Subcommand;

use crate::cli::Global;
use crate::error::{Error, Exit};

/// What skep is asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check definition files and report every problem at once.
    Validate(validate::Validate),
    /// Draw the steps of a definition and what they depend on.
    Graph(graph::Graph),
    /// Print the JSON Schema of definition files, for editors.
    Schema(schema::Schema),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
    /// Measure skep on this machine.
    Bench(bench::Bench),
}

impl Command {
    /// Returns what is traced without `-v`: a daemon tells of its life, other commands of trouble.
    pub(crate) const fn quiet(&self) -> &'static str {
        "error"
    }
}

/// Performs a command to its end.
pub(crate) fn perform(command: Command, global: &Global) -> Result<Exit, Error> {
    match command {
        Command::Validate(validate) => validate.perform(global),
        Command::Graph(graph) => graph.perform(global),
        Command::Schema(schema) => schema.perform(),
        Command::Completions(completions) => completions.perform(),
        Command::Bench(bench) => bench.perform(global),
    }
}
