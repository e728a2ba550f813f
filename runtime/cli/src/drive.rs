//! A run that was started, followed to its end; what happens when the user or the clock interferes.

use std::time::Duration;

use skep_broker::Broker;
use skep_protocol::{Command, RunId};
use tokio::time::Instant;

use crate::cli::Global;
use crate::client::Client;
use crate::commands::history::ended;
use crate::error::{Error, Exit};
use crate::follow::{End, Follow, Until, View, unknown};
use crate::output::{self, Format, YELLOW, paint};
use crate::progress::Progress;
use crate::report;
use crate::signals::{Interrupt, Interrupts};

/// How long a run in this process may take to be cancelled.
const CANCELLED_WITHIN: Duration = Duration::from_secs(15);

/// Where a run lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In this process: it ends with it.
    Here,
    /// On a cluster: it goes on without us.
    Cluster,
}

/// How a run was left, and how the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is over.
    Ended(Exit),
    /// It is not.
    Running(Exit),
}

impl Left {
    /// Returns how the process ends.
    pub(crate) const fn exit(self) -> Exit {
        match self {
            Self::Ended(exit) | Self::Running(exit) => exit,
        }
    }
}

/// Drives one run to its end.
#[derive(Debug)]
pub(crate) struct Drive<'a, B> {
    pub(crate) client: &'a Client<B>,
    pub(crate) global: &'a Global,
    pub(crate) home: Home,
    pub(crate) deadline: Option<Instant>,
}

impl<B: Broker> Drive<'_, B> {
    /// Follows the run, shows its progress and how it ended.
    pub(crate) async fn to_the_end(
        &self,
        mut progress: Progress,
        quiet: bool,
        interrupts: &mut Interrupts,
    ) -> Result<Left, Error> {
        let view = if quiet { View::Silent } else { View::of_stderr() };
        let end = self.follow(&mut progress, &view, self.deadline, interrupts).await;
        let end = match end {
            Ok(End::Ended(status)) => {
                view.leave(&progress);
                let exit =
                    ended(self.client, &progress, status, &view, (self.home, self.global)).await?;
                return Ok(Left::Ended(exit));
            }
            Ok(end) => end,
            Err(error) => {
                view.close();
                return Err(error);
            }
        };
        match self.home {
            Home::Cluster => {
                view.leave(&progress);
                self.leave(progress.run(), end).await;
                Ok(Left::Running(exit(end)))
            }
            Home::Here => self.cancel(progress, view, end, interrupts).await,
        }
    }

    async fn follow(
        &self,
        progress: &mut Progress,
        view: &View,
        deadline: Option<Instant>,
        interrupts: &mut Interrupts,
    ) -> Result<End, Error> {
        let (client, run, until) = (self.client, progress.run(), Until::End);
        Follow { client, run, view, until, deadline, fresh: true }
            .follow(progress, interrupts)
            .await
    }

    /// Leaves a run on its cluster; a script is told which one, and how far it came.
    async fn leave(&self, run: RunId, end: End) {
        let why = match end {
            End::TimedOut => "--timeout passed",
            End::Interrupted(interrupt) => interrupt.as_str(),
            End::Ended(_) | End::CaughtUp => "left",
        };
        output::note(format!("{}: the run goes on", paint(YELLOW, why)));
        output::note(format!("  follow it: skep watch {run}"));
        output::note(format!("  end it:    skep cancel {run}"));
        if (end, self.global.output) != (End::TimedOut, Format::Json) {
            return;
        }
        let told = match self.client.run(run).await {
            Ok(Some(detail)) => report::print(self.client, &detail, Format::Json).await,
            Ok(None) => Err(unknown(run)),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            output::warn(error);
        }
    }

    /// Cancels a run in this process, and waits for that.
    async fn cancel(
        &self,
        mut progress: Progress,
        view: View,
        end: End,
        interrupts: &mut Interrupts,
    ) -> Result<Left, Error> {
        let run = progress.run();
        let (reason, hint) = match end {
            End::TimedOut => ("--timeout passed", ""),
            End::Interrupted(interrupt @ Interrupt::Termination) => (interrupt.as_str(), ""),
            End::Interrupted(_) | End::Ended(_) | End::CaughtUp => {
                (Interrupt::Terminal.as_str(), " (Ctrl-C again ends it at once)")
            }
        };
        output::note(format!("{}, cancelling the run{hint}", paint(YELLOW, reason)));
        self.client.change(run, Command::Cancel { run, reason: reason.to_owned() }).await?;
        let deadline = Some(Instant::now() + CANCELLED_WITHIN);
        let then = self.follow(&mut progress, &view, deadline, interrupts).await;
        if then.is_err() {
            view.close();
        }
        match then? {
            End::Ended(status) => {
                view.leave(&progress);
                ended(self.client, &progress, status, &view, (self.home, self.global)).await?;
                return Ok(Left::Ended(exit(end)));
            }
            End::TimedOut => {
                view.leave(&progress);
                output::warn("the run did not end in time; leaving it");
            }
            End::Interrupted(_) | End::CaughtUp => view.leave(&progress),
        }
        Ok(Left::Running(exit(end)))
    }
}

const fn exit(end: End) -> Exit {
    match end {
        End::TimedOut => Exit::Timeout,
        End::Interrupted(interrupt) => interrupt.exit(),
        End::Ended(_) | End::CaughtUp => Exit::Interrupted,
    }
}
