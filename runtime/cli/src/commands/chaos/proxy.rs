//! A small proxy between one process and the servers of NATS: its connections can be cut, held
//! back in one direction or both, and slowed down. What is held back comes late, as over a network
//! that repeats what was lost; it is never dropped from the middle of a connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::schedule::Weather;

/// By how much everything is late when it is slow.
const LATE: Duration = Duration::from_millis(250);
/// What is read at a time.
const CHUNK: usize = 16 * 1024;

/// The connections of one process to all servers.
pub(super) struct Link {
    url: String,
    weather: watch::Sender<Weather>,
    _listeners: JoinSet<()>,
}

impl Link {
    /// Listens for a process that is to reach these servers.
    pub(super) async fn open(servers: &[SocketAddr]) -> io::Result<Self> {
        let weather = watch::Sender::new(Weather::Fair);
        let (mut urls, mut listeners) = (Vec::new(), JoinSet::new());
        for server in servers {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            urls.push(format!("nats://{}", listener.local_addr()?));
            listeners.spawn(listen(listener, *server, weather.clone()));
        }
        Ok(Self { url: urls.join(","), weather, _listeners: listeners })
    }

    /// Returns the addresses for the process.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Changes how its connections are, from here on.
    pub(super) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn listen(listener: TcpListener, server: SocketAddr, weather: watch::Sender<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! { biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if *weather.borrow() != Weather::Cut {
                    connections.spawn(carry(client, server, weather.subscribe()));
                }
            }
        }
    }
}

/// Carries one connection until one side ends it, or it is cut.
async fn carry(client: TcpStream, server: SocketAddr, weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((client_in, client_out), (server_in, server_out)) =
        (client.into_split(), server.into_split());
    let mut until_cut = weather.clone();
    let up = pump(client_in, server_out, (Weather::Mute, weather.clone()));
    let down = pump(server_in, client_out, (Weather::Deaf, weather));
    tokio::select! { biased;
        // The sender is there for as long as anybody listens.
        _ = until_cut.wait_for(|weather| *weather == Weather::Cut) => {}
        _ = up => {}
        _ = down => {}
    }
}

/// Carries one direction, which stands still while the weather is `held` or stalled.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (held, mut weather): (Weather, watch::Receiver<Weather>),
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        let passes = |weather: &Weather| *weather != held && *weather != Weather::Stalled;
        if weather.wait_for(passes).await.is_ok_and(|weather| *weather == Weather::Slow) {
            tokio::time::sleep(LATE).await;
        }
        to.write_all(&chunk[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says back what it hears.
    async fn echo() -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = client.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        (address, serving)
    }

    async fn connect(link: &Link) -> TcpStream {
        TcpStream::connect(link.url().trim_start_matches("nats://")).await.unwrap()
    }

    async fn said_back(client: &mut TcpStream) -> Option<u8> {
        client.write_all(b"x").await.ok()?;
        client.read_u8().await.ok()
    }

    #[tokio::test]
    async fn what_is_held_back_comes_later_and_what_is_cut_never() {
        let (server, _serving) = echo().await;
        let link = Link::open(&[server]).await.unwrap();
        let mut client = connect(&link).await;
        assert_eq!(said_back(&mut client).await, Some(b'x'));
        for weather in [Weather::Stalled, Weather::Mute, Weather::Deaf] {
            link.set(weather);
            client.write_all(b"y").await.unwrap();
            let mut answer = [0];
            let heard =
                tokio::time::timeout(Duration::from_millis(50), client.read(&mut answer)).await;
            assert!(heard.is_err(), "{weather:?}: {heard:?}");
            link.set(Weather::Fair);
            assert_eq!(client.read_u8().await.unwrap(), b'y', "{weather:?}");
        }
        link.set(Weather::Slow);
        assert_eq!(said_back(&mut client).await, Some(b'x'));
        link.set(Weather::Cut);
        assert_eq!(said_back(&mut client).await, None);
        assert_eq!(said_back(&mut connect(&link).await).await, None);
        link.set(Weather::Fair);
        assert_eq!(said_back(&mut connect(&link).await).await, Some(b'x'));
    }
}
