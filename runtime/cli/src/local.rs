//! skep without a server: broker, coordinator and agents inside this process, all in memory.

use std::time::Duration;

use skep_agent::Agent;
use skep_broker::Embedded;
use skep_coordinator::{Config, Coordinator, Handle, StartError};

use crate::agents::Running;
use crate::client::Client;
use crate::error::{Error, Exit, chain};

/// How long agents may take to leave once the run is over: they hold nothing then.
const LEAVE_WITHIN: Duration = Duration::from_secs(8);

/// A whole skep in one process.
#[derive(Debug)]
pub(crate) struct Local {
    client: Client<Embedded>,
    coordinator: Handle,
    agents: Running,
}

impl Local {
    /// Starts it with these agents.
    pub(crate) async fn start(agents: Vec<Agent>) -> Result<Self, Error> {
        let broker = Embedded::new();
        let agents = Running::start(agents, &broker);
        let coordinator = Coordinator::start(broker.clone(), Config::embedded()).await?;
        coordinator.serving().await;
        let client = Client::new(broker, coordinator.partitions());
        Ok(Self { client, coordinator, agents })
    }

    /// Returns a client of its coordinator.
    pub(crate) const fn client(&self) -> &Client<Embedded> {
        &self.client
    }

    /// Returns the agents.
    pub(crate) const fn agents(&self) -> &Running {
        &self.agents
    }

    /// Ends it; what the agents started is ended too.
    pub(crate) async fn stop(self) {
        self.agents.stop(LEAVE_WITHIN).await;
        self.coordinator.kill().await;
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::new(Exit::Unreachable, chain(&error))
    }
}
