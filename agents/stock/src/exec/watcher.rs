//! A shell that ends a program when the agent dies, even by SIGKILL.

use std::io::{self, PipeWriter, Write as _};
use std::process::Stdio;
use std::sync::Once;

use rustix::process::Pid;
use tokio::process::{Child, Command};

const SHELL: &str = "/bin/sh";

/// Waits for the end of the input, then kills its own process group and the one that the program
/// may have made for itself.
const SCRIPT: &str = r#"trap '' HUP INT QUIT TERM ALRM USR1 USR2
read -r program
read -r _
[ -n "$program" ] && kill -s KILL -- "-$program" 2>/dev/null
kill -s KILL 0"#;

/// A shell at the head of a process group that a program joins.
///
/// Its input ends when the last copy of `lifeline` is closed. Besides the agent, only a process
/// that is being started has one, until it executes its file: so the program has joined the group
/// before the group is killed, whenever the agent dies.
#[derive(Debug)]
pub(super) struct Watcher {
    shell: Child,
    lifeline: PipeWriter,
}

impl Watcher {
    /// Starts a shell; says once if there is none.
    pub(super) fn start() -> Option<Self> {
        static TOLD: Once = Once::new();
        let started = Self::start_shell(SHELL);
        if let Err(error) = &started {
            TOLD.call_once(|| {
                tracing::warn!(shell = SHELL, %error, "programs will outlive a killed agent");
            });
        }
        started.ok()
    }

    fn start_shell(shell: &str) -> io::Result<Self> {
        let (input, lifeline) = io::pipe()?;
        let mut command = Command::new(shell);
        command.args(["-c", SCRIPT]).env_clear().current_dir("/");
        command.stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
        let shell = command.process_group(0).kill_on_drop(true).spawn()?;
        Ok(Self { shell, lifeline })
    }

    /// Returns the id of the process group to join: it stays reserved until [`reap`](Self::reap).
    pub(super) fn group(&self) -> Option<Pid> {
        self.shell.id().and_then(|id| Pid::from_raw(id.cast_signed()))
    }

    /// Says which program it is.
    pub(super) fn watch(&mut self, program: Pid) {
        if let Err(error) = writeln!(self.lifeline, "{}", program.as_raw_nonzero()) {
            tracing::warn!(%error, "the watcher of a program has ended");
        }
    }

    /// Collects the shell; its group must have been killed before.
    pub(super) async fn reap(&mut self) -> io::Result<()> {
        self.shell.wait().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_shell_there_is_no_watcher() {
        let error = Watcher::start_shell("/no/such/shell").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn the_end_of_its_input_ends_all_of_its_group() {
        let mut watcher = Watcher::start_shell(SHELL).unwrap();
        let mut program = Command::new("sleep");
        program.arg("1000").kill_on_drop(true);
        program.process_group(watcher.group().unwrap().as_raw_nonzero().get());
        let mut program = program.spawn().unwrap();
        drop(std::mem::replace(&mut watcher.lifeline, io::pipe().unwrap().1));
        let signal = |status| std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal(program.wait().await.unwrap()), Some(9));
        assert_eq!(signal(watcher.shell.wait().await.unwrap()), Some(9));
    }
}
