//! Several throwaway servers that form a cluster.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use skep_protocol::PartitionCount;

use super::throwaway::{Options, StartError, ThrowawayServer};
use crate::{ConnectOptions, Nats};

/// How long the servers may take to find each other and to agree on a leader.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two tries to make the streams.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts so many servers, of which more than one form a cluster, and waits until the streams can
/// be made, with a replica on each of them. Returns a connection to all.
///
/// Clients are not told of the other servers: whoever is to know all of them is given the addresses
/// of all.
///
/// # Errors
/// Every variant of [`StartError`].
///
/// # Cancel safety
/// Safe: what was started is killed.
pub async fn start_cluster(count: usize) -> Result<(Vec<ThrowawayServer>, Nats), StartError> {
    let ports = free_ports(count)?;
    let mut servers = Vec::new();
    for port in &ports {
        let more = if count > 1 { routes(*port, &ports) } else { String::new() };
        servers.push(ThrowawayServer::start(Options { more, ..Options::default() }).await?);
    }
    let within = READY_WITHIN;
    let ready = tokio::time::timeout(within, Box::pin(ready(&servers))).await;
    let nats = ready.map_err(|_| StartError::NoLeader { count, within })?;
    Ok((servers, nats))
}

fn free_ports(count: usize) -> Result<Vec<u16>, StartError> {
    let ports = || -> std::io::Result<Vec<u16>> {
        // All are held until each is known, so that no two are the same.
        let free = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let free: Vec<TcpListener> = free.collect::<std::io::Result<_>>()?;
        free.iter().map(|one| Ok(one.local_addr()?.port())).collect()
    };
    ports().map_err(|source| StartError::Ports { source })
}

fn routes(port: u16, all: &[u16]) -> String {
    let routes: Vec<String> = all.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let routes = routes.join(", ");
    format!(
        "cluster {{ name: skep, listen: \"127.0.0.1:{port}\", routes: [{routes}], \
         no_advertise: true }}\n"
    )
}

/// Makes the streams; without a leader of the cluster that fails, and is tried again.
async fn ready(servers: &[ThrowawayServer]) -> Nats {
    let urls: Vec<String> = servers.iter().map(ThrowawayServer::url).collect();
    let replicas = Some(servers.len());
    loop {
        let options = ConnectOptions { replicas, ..ConnectOptions::url(&urls.join(",")) };
        if let Ok(nats) = Nats::connect(options).await
            && nats.ensure_layout(PartitionCount::DEFAULT).await.is_ok()
        {
            return nats;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
