//! A `skep dev` that is started again whenever it ends, as whatever keeps daemons alive would do.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Result, ensure};
use skep_tests::{LOOK_EVERY, command};
use tokio::task::JoinSet;

/// The processes, one after the other; the last one ends with the handle.
pub(crate) struct Dev {
    port: u16,
    output: PathBuf,
    /// The only task: it starts them.
    keeper: JoinSet<Result<()>>,
}

impl Dev {
    /// Starts the first one in a folder, and waits until it is ready.
    pub(crate) async fn start(arguments: &[String], folder: &Path) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let output = folder.join("dev.log");
        let log = File::options().create(true).append(true).open(&output)?;
        let (arguments, folder) = (arguments.to_vec(), folder.to_owned());
        let mut keeper = JoinSet::new();
        keeper.spawn(async move {
            loop {
                let mut command = command()?;
                command.args(["dev", "--port", &port.to_string()]).args(&arguments);
                command.current_dir(&folder).stdin(Stdio::null());
                command.stdout(log.try_clone()?).stderr(log.try_clone()?);
                tokio::process::Command::from(command).kill_on_drop(true).spawn()?.wait().await?;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        let dev = Self { port, output, keeper };
        while !dev.printed().contains("skep is ready") {
            ensure!(!dev.keeper.is_empty(), "skep dev cannot be started");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(dev)
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }
}
