//! `skep agent`

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::agents::{AgentArgs, ReadyMade, Running};
use crate::cli::Global;
use crate::cluster;
use crate::error::{Error, Exit};
use crate::output;
use crate::runtime;
use crate::signals::Interrupts;

/// How long an agent that leaves may take, its handlers included.
const LEAVE_WITHIN: Duration = Duration::from_secs(60);

/// Join a cluster as an agent.
///
/// It stays until SIGTERM or Ctrl-C, then finishes what it holds and leaves.
#[derive(Debug, Args)]
pub(crate) struct AgentCommand {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Run programs: those of --allow-command for steps with `agent: exec`, those of --agent for
    /// capabilities of your own.
    Exec(AgentArgs),
    /// Make HTTP requests for steps with `agent: http`.
    Http(AgentArgs),
    /// Index text files and answer questions from them: the capabilities `corpus-…`.
    Corpus(AgentArgs),
}

impl AgentCommand {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let (kind, args) = match self.kind {
            Kind::Exec(args) if args.commands.is_empty() => (ReadyMade::None, args),
            Kind::Exec(args) => (ReadyMade::Exec, args),
            Kind::Http(args) => (ReadyMade::Http, args),
            Kind::Corpus(args) => (ReadyMade::Corpus, args),
        };
        let agents = args.build(&[kind], &BTreeSet::new())?;
        if agents.is_empty() {
            return Err(Error::usage("this agent would run nothing: no program is allowed")
                .help("serve a capability with a program of yours: --agent greet=./greet.py")
                .help("or allow programs for steps with `agent: exec`: --allow-command git"));
        }
        runtime::large()?.block_on(async {
            let mut interrupts = Interrupts::listen()?;
            let nats = cluster::connect(&global.cluster).await?;
            let mut running = Running::start(agents, &nats);
            let offers: Vec<&str> = running.capabilities().iter().map(String::as_str).collect();
            let address = cluster::address(&global.cluster)?;
            output::note(format!("offering {} at {address}", offers.join(", ")));
            tokio::select! { biased;
                _ = interrupts.next() => {}
                error = running.ended() => return error.map_or(Ok(Exit::Ok), Err),
            }
            output::note("finishing what is held (Ctrl-C again ends it at once)");
            tokio::select! { biased;
                () = running.stop(LEAVE_WITHIN) => Ok(Exit::Ok),
                interrupt = interrupts.next() => Ok(interrupt.exit()),
            }
        })
    }
}
