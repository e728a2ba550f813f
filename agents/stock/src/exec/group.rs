//! A program in a process group of its own.

use std::future::Future;
use std::io;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// The program's ends of its three pipes.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// A program that was started and not yet reaped.
///
/// The id of the group stays reserved for as long as the program is not reaped, so a signal never
/// meets a stranger: the group is signalled before, and `group` is dropped before `child`.
#[derive(Debug)]
pub(super) struct Running {
    group: Group,
    child: Child,
}

impl Running {
    /// Starts `command` as the leader of a new process group.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { group: Group(pid), child })
    }

    /// Takes the pipes, once.
    pub(super) fn take_pipes(&mut self) -> io::Result<Pipes> {
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        match (stdin, stdout, stderr) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Pipes { stdin, stdout, stderr }),
            _ => Err(io::Error::other("the program has no pipes")),
        }
    }

    /// Ends when the program has ended, and leaves it to be reaped.
    ///
    /// A blocking thread waits: it ends with the program, which does not outlive `self`.
    pub(super) fn ended(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let pid = self.group.0;
        async move {
            let Some(pid) = pid else { return Ok(()) };
            let wait = move || wait_for_end(pid);
            tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?
        }
    }

    /// Asks the whole group to end.
    pub(super) fn terminate(&self) {
        self.group.signal(Signal::TERM);
    }

    /// Ends the whole group.
    pub(super) fn kill(&self) {
        self.group.signal(Signal::KILL);
    }

    /// Collects the exit status; the group must have been killed before.
    pub(super) async fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.group.0 = None;
        Ok(status)
    }
}

fn wait_for_end(pid: Pid) -> io::Result<()> {
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(_) | Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Kills what is left of the group when it is dropped.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        let Some(pid) = self.0 else { return };
        if let Err(errno) = kill_process_group(pid, signal)
            && errno != rustix::io::Errno::SRCH
        {
            tracing::warn!(group = pid.as_raw_nonzero().get(), %errno, "cannot signal a group");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
