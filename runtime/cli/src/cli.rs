//! The command line as a whole.

use clap::{ArgAction, Args, Parser};

use crate::commands::Command;
use crate::output::{Colour, Format};

/// skep runs swarms of agents: it reads workflows from definition files, gives their steps to
/// agents, and drives each run to its end.
#[derive(Debug, Parser)]
#[command(name = "skep", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Start here:  skep run examples/corpus/corpus.skep.yaml\n\
                        Exit codes:  0 ok, 1 run failed, 2 usage, 3 invalid definition,\n\
                        \x20            4 not found, 5 cannot reach, 6 conflict, 124 timeout,\n\
                        \x20            130 Ctrl-C, 143 SIGTERM (dev, serve, agent: 0)")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// How data is printed on stdout; everything else goes to stderr.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Colour,
    /// Tell what happens inside; twice for every decision. SKEP_LOG takes a filter.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

/// Where the cluster is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Cluster {
    /// The address of the cluster's NATS. Without it, `run` needs no cluster, and all other
    /// commands that need one look at nats://127.0.0.1:4222.
    #[arg(long, global = true, env = "SKEP_NATS_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) nats: Option<String>,
    /// A context of the `nats` command line tool: address and credentials.
    #[arg(long, global = true, env = "SKEP_CONTEXT", value_name = "NAME", hide_env_values = true)]
    pub(crate) context: Option<String>,
    /// A file with NATS credentials.
    #[arg(
        long,
        global = true,
        env = "SKEP_NATS_CREDS",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) creds: Option<std::path::PathBuf>,
    /// How many NATS servers keep each message, in streams that are made.
    #[arg(long, global = true, env = "SKEP_REPLICAS", value_name = "N", hide = true)]
    pub(crate) replicas: Option<usize>,
}

impl Cluster {
    /// Tells whether a cluster was named.
    pub(crate) fn is_named(&self) -> bool {
        self.url().is_some() || self.context_name().is_some()
    }

    /// Returns the address; a variable that is empty says nothing.
    pub(crate) fn url(&self) -> Option<&str> {
        self.nats.as_deref().filter(|url| !url.is_empty())
    }

    /// Returns the options by which another process finds the same cluster.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let url = self.url().map(|url| ["--nats".to_owned(), url.to_owned()]);
        let context = self.context_name().map(|name| ["--context".to_owned(), name.to_owned()]);
        let creds =
            self.creds.as_ref().map(|file| ["--creds".to_owned(), file.display().to_string()]);
        [url, context, creds].into_iter().flatten().flatten().collect()
    }

    /// Returns the name of the context, in the same way.
    pub(crate) fn context_name(&self) -> Option<&str> {
        self.context.as_deref().filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn an_empty_variable_names_no_cluster() {
        let cluster = |url: &str| Cluster { nats: Some(url.to_owned()), ..Cluster::default() };
        assert!(cluster("nats://localhost").is_named());
        assert!(!cluster("").is_named());
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
