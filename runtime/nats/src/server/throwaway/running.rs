//! The process of a server, and the one that watches over it.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server that runs; both processes end when it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) server: Child,
    pub(super) watcher: Option<Child>,
}

impl Running {
    /// Starts the server that `command` describes; `config` tells it from others. A `temporary`
    /// folder is removed even if this process ends before it can do that.
    pub(super) fn start(
        command: &mut Command,
        config: &Path,
        temporary: Option<&Path>,
    ) -> io::Result<Self> {
        let server = apart(command).spawn()?;
        let watcher = watch(server.id(), config, temporary);
        Ok(Self { server, watcher })
    }

    /// Kills the server and waits until it is gone.
    pub(super) fn kill(mut self) -> io::Result<()> {
        // The watcher first: it must not see a process id that was given to somebody else.
        if let Some(watcher) = &mut self.watcher {
            watcher.kill().ok();
            watcher.wait().ok();
        }
        self.watcher = None;
        self.server.kill()?;
        self.server.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.watcher.iter_mut().chain([&mut self.server]) {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Puts the process into a group of its own: a Ctrl-C on the terminal ends skep first, which then
/// ends the server.
fn apart(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command
}

/// Starts a shell that waits for the end of its input, which comes when this process ends, however
/// it ends, and then kills the server, if the process of that id still is the server, and removes
/// its folder if that is a temporary one.
fn watch(pid: u32, config: &Path, temporary: Option<&Path>) -> Option<Child> {
    const SCRIPT: &str = r#"read -r _
(tr '\0' ' ' < "/proc/$1/cmdline" || ps -o command= -p "$1") 2>/dev/null | grep -qF -- "$2" &&
    kill -9 "$1"
[ -z "$3" ] || rm -rf -- "$3""#;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT, "sh"]).arg(pid.to_string()).arg(config);
    command.arg(temporary.unwrap_or_else(|| Path::new("")));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    apart(&mut command).spawn().ok()
}
