//! The processes of a simulation: started, killed, stopped, cut off.

use std::sync::Arc;
use std::time::Duration;

use skep_agent::{Agent, AgentId, Lane};
use skep_coordinator::{Config, Coordinator};
use skep_protocol::CoordinatorId;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::faults::Faults;
use crate::link::{Link, Process, Role};
use crate::network::{Client, Network, Weather};
use crate::watched::Serve;

/// How long a coordinator waits before it tries again to start.
const START_AGAIN: Duration = Duration::from_millis(300);

/// What a process does.
#[derive(Clone)]
enum Program {
    Coordinator(Config),
    Agent { serves: Arc<[Serve]>, lane: Lane },
}

/// One process, alive or not.
struct Running {
    name: String,
    program: Program,
    started: u32,
    link: Arc<Link>,
    task: Option<JoinHandle<()>>,
    drain: CancellationToken,
}

/// Every process.
pub(crate) struct World {
    network: Arc<Network>,
    running: Vec<Running>,
}

impl World {
    pub(crate) fn new(network: Arc<Network>) -> Self {
        Self { network, running: Vec::new() }
    }

    pub(crate) fn add_coordinator(&mut self, name: String, config: Config) {
        self.add(name, Role::Coordinator, Program::Coordinator(config));
    }

    pub(crate) fn add_agent(&mut self, name: String, serves: Arc<[Serve]>, lane: Lane) {
        self.add(name, Role::Agent, Program::Agent { serves, lane });
    }

    fn add(&mut self, name: String, role: Role, program: Program) {
        let link = Arc::new(Link::new(name.clone(), role));
        let (task, drain) = (None, CancellationToken::new());
        self.running.push(Running { name, program, started: 0, link, task, drain });
        self.start(self.running.len() - 1);
    }

    /// Returns the processes of a role.
    pub(crate) fn of(&self, role: Role) -> Vec<usize> {
        let all = 0..self.running.len();
        all.filter(|at| self.running[*at].link.role == role).collect()
    }

    pub(crate) fn link(&self, at: usize) -> &Link {
        &self.running[at].link
    }

    /// Starts a process anew.
    pub(crate) fn start(&mut self, at: usize) {
        let running = &mut self.running[at];
        if running.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        running.started += 1;
        let name = format!("{}-{}", running.name, running.started);
        self.network.witness.note(|| format!("{name} starts"));
        running.link = Arc::new(Link::new(name, running.link.role));
        running.drain = CancellationToken::new();
        let client = Client::new(&self.network, &running.link);
        let drain = running.drain.clone();
        let task = match running.program.clone() {
            Program::Coordinator(config) => {
                Process::new(&running.link, coordinate(client, config, drain))
            }
            Program::Agent { serves, lane } => {
                Process::new(&running.link, perform(client, serves, lane, drain))
            }
        };
        running.task = Some(tokio::spawn(task));
    }

    /// Kills a process, as `kill -9` does.
    pub(crate) fn kill(&mut self, at: usize) {
        let running = &mut self.running[at];
        self.network.witness.note(|| format!("{} is killed", running.link.name));
        running.link.die();
        if let Some(task) = running.task.take() {
            task.abort();
        }
    }

    /// Tells a process to leave.
    pub(crate) fn drain(&self, at: usize) {
        self.network.witness.note(|| format!("{} drains", self.running[at].link.name));
        self.running[at].drain.cancel();
    }

    /// Ends all trouble: everything runs and reaches the broker.
    pub(crate) fn heal(&mut self) {
        self.network.witness.note(|| "all is well from here on".to_owned());
        self.network.set_weather(Weather { faults: Faults::none(), trouble: 0 });
        self.network.set_full(false);
        for at in 0..self.running.len() {
            self.running[at].link.mend();
            self.running[at].link.go_on();
        }
        self.revive();
    }

    /// Starts again what is not there; returns whether something is still about to leave.
    pub(crate) fn revive(&mut self) -> bool {
        for at in 0..self.running.len() {
            self.start(at);
        }
        self.running.iter().any(|running| running.drain.is_cancelled())
    }

    pub(crate) fn shared_network(&self) -> Arc<Network> {
        Arc::clone(&self.network)
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for at in 0..self.running.len() {
            self.running[at].link.die();
            if let Some(task) = &self.running[at].task {
                task.abort();
            }
        }
        self.network.close();
    }
}

async fn coordinate(client: Client, config: Config, drain: CancellationToken) {
    let id = CoordinatorId::new(&client.link.name).expect("names of processes are ids");
    let config = Config { coordinator: Some(id), ..config };
    loop {
        match Coordinator::start(client.clone(), config.clone()).await {
            Ok(mut handle) => {
                if drain.run_until_cancelled(handle.stopped()).await.is_none() {
                    handle.shutdown().await;
                }
                return;
            }
            Err(error) => client.network.witness.note(|| format!("cannot start: {error}")),
        }
        sleep(START_AGAIN).await;
    }
}

async fn perform(client: Client, serves: Arc<[Serve]>, lane: Lane, drain: CancellationToken) {
    let id = AgentId::new(&client.link.name).expect("names of processes are ids");
    let mut builder = Agent::builder("simulated").id(id).lane(lane);
    for serve in &*serves {
        builder = serve(builder, &client);
    }
    match builder.build() {
        // Whoever leaves with something unconfirmed has done what it could.
        Ok(agent) => drop(agent.run_until(&client, drain.cancelled()).await),
        Err(error) => client.network.witness.violated("I-20", error.to_string()),
    }
}
