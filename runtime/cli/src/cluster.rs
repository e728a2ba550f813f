//! A cluster over NATS: where it is, how to sign in, and a client of its coordinators.

use std::time::Duration;

use skep_coordinator::SettingsError;
use skep_nats::{ConnectError, ConnectOptions, ContextError, Credentials, LayoutError, Nats};
use skep_protocol::PartitionCount;
use tokio::time::Instant;

use crate::cli::Cluster;
use crate::client::Client;
use crate::error::{Error, Exit, chain};
use crate::inputs::unreadable;
use crate::runtime;

/// How often it is looked whether there is a connection.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Puts together what options, environment and contexts say.
fn options(cluster: &Cluster) -> Result<ConnectOptions, Error> {
    let mut options = match cluster.context_name() {
        Some(name) => ConnectOptions::context(Some(name))?,
        None => ConnectOptions::default(),
    };
    if let Some(url) = cluster.url() {
        options.servers = ConnectOptions::url(url).servers;
    }
    if let Some(creds) = &cluster.creds {
        // What is not there is told as of every other file.
        std::fs::File::open(creds).map_err(|error| unreadable(&creds.to_string_lossy(), &error))?;
        options.credentials = Credentials::File(creds.clone());
    }
    options.replicas = cluster.replicas;
    Ok(options)
}

/// Returns the addresses that are tried, without secrets, for people.
pub(crate) fn address(cluster: &Cluster) -> Result<String, Error> {
    let shown = |server: &String| match (server.find("://"), server.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}{}", &server[..scheme + 3], &server[at + 1..])
        }
        _ => server.clone(),
    };
    Ok(options(cluster)?.servers.iter().map(shown).collect::<Vec<_>>().join(","))
}

/// Connects to the NATS of a cluster.
pub(crate) async fn connect(cluster: &Cluster) -> Result<Nats, Error> {
    Ok(Nats::connect(options(cluster)?).await?)
}

/// Connects, and finds out how to reach the coordinators.
pub(crate) async fn client(cluster: &Cluster) -> Result<Client<Nats>, Error> {
    let nats = connect(cluster).await?;
    match partitions(&nats).await? {
        Some(partitions) => Ok(Client::new(nats, partitions)),
        None => Err(never_started(cluster)?),
    }
}

/// Returns how many partitions the cluster has; none before its first coordinator was started.
pub(crate) async fn partitions(nats: &Nats) -> Result<Option<PartitionCount>, Error> {
    match skep_coordinator::partitions(nats).await {
        Ok(partitions) => Ok(partitions),
        // The first coordinator makes the streams, the registry among them.
        Err(error) if chain(&error).contains("stream not found") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits until there was no connection for so long.
pub(crate) async fn away(nats: &Nats, bound: Duration) {
    let mut connected = Instant::now();
    while connected.elapsed() < bound {
        if nats.has_connection() {
            connected = Instant::now();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn never_started(cluster: &Cluster) -> Result<Error, Error> {
    let message =
        format!("no coordinator was ever started on the NATS server at {}", address(cluster)?);
    let error = Error::new(Exit::Unreachable, message);
    Ok(error.help("start one: skep serve (or, to try things out, skep dev)"))
}

/// Asks the coordinators of a cluster something.
pub(crate) fn ask(
    cluster: &Cluster,
    ask: impl AsyncFnOnce(Client<Nats>) -> Result<Exit, Error>,
) -> Result<Exit, Error> {
    runtime::small()?.block_on(async { ask(client(cluster).await?).await })
}

impl From<ContextError> for Error {
    fn from(error: ContextError) -> Self {
        let absent =
            matches!(error, ContextError::Unreadable { .. } | ContextError::NoneSelected { .. });
        let exit = if absent { Exit::NotFound } else { Exit::Usage };
        Self::new(exit, chain(&error))
            .help("see the contexts there are: nats context ls; or give an address: --nats URL")
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        let ours = matches!(error, ConnectError::Address { .. } | ConnectError::Credentials { .. });
        let exit = if ours { Exit::Usage } else { Exit::Unreachable };
        let text = chain(&error);
        // The first line says what happened, the others what to do.
        let mut lines = text.lines();
        let this = Self::new(exit, lines.next().unwrap_or_default());
        let this = lines.fold(this, |this, line| this.help(line.trim()));
        if matches!(error, ConnectError::Unreachable { .. }) {
            return this.help("to try things out, `skep dev` starts a server and a coordinator");
        }
        this
    }
}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::new(Exit::Unreachable, chain(&error)).help("look at the streams: skep doctor")
    }
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        Self::new(Exit::Unreachable, chain(&error))
    }
}
