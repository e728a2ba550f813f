//! A cluster of three nats-servers on the loopback interface.

use anyhow::Result;
use skep_nats::server::{ThrowawayServer, start_cluster};

/// How many servers there are.
const SERVERS: usize = 3;

/// Starts three servers that form a cluster, and waits until streams with three replicas can be
/// made. Returns them, and the addresses of all for a client.
///
/// # Errors
/// One does not start, or they do not find each other.
///
/// # Cancel safety
/// Safe: what was started is killed.
pub async fn three_servers() -> Result<(Vec<ThrowawayServer>, String)> {
    let (servers, _) = start_cluster(SERVERS).await?;
    let urls: Vec<String> = servers.iter().map(ThrowawayServer::url).collect();
    Ok((servers, urls.join(",")))
}
