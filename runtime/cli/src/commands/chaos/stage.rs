//! The processes that faults happen to.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use rustix::process::Signal;
use skep_nats::server::ThrowawayServer;

use super::others::Other;
use super::proxy::Link;
use super::schedule::{Cast, Fault, Target, Weather};
use crate::error::{Error, Exit, chain};
use crate::process::{Process, failed, signal};

/// A process, and its connections.
struct Player {
    name: String,
    process: Process,
    link: Link,
}

/// All of them.
pub(super) struct Stage {
    servers: Vec<ThrowawayServer>,
    coordinators: Vec<Player>,
    agents: Vec<Player>,
    others: Vec<Other>,
}

impl Stage {
    /// Starts processes that reach NATS at these addresses, each by its own proxies.
    pub(super) async fn start(
        (cast, servers): (Cast, Vec<ThrowawayServer>),
        addresses: &[SocketAddr],
        others: Vec<Other>,
        folder: &Path,
    ) -> Result<Self, Error> {
        let replicas = servers.len().max(1).to_string();
        let mut stage = Self { servers, coordinators: vec![], agents: vec![], others };
        for number in 1..=cast.coordinators {
            let name = format!("coordinator-{number}");
            let data = folder.join(&name).display().to_string();
            let arguments = ["serve", "--name", &name, "--data", &data];
            let environment = vec![("SKEP_REPLICAS", replicas.clone())];
            let player = player(&name, &arguments, environment, (addresses, folder)).await?;
            stage.coordinators.push(player);
        }
        for number in 1..=cast.agents {
            let name = format!("agent-{number}");
            let at = folder.display().to_string();
            let mut arguments = vec!["chaos", "worker", "--name", &name, "--folder", &at];
            // Some of them pull their tasks.
            if number % 3 == 0 {
                arguments.push("--queue");
            }
            let player = player(&name, &arguments, vec![], (addresses, folder)).await?;
            stage.agents.push(player);
        }
        Ok(stage)
    }

    fn player(&mut self, target: Target) -> Option<&mut Player> {
        match target {
            Target::Coordinator(at) => self.coordinators.get_mut(at),
            Target::Agent(at) => self.agents.get_mut(at),
            Target::Server(_) | Target::Other(_) => None,
        }
    }

    fn signal(&mut self, target: Target, what: Signal) {
        let pid = match target {
            Target::Coordinator(_) | Target::Agent(_) => {
                self.player(target).and_then(|player| player.process.pid())
            }
            Target::Server(at) => self.servers.get(at).and_then(ThrowawayServer::pid),
            Target::Other(at) => self.others.get(at).and_then(Other::pid),
        };
        if let Some(pid) = pid {
            signal(pid, what);
        }
    }

    /// Lets a fault begin.
    pub(super) fn strike(&mut self, target: Target, fault: Fault) {
        match fault {
            Fault::Kill => match target {
                Target::Coordinator(_) | Target::Agent(_) => {
                    if let Some(player) = self.player(target) {
                        player.process.kill();
                    }
                }
                Target::Server(at) => {
                    if let Some(server) = self.servers.get_mut(at) {
                        server.kill().ok();
                    }
                }
                Target::Other(_) => self.signal(target, Signal::KILL),
            },
            Fault::Drain => {
                if let Some(player) = self.player(target) {
                    player.process.drain();
                }
            }
            Fault::Stop => self.signal(target, Signal::STOP),
            Fault::Link(weather) => {
                if let Some(player) = self.player(target) {
                    player.link.set(weather);
                }
            }
        }
    }

    /// Ends a fault. Whoever started the processes of others starts them again.
    pub(super) async fn relieve(&mut self, target: Target, fault: Fault) -> Result<(), Error> {
        match fault {
            Fault::Kill => match target {
                Target::Coordinator(_) | Target::Agent(_) => match self.player(target) {
                    Some(player) => player.process.start_again(),
                    None => Ok(()),
                },
                Target::Server(at) => match self.servers.get_mut(at) {
                    Some(server) => server
                        .restart()
                        .await
                        .map_err(|error| Error::new(Exit::Unreachable, chain(&error))),
                    None => Ok(()),
                },
                Target::Other(_) => Ok(()),
            },
            // It is started again as soon as it has ended.
            Fault::Drain => Ok(()),
            Fault::Stop => {
                self.signal(target, Signal::CONT);
                Ok(())
            }
            Fault::Link(_) => {
                if let Some(player) = self.player(target) {
                    player.link.set(Weather::Fair);
                }
                Ok(())
            }
        }
    }

    /// Starts again what ended by itself, and tells of it.
    pub(super) fn keep(&mut self) -> Result<Vec<String>, Error> {
        let mut told = Vec::new();
        for player in self.coordinators.iter_mut().chain(&mut self.agents) {
            if let Some(status) = player.process.keep()? {
                told.push(format!("{} ended by itself: {status}", player.name));
            }
        }
        Ok(told)
    }

    /// Ends what was started and performs or decides anything; the servers stay.
    pub(super) fn leave(&mut self) {
        self.agents.clear();
        self.coordinators.clear();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is stopped cannot be left behind so.
        for at in 0..self.others.len() {
            self.signal(Target::Other(at), Signal::CONT);
        }
    }
}

/// Starts a process with a link of its own.
async fn player(
    name: &str,
    arguments: &[&str],
    environment: Vec<(&'static str, String)>,
    (addresses, folder): (&[SocketAddr], &Path),
) -> Result<Player, Error> {
    let link = Link::open(addresses).await.map_err(|error| failed("open a proxy", &error))?;
    let mut arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    arguments.extend(["--nats".to_owned(), link.url().to_owned()]);
    let log = Some(folder.join(format!("{name}.log")));
    let process = Process::start(arguments, environment, log)?;
    Ok(Player { name: name.to_owned(), process, link })
}

/// Returns where the servers listen.
pub(super) fn addresses(servers: &[ThrowawayServer]) -> Vec<SocketAddr> {
    let address = |one: &ThrowawayServer| SocketAddr::from((Ipv4Addr::LOCALHOST, one.port()));
    servers.iter().map(address).collect()
}
