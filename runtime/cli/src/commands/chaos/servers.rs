//! The nats-servers of an own cluster, on the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use skep_nats::server::{Options, ThrowawayServer};

use super::process::failed;
use crate::error::{Error, Exit, chain};

/// Starts so many; more than one form a cluster.
pub(super) async fn start(count: usize) -> Result<Vec<ThrowawayServer>, Error> {
    let failed = |error: std::io::Error| failed("find a free port", &error);
    // All are held until each is known, so that no two are the same.
    let free = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let free: Vec<TcpListener> = free.collect::<Result<_, _>>().map_err(failed)?;
    let ports = free.iter().map(|one| Ok(one.local_addr()?.port()));
    let ports: Vec<u16> = ports.collect::<std::io::Result<_>>().map_err(failed)?;
    drop(free);
    let mut servers = Vec::new();
    for port in &ports {
        let more = if count > 1 { routes(*port, &ports) } else { String::new() };
        let server = ThrowawayServer::start(Options { more, ..Options::default() }).await;
        servers.push(server.map_err(|error| Error::new(Exit::Unreachable, chain(&error)))?);
    }
    Ok(servers)
}

/// Clients are not told of the other servers: each reaches them by its own proxies.
fn routes(port: u16, all: &[u16]) -> String {
    let routes: Vec<String> = all.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let routes = routes.join(", ");
    format!(
        "cluster {{ name: skep-chaos, listen: \"127.0.0.1:{port}\", routes: [{routes}], \
         no_advertise: true }}\n"
    )
}

/// Returns where a server listens.
pub(super) fn address(server: &ThrowawayServer) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()))
}
