//! A nats-server that lives as long as its handle.

mod running;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::find::{FindError, find_or_fetch};
use running::Running;

/// How long a server may take until it answers: recovering a large store takes seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two tries to connect to a server that is starting.
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// How often another port is tried when the chosen one was taken meanwhile.
const PORT_TRIES: usize = 5;

/// When the server forces what it acknowledged to the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncInterval {
    /// Every two minutes: survives the death of the process, not of the machine.
    #[default]
    Default,
    /// Before each acknowledgement: survives a power failure.
    Always,
    /// At this interval.
    Every(Duration),
}

/// How a throwaway server is to be.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where its streams, configuration and log lie; `None` for a temporary folder that is removed
    /// with the handle.
    pub store_dir: Option<PathBuf>,
    /// The port on the loopback interface; 0 for a free one.
    pub port: u16,
    /// The binary; `None` to find or fetch one.
    pub binary: Option<PathBuf>,
    /// Whether to leave JetStream off: for tests of what skep says then.
    pub without_jetstream: bool,
    /// When to force data to the disk.
    pub sync_interval: SyncInterval,
    /// The largest message, in bytes; `None` for the default of 1 MiB.
    pub max_payload: Option<usize>,
    /// More lines for the configuration file: accounts, users, TLS.
    pub more: String,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no nats-server.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Its folder cannot be prepared.
    #[error("cannot prepare {}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There are no free ports for a cluster.
    #[error("cannot find free ports")]
    Ports {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The servers of a cluster run, and do not agree on who leads.
    #[error("{count} nats-servers did not form a cluster within {} s", within.as_secs())]
    NoLeader {
        /// How many there are.
        count: usize,
        /// The bound.
        within: Duration,
    },
    /// The binary cannot be run.
    #[error("cannot start {}", path.display())]
    Spawn {
        /// The binary.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended at once.
    #[error("nats-server ended with {status}: {cause}{}", see(log.as_deref()))]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last line of its log that tells of an error.
        cause: String,
        /// Its log, unless that was in a temporary folder and is gone.
        log: Option<PathBuf>,
    },
    /// It runs but does not answer.
    #[error(
        "nats-server did not answer on {address} within {} s: {cause}{}",
        within.as_secs(), see(log.as_deref())
    )]
    NotReady {
        /// Where it should.
        address: SocketAddr,
        /// The bound.
        within: Duration,
        /// The last line of its log that tells of an error, or the last one.
        cause: String,
        /// Its log, unless that was in a temporary folder and is gone.
        log: Option<PathBuf>,
    },
}

impl StartError {
    /// Returns whether something else listens on the port.
    pub fn is_port_taken(&self) -> bool {
        matches!(self, Self::Ended { cause, .. } if cause.contains("address already in use"))
    }

    /// Names no log that goes with a temporary folder.
    fn without_log(mut self) -> Self {
        if let Self::Ended { log, .. } | Self::NotReady { log, .. } = &mut self {
            *log = None;
        }
        self
    }
}

fn see(log: Option<&Path>) -> String {
    log.map_or_else(String::new, |log| format!(" (see {})", log.display()))
}

/// A nats-server on the loopback interface that is killed when its handle is dropped.
///
/// Should this process itself be killed, a small watcher process kills the server, because its
/// standard input closes.
#[derive(Debug)]
pub struct ThrowawayServer {
    folder: PathBuf,
    binary: PathBuf,
    name: String,
    address: SocketAddr,
    running: Option<Running>,
    is_temporary: bool,
    /// Removed last.
    _temporary: Option<TempDir>,
}

impl ThrowawayServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// Every variant of [`StartError`].
    ///
    /// # Cancel safety
    /// Safe: a server that was started is killed.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => find_or_fetch().await?.path,
        };
        let (folder, temporary) = folder_of(&options)?;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut server = Self::prepare(&options, &folder, &binary)?;
            match server.launch().await {
                Ok(()) => {
                    server._temporary = temporary;
                    return Ok(server);
                }
                Err(error) if error.is_port_taken() && options.port == 0 && tries < PORT_TRIES => {}
                Err(error) if temporary.is_some() => return Err(error.without_log()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the URL that clients connect to.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the process id, unless it was killed.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.server.id())
    }

    /// Returns where its streams lie.
    pub fn store_dir(&self) -> &Path {
        &self.folder
    }

    /// Returns its log, for diagnosis.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("nats-server.log")
    }

    /// Kills it (SIGKILL) and waits until it is gone; nothing is flushed, as in a crash.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        match self.running.take() {
            Some(running) => running.kill(),
            None => Ok(()),
        }
    }

    /// Starts it again on the same port and store, killing it first if it runs, and waits until it
    /// answers.
    ///
    /// # Errors
    /// Every variant of [`StartError`] but `Find` and `Folder`.
    ///
    /// # Cancel safety
    /// Safe: it may be called again.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.kill().map_err(|source| StartError::Spawn { path: self.binary.clone(), source })?;
        self.launch().await
    }

    fn prepare(options: &Options, folder: &Path, binary: &Path) -> Result<Self, StartError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StartError::Folder { path, source }
        };
        let port = match options.port {
            0 => free_port().map_err(failed(folder))?,
            port => port,
        };
        let name = format!("skep-{}-{port}", std::process::id());
        let server = Self {
            folder: folder.to_owned(),
            binary: binary.to_owned(),
            name,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            running: None,
            is_temporary: options.store_dir.is_none(),
            _temporary: None,
        };
        let file = server.config_file();
        fs::write(&file, server.config(options)).map_err(failed(&file))?;
        Ok(server)
    }

    fn config_file(&self) -> PathBuf {
        self.folder.join("nats-server.conf")
    }

    fn config(&self, options: &Options) -> String {
        let mut text = format!("listen: \"{}\"\nserver_name: \"{}\"\n", self.address, self.name);
        if let Some(bytes) = options.max_payload {
            text.push_str(&format!("max_payload: {bytes}\n"));
        }
        if !options.without_jetstream {
            let folder = quoted(&self.folder.display().to_string());
            text.push_str(&format!("jetstream {{\n  store_dir: {folder}\n"));
            match options.sync_interval {
                SyncInterval::Default => {}
                SyncInterval::Always => text.push_str("  sync_interval: always\n"),
                SyncInterval::Every(interval) => {
                    text.push_str(&format!("  sync_interval: \"{}ms\"\n", interval.as_millis()));
                }
            }
            text.push_str("}\n");
        }
        text.push_str(&options.more);
        text
    }

    async fn launch(&mut self) -> Result<(), StartError> {
        let log = self.log_file();
        let opened = OpenOptions::new().create(true).append(true).open(&log);
        let (out, err, from) = opened
            .and_then(|file| Ok((file.try_clone()?, file.try_clone()?, file.metadata()?.len())))
            .map_err(|source| StartError::Folder { path: log, source })?;
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg(self.config_file());
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let temporary = self.is_temporary.then_some(self.folder.as_path());
        let running = Running::start(&mut command, &self.config_file(), temporary)
            .map_err(|source| StartError::Spawn { path: self.binary.clone(), source })?;
        self.running = Some(running);
        self.ready(from).await
    }

    /// Waits until the server answers with its own name, so that no other server on the port is
    /// taken for it.
    async fn ready(&mut self, log_from: u64) -> Result<(), StartError> {
        let answered = tokio::time::timeout(READY_WITHIN, self.probe(log_from)).await;
        answered.unwrap_or_else(|_| {
            let (address, within, log) = (self.address, READY_WITHIN, self.log_file());
            let cause = last_error(&log, log_from);
            Err(StartError::NotReady { address, within, cause, log: Some(log) })
        })
    }

    async fn probe(&mut self, log_from: u64) -> Result<(), StartError> {
        loop {
            let (address, name) = (self.address, self.name.clone());
            let asked = tokio::task::spawn_blocking(move || server_name(address) == Some(name));
            if asked.await.unwrap_or(false) {
                return Ok(());
            }
            let ended = self.running.as_mut().and_then(|running| running.server.try_wait().ok()?);
            if let Some(status) = ended {
                self.running = None;
                let cause = last_error(&self.log_file(), log_from);
                return Err(StartError::Ended { status, cause, log: Some(self.log_file()) });
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }
}

fn folder_of(options: &Options) -> Result<(PathBuf, Option<TempDir>), StartError> {
    match &options.store_dir {
        Some(folder) => {
            let made = fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
            let made =
                made.map_err(|source| StartError::Folder { path: folder.clone(), source })?;
            Ok((made, None))
        }
        None => {
            let folder = tempfile::Builder::new().prefix("skep-nats-").tempdir();
            let folder = folder
                .map_err(|source| StartError::Folder { path: std::env::temp_dir(), source })?;
            Ok((folder.path().to_owned(), Some(folder)))
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[derive(Deserialize)]
struct Info {
    server_name: String,
}

/// Returns the name that a server gives itself when a client connects.
fn server_name(address: SocketAddr) -> Option<String> {
    let within = Duration::from_secs(2);
    let stream = TcpStream::connect_timeout(&address, within).ok()?;
    stream.set_read_timeout(Some(within)).ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(64 * 1024)).read_line(&mut line).ok()?;
    let info: Info = serde_json::from_str(line.strip_prefix("INFO ")?).ok()?;
    Some(info.server_name)
}

fn last_error(log: &Path, from: u64) -> String {
    let mut text = String::new();
    let read = File::open(log).and_then(|mut file| {
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        file.take(1024 * 1024).read_to_string(&mut text)
    });
    let wanted = |line: &&str| line.contains("[FTL]") || line.contains("nats-server:");
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    match (read, lines().rfind(wanted).or_else(|| lines().next_back())) {
        (Ok(_), Some(line)) => {
            line.split_once("] ").map_or(line, |(_, rest)| rest.trim()).to_owned()
        }
        (Ok(_), None) => "it wrote no log".to_owned(),
        (Err(error), _) => format!("its log cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_restarts_on_the_same_port_and_goes_away() {
        let mut server = ThrowawayServer::start(Options::default()).await.unwrap();
        let (port, pid, folder) = (server.port(), server.pid(), server.store_dir().to_owned());
        assert_eq!(server_name(server.address).as_ref(), Some(&server.name));
        server.kill().unwrap();
        assert_eq!((server.pid(), server_name(server.address)), (None, None));
        server.restart().await.unwrap();
        assert_eq!(server.port(), port);
        assert_ne!(server.pid(), pid);
        let address = server.address;
        drop(server);
        assert_eq!(server_name(address), None);
        assert!(!folder.exists(), "the temporary folder is left");
    }

    #[tokio::test]
    async fn a_taken_port_and_a_bad_setting_are_told() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let options = Options { port, ..Options::default() };
        let error = ThrowawayServer::start(options).await.unwrap_err();
        assert!(error.is_port_taken(), "{error}");
        assert!(!error.to_string().contains("nats-server.log"), "that is gone: {error}");
        let kept = tempfile::tempdir().unwrap();
        let store_dir = Some(kept.path().to_owned());
        let error = ThrowawayServer::start(Options { port, store_dir, ..Options::default() });
        let error = error.await.unwrap_err().to_string();
        assert!(error.contains("nats-server.log)"), "{error}");
        let options = Options { more: "max_payload: nonsense\n".to_owned(), ..Options::default() };
        let error = ThrowawayServer::start(options).await.unwrap_err().to_string();
        assert!(error.contains("nats-server.conf:6:1"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_watcher_kills_the_server_when_its_input_ends() {
        let mut server = ThrowawayServer::start(Options::default()).await.unwrap();
        let running = server.running.as_mut().unwrap();
        drop(running.watcher.as_mut().unwrap().stdin.take());
        let status = running.server.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
