//! A program in a process group of its own.

use std::future::Future;
use std::io;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::watcher::Watcher;

/// The program's ends of its three pipes.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// A program that was started and not yet reaped.
///
/// The ids of its groups stay reserved for as long as the program and its watcher are not reaped,
/// so a signal never meets a stranger: the groups are signalled before, and `groups` is dropped
/// before `child` and `watcher`.
#[derive(Debug)]
pub(super) struct Running {
    groups: Groups,
    child: Child,
    watcher: Option<Watcher>,
}

impl Running {
    /// Starts `command` in a new process group, which ends with this process.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        Self::start_with(command, Watcher::start())
    }

    /// Starts `command` in the group of the watcher; without one, at the head of a group.
    fn start_with(command: &mut Command, mut watcher: Option<Watcher>) -> io::Result<Self> {
        let joined = watcher.as_ref().and_then(Watcher::group);
        command.process_group(joined.map_or(0, |group| group.as_raw_nonzero().get()));
        let child = command.kill_on_drop(true).spawn()?;
        let program = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let (Some(watcher), Some(program)) = (&mut watcher, program) {
            watcher.watch(program);
        }
        Ok(Self { groups: Groups { joined, program }, child, watcher })
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
        let pid = self.groups.program;
        async move {
            let Some(pid) = pid else { return Ok(()) };
            let wait = move || wait_for_end(pid);
            tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?
        }
    }

    /// Asks the whole group to end.
    pub(super) fn terminate(&self) {
        self.groups.signal(Signal::TERM);
    }

    /// Ends the whole group.
    pub(super) fn kill(&self) {
        self.groups.signal(Signal::KILL);
    }

    /// Collects the exit status; the group must have been killed before.
    pub(super) async fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        (self.groups.program, self.groups.joined) = (None, None);
        if let Some(watcher) = &mut self.watcher {
            watcher.reap().await?;
        }
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

/// The process groups of a program; kills what is left of them when it is dropped.
#[derive(Debug)]
struct Groups {
    /// That of the watcher.
    joined: Option<Pid>,
    /// The program, and the group that it is the head of, if it is.
    program: Option<Pid>,
}

impl Groups {
    fn signal(&self, signal: Signal) {
        for pid in self.joined.into_iter().chain(self.program) {
            if let Err(errno) = kill_process_group(pid, signal)
                && errno != rustix::io::Errno::SRCH
            {
                tracing::warn!(group = pid.as_raw_nonzero().get(), %errno, "cannot signal a group");
            }
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_without_a_watcher_is_the_head_of_its_group() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -s KILL -- -$$"]);
        let mut running = Running::start_with(&mut command, None).unwrap();
        running.ended().await.unwrap();
        running.kill();
        let status = running.reap().await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
