//! Interrupts from outside: Ctrl-C and SIGTERM.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Exit};

/// What interrupted the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C, or SIGINT.
    Terminal,
    /// SIGTERM.
    Termination,
}

impl Interrupt {
    /// Returns how a process ends that it ended: as shells have it, 128 and the signal's number.
    pub(crate) const fn exit(self) -> Exit {
        match self {
            Self::Terminal => Exit::Interrupted,
            Self::Termination => Exit::Terminated,
        }
    }

    /// Says what happened.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "interrupted at the terminal",
            Self::Termination => "ended by SIGTERM",
        }
    }
}

/// Listens from its creation on, so that none is missed.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Starts to listen; from here on neither ends the process by itself.
    pub(crate) fn listen() -> Result<Self, Error> {
        let failed = |error: io::Error| {
            Error::new(Exit::Failed, format!("cannot listen to signals: {error}"))
        };
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Interrupt {
        tokio::select! { biased;
            _ = self.interrupt.recv() => Interrupt::Terminal,
            _ = self.terminate.recv() => Interrupt::Termination,
        }
    }
}
