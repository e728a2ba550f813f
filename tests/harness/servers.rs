//! A cluster of three nats-servers on the loopback interface.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, Result};
use skep_nats::server::{Options, ThrowawayServer};
use skep_nats::{ConnectOptions, Nats};
use skep_protocol::PartitionCount;

use crate::LOOK_EVERY;

/// How many servers there are.
const SERVERS: usize = 3;
/// How long the servers may take to find each other and to agree on a leader.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Starts three servers that form a cluster, and waits until streams with three replicas can be
/// made. Returns them, and the addresses of all for a client.
///
/// # Errors
/// One does not start, or they do not find each other.
///
/// # Cancel safety
/// Safe: what was started is killed.
pub async fn three_servers() -> Result<(Vec<ThrowawayServer>, String)> {
    // All are held until each is known, so that no two are the same.
    let free = (0..SERVERS).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let free: Vec<TcpListener> = free.collect::<Result<_, _>>()?;
    let ports: Vec<u16> =
        free.iter().map(|free| Ok(free.local_addr()?.port())).collect::<Result<_>>()?;
    drop(free);
    let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let starting = ports.iter().map(|port| {
        let routes = routes.join(", ");
        let more = format!(
            "cluster {{ name: skep-tests, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n"
        );
        ThrowawayServer::start(Options { more, ..Options::default() })
    });
    let mut servers = Vec::new();
    for server in starting {
        servers.push(server.await?);
    }
    let urls: Vec<String> = servers.iter().map(ThrowawayServer::url).collect();
    let url = urls.join(",");
    let ready = tokio::time::timeout(READY_WITHIN, ready(&url)).await;
    ready.context("the nats-servers do not form a cluster")?;
    Ok((servers, url))
}

/// Makes the streams; without a leader of the cluster that fails, and is tried again.
async fn ready(url: &str) {
    let options = || ConnectOptions { replicas: Some(SERVERS), ..ConnectOptions::url(url) };
    loop {
        if let Ok(nats) = Nats::connect(options()).await
            && nats.ensure_layout(PartitionCount::DEFAULT).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
