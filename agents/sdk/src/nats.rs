//! Agents that join a cluster over NATS.

use std::env;

use skep_nats::{ConnectError, ConnectOptions, ContextError, Nats};
use tokio::sync::Notify;

use crate::agent::{Agent, RunError};
use crate::drain::terminated;

/// Environment variables that name the server, the first one that is set.
const URL_VARIABLES: [&str; 2] = ["SKEP_NATS_URL", "NATS_URL"];

/// Why an agent could not do its work in a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The selected context of the `nats` tool cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It left with something that nobody has confirmed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// An agent with a connection to a cluster.
#[derive(Debug, Clone)]
pub struct JoinedAgent {
    agent: Agent,
    nats: Nats,
}

/// Joins the cluster that the environment names and performs tasks until the process is asked to
/// end (SIGTERM, ctrl-c) or a coordinator tells the agent to drain.
///
/// The server is that of `SKEP_NATS_URL` or `NATS_URL`, else that of the selected context of the
/// `nats` tool, else `nats://127.0.0.1:4222`.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use skep_agent::{Agent, Failure};
///
/// let greet = |name: String| async move { Ok::<_, Failure>(format!("Hello, {name}!")) };
/// skep_agent::run(Agent::builder("greeter").serve("greet", greet).build()?).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Every variant of [`JoinError`].
///
/// # Cancel safety
/// As for [`Agent::run`].
pub async fn run(agent: Agent) -> Result<(), JoinError> {
    let joined = agent.connect_with(options_of_environment()?).await?;
    Ok(joined.run().await?)
}

impl Agent {
    /// Connects to the cluster at `url`: `nats://host:4222`, several separated by commas.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`].
    ///
    /// # Cancel safety
    /// Dropping it drops the connection.
    pub async fn connect(self, url: &str) -> Result<JoinedAgent, ConnectError> {
        self.connect_with(ConnectOptions::url(url)).await
    }

    /// Connects to a cluster that needs credentials, TLS or a namespace.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`].
    ///
    /// # Cancel safety
    /// Dropping it drops the connection.
    pub async fn connect_with(self, options: ConnectOptions) -> Result<JoinedAgent, ConnectError> {
        let options = ConnectOptions { name: format!("skep agent {}", self.name()), ..options };
        let nats = Nats::connect(options).await?;
        Ok(JoinedAgent { agent: self, nats })
    }
}

impl JoinedAgent {
    /// Performs tasks until the process is asked to end (SIGTERM, ctrl-c) or a coordinator tells
    /// the agent to drain. Asked a second time, it ends at once.
    ///
    /// # Errors
    /// Every variant of [`RunError`].
    ///
    /// # Cancel safety
    /// As for [`Agent::run`].
    pub async fn run(&self) -> Result<(), RunError> {
        let asked = Notify::new();
        let stop = async {
            terminated().await;
            asked.notify_one();
        };
        let asked_again = async {
            asked.notified().await;
            terminated().await;
        };
        tokio::select! {
            biased;
            result = self.agent.run_until(&self.nats, stop) => result,
            () = asked_again => Err(RunError::Interrupted { agent: self.agent.name().to_owned() }),
        }
    }

    /// Performs tasks until `stop` is ready or a coordinator tells the agent to drain.
    ///
    /// # Errors
    /// [`RunError`] if it left with something that nobody has confirmed.
    ///
    /// # Cancel safety
    /// As for [`Agent::run`].
    pub async fn run_until(&self, stop: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        self.agent.run_until(&self.nats, stop).await
    }
}

fn options_of_environment() -> Result<ConnectOptions, ContextError> {
    let url = URL_VARIABLES.into_iter().filter_map(|name| env::var(name).ok());
    if let Some(url) = url.into_iter().find(|url| !url.is_empty()) {
        return Ok(ConnectOptions::url(&url));
    }
    match ConnectOptions::context(None) {
        Err(ContextError::NoFolder | ContextError::NoneSelected { .. }) => {
            Ok(ConnectOptions::default())
        }
        selected => selected,
    }
}
