//! `skep dev`

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use skep_coordinator::{Config, Coordinator};
use skep_nats::server::{self, Options, StartError, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};

use crate::agents::{AgentArgs, ReadyMade, Running};
use crate::cli::Global;
use crate::error::{Error, Exit, chain};
use crate::output::{self, BOLD, DIM, Format, paint};
use crate::runtime;
use crate::signals::Interrupts;

/// The port that other commands look at if they are told nothing.
const USUAL_PORT: u16 = 4222;
/// How long agents in this process may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// Start a cluster for development: a nats-server and a coordinator, gone when it ends.
///
/// The nats-server is the one that SKEP_NATS_SERVER names, the one in PATH, or one that is fetched
/// once. Agents of other processes, in any language, can join.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The port of the nats-server; 4222 if it is free, any other if not.
    #[arg(long)]
    port: Option<u16>,
    /// Keep everything in this folder, and go on from there the next time.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The ready-made agents to start as well; without it, those that options are given for.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    agents: Vec<ReadyMade>,
    #[command(flatten)]
    allowed: AgentArgs,
}

impl Dev {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let named =
            if self.agents.is_empty() { self.allowed.asked_for(None) } else { self.agents.clone() };
        let agents = self.allowed.build(&named, &BTreeSet::new())?;
        runtime::large()?.block_on(async {
            let mut interrupts = Interrupts::listen()?;
            let found = server::find().await;
            let what = match &found {
                Ok(found) => format!("starting nats-server {} …", found.version),
                Err(_) => "fetching a nats-server, once …".to_owned(),
            };
            output::note(paint(DIM, what));
            let mut options = Options { port: self.port(), ..Options::default() };
            options.store_dir = self.data.as_ref().map(|folder| folder.join("nats"));
            let running = tokio::select! { biased;
                interrupt = interrupts.next() => return Ok(interrupt.exit()),
                server = ThrowawayServer::start(options) => {
                    server.map_err(|error| not_started(error, self.port))?
                }
            };
            let nats = Nats::connect(ConnectOptions::url(&running.url())).await?;
            let config = match &self.data {
                Some(folder) => Config::daemon(folder.join("read-model.sqlite")),
                None => Config::default(),
            };
            nats.ensure_layout(config.partitions).await?;
            let mut coordinator = Coordinator::start(nats.clone(), config).await?;
            coordinator.serving().await;
            let agents = Running::start(agents, &nats);
            greet(&running.url(), &agents, global);
            let exit = tokio::select! { biased;
                _ = interrupts.next() => Ok(Exit::Ok),
                () = coordinator.stopped() => {
                    Err(Error::new(Exit::Unreachable, "every partition of the cluster has stopped"))
                }
            };
            output::note("stopping");
            tokio::select! { biased;
                () = async {
                    agents.stop(LEAVE_WITHIN).await;
                    coordinator.shutdown().await;
                } => {}
                _ = interrupts.next() => {}
            }
            exit
        })
    }

    fn port(&self) -> u16 {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)).is_ok();
        self.port.unwrap_or_else(|| if free() { USUAL_PORT } else { 0 })
    }
}

/// Says where the cluster is and what to do next.
fn greet(url: &str, agents: &Running, global: &Global) {
    if global.output == Format::Json {
        output::json_line(&json!({ "url": url, "offers": agents.capabilities() }));
        return;
    }
    output::data(format!("skep is ready at {}", paint(BOLD, url)));
    let offers: Vec<&str> = agents.capabilities().iter().map(String::as_str).collect();
    if !offers.is_empty() {
        output::data(format!("agents here offer {}", offers.join(", ")));
    }
    output::data("");
    output::data("in another terminal:");
    output::data(format!("  export SKEP_NATS_URL={url}"));
    output::data("  skep agent exec --agent greet=./greet.py    # an agent of yours joins");
    output::data("  skep run hello.skep.yaml                    # a run starts here");
    output::data("  skep list                                   # and what became of it");
    output::data("");
    output::data("Ctrl-C stops everything");
}

fn not_started(error: StartError, port: Option<u16>) -> Error {
    let text = chain(&error);
    let mut lines = text.lines();
    let told = Error::new(Exit::Unreachable, lines.next().unwrap_or_default());
    let told = lines.fold(told, |told, line| told.help(line.trim()));
    match port {
        Some(port) if error.is_port_taken() => told
            .help("choose another --port, or leave it away: then a free one is found")
            .help(format!(
                "if a NATS server is there, use it: skep serve --nats nats://127.0.0.1:{port}"
            )),
        Some(_) | None => told,
    }
}
