//! The `exec` agent: runs programs that the operator allowed.
//!
//! A task names a program and its arguments; there is no shell in between, so nothing in them is
//! ever interpreted. The program runs in a process group apart, which is killed as a whole on
//! timeout, on cancel, when the handler is dropped, when the program ends before its children, and
//! when the agent dies, even by SIGKILL: a small shell in the same group sees to that. A descendant
//! that moves to another process group escapes; containing such a program needs a container.

mod capture;
mod commands;
mod group;
mod input;
mod prepare;
mod stdout;
mod watcher;

use std::future::Future;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use skep_agent::{Context, Failure};
use tokio::process::Command;

pub use commands::{CommandError, Commands};
pub use input::{ExecInput, RetryOnExit, StdoutFormat};

use crate::fault::{self, WorthRetrying};
use crate::json::Json;
use capture::{CaptureError, Streams};
use group::Running;
use prepare::Prepared;

/// What the operator allows the `exec` agent.
#[derive(Debug, Clone)]
pub struct ExecConfig {
    /// The programs that may be run.
    pub commands: Commands,
    /// Where programs run; a task may choose a directory below it.
    pub root: std::path::PathBuf,
    /// Environment variables handed on from the agent's own environment; no others are.
    pub pass_env: Vec<String>,
    /// Environment variables that a task may set.
    pub settable_env: Vec<String>,
    /// More standard output than this fails the attempt.
    pub max_stdout: usize,
    /// How much of the end of standard error is kept.
    pub max_stderr: usize,
    /// How long a program has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How many programs run at a time.
    pub slots: u32,
}

impl ExecConfig {
    /// The variables that programs get unless the operator says otherwise.
    pub const PASSED: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

    /// Allows `commands` below `root`, with careful defaults for the rest.
    pub fn new(commands: Commands, root: impl Into<std::path::PathBuf>) -> Self {
        Self {
            commands,
            root: root.into(),
            pass_env: Self::PASSED.map(str::to_owned).to_vec(),
            settable_env: Vec::new(),
            max_stdout: 8 * 1024 * 1024,
            max_stderr: 16 * 1024,
            grace: Duration::from_secs(5),
            slots: 4,
        }
    }
}

/// What a program left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExecOutput {
    /// Its exit code: 0, or the attempt would have failed.
    pub exit_code: i32,
    /// What it wrote, as the task's [`StdoutFormat`] has it.
    pub stdout: Json,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}

/// What surrounds one execution.
#[derive(Debug)]
pub struct Surroundings<S, P> {
    /// Set in the program's environment: the run, the step, the attempt, the idempotency key, the
    /// fencing token.
    pub identity: Vec<(String, String)>,
    /// Ends when the program is to be stopped.
    pub stop: S,
    /// Called with each line of standard error.
    pub progress: P,
}

/// Tells the program which attempt it works for, and the coordinator what it says.
pub fn surroundings(
    context: &Context,
) -> Surroundings<impl Future<Output = ()> + use<>, impl FnMut(&str) + use<>> {
    let identity = [
        ("SKEP_RUN", context.run().to_string()),
        ("SKEP_STEP", context.step().to_string()),
        ("SKEP_ATTEMPT", context.attempt().to_string()),
        ("SKEP_IDEMPOTENCY_KEY", context.idempotency_key()),
        ("SKEP_FENCING_TOKEN", context.fencing_token().to_string()),
    ];
    let compensates = context.compensates().map(|key| ("SKEP_COMPENSATES", key));
    let identity = identity.into_iter().chain(compensates);
    let identity = identity.map(|(name, value)| (name.to_owned(), value)).collect();
    let (watched, told) = (context.clone(), context.clone());
    Surroundings {
        identity,
        stop: async move { watched.cancelled().await },
        progress: move |line: &str| told.progress(line),
    }
}

/// Why a program gave no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The task makes no sense.
    #[error("{0}")]
    InvalidInput(String),
    /// The operator did not allow the program.
    #[error("the operator of this agent did not allow `{command}`; {}", choice(.allowed))]
    CommandNotAllowed {
        /// What was asked for.
        command: String,
        /// What there is.
        allowed: Vec<String>,
    },
    /// The operator did not allow the variable.
    #[error("the operator of this agent did not allow tasks to set the variable `{0}`")]
    EnvNotAllowed(String),
    /// The directory is not below the root, or not there.
    #[error("cannot run in `{directory}`: {problem}")]
    DirectoryNotAllowed {
        /// What was asked for.
        directory: String,
        /// Why not.
        problem: String,
    },
    /// The system did not start the program.
    #[error("cannot start `{command}`")]
    Spawn {
        /// Which.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Standard output was too long.
    #[error("the program wrote more than {limit} bytes to standard output")]
    StdoutTooLarge {
        /// How much it may be.
        limit: usize,
    },
    /// Standard output is not what the task said it is.
    #[error("standard output is not what the task asked for: {0}")]
    StdoutFormat(String),
    /// Standard output is JSON and something else.
    #[error(
        "stdout is not one JSON value: {0}; print anything else to stderr, \
         or a text as a JSON string"
    )]
    StdoutNotJson(String),
    /// It ended with another code than 0, or by a signal.
    #[error("{what}{}", last_line(.stderr))]
    Exit {
        /// The code of the failure: `exit_3`, `signal_9`.
        code: String,
        /// The same in words.
        what: String,
        /// The end of standard error.
        stderr: String,
        /// The start of standard output.
        stdout: String,
        /// Whether it ended by itself, with an exit code.
        exited: bool,
        /// Whether the task asks for another attempt after this.
        retryable: bool,
    },
    /// It was stopped.
    #[error("the program was stopped: the attempt was cancelled or its time was up")]
    Stopped,
    /// A pipe or the wait for the program failed.
    #[error("lost contact with the program")]
    Io(#[from] std::io::Error),
}

/// Runs one program to its end.
///
/// # Errors
/// [`ExecError`]; when it is returned, nothing of the program's process group is left.
///
/// # Cancel safety
/// Dropping the future kills the process group at once, without grace.
pub async fn run<S, P>(
    config: &ExecConfig,
    input: &ExecInput,
    surroundings: Surroundings<S, P>,
) -> Result<ExecOutput, ExecError>
where
    S: Future<Output = ()>,
    P: FnMut(&str),
{
    let prepared = prepare::prepare(config, input)?;
    let mut running = start(&prepared, &surroundings.identity)?;
    let mut streams = Streams::new(config.max_stdout, config.max_stderr);
    let pipes = running.take_pipes()?;
    let io = streams.pump(pipes, prepared.stdin.as_slice(), surroundings.progress);
    let (status, stopped) = watch(&mut running, io, surroundings.stop, config.grace).await?;
    if stopped == Stopped::Yes {
        return Err(ExecError::Stopped);
    }
    input::judge(input, status, &streams)
}

fn start(prepared: &Prepared, identity: &[(String, String)]) -> Result<Running, ExecError> {
    let mut command = Command::new(&prepared.program);
    command.args(&prepared.arguments).current_dir(&prepared.directory);
    command.env_clear().envs(&prepared.env).envs(identity.iter().map(|(k, v)| (k, v)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(&mut command)
        .map_err(|source| ExecError::Spawn { command: prepared.name.clone(), source })
}

/// Whether a program ended because it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Yes,
    No,
}

/// Drives the pipes until the program has ended, one way or the other.
async fn watch(
    running: &mut Running,
    io: impl Future<Output = Result<(), CaptureError>>,
    stop: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(std::process::ExitStatus, Stopped), ExecError> {
    /// How long an escaped descendant may hold the pipes open after the program has ended.
    const DRAIN: Duration = Duration::from_secs(1);
    let (mut io, mut stop) = (pin!(io), pin!(stop));
    let mut ended = pin!(running.ended());
    let mut kill = pin!(tokio::time::sleep(Duration::MAX));
    let (mut io_done, mut killed, mut stopped) = (false, false, Stopped::No);
    loop {
        tokio::select! { biased;
            ended = &mut ended => break ended?,
            done = &mut io, if !io_done => {
                io_done = true;
                done?;
            }
            () = &mut stop, if stopped == Stopped::No => {
                stopped = Stopped::Yes;
                running.terminate();
                kill.set(tokio::time::sleep(grace));
            }
            () = &mut kill, if stopped == Stopped::Yes && !killed => {
                killed = true;
                running.kill();
            }
        }
    }
    running.kill();
    if !io_done && let Ok(done) = tokio::time::timeout(DRAIN, io).await {
        done?;
    }
    Ok((running.reap().await?, stopped))
}

fn choice(allowed: &[String]) -> String {
    match allowed {
        [] => "none is allowed: start the agent with --allow-command".to_owned(),
        allowed => format!("allowed: {}", allowed.join(", ")),
    }
}

fn last_line(stderr: &str) -> String {
    let line = stderr.lines().rev().find(|line| !line.trim().is_empty());
    line.map(|line| format!(": {}", line.trim())).unwrap_or_default()
}

impl From<CaptureError> for ExecError {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::TooLarge { limit } => Self::StdoutTooLarge { limit },
            CaptureError::Io(source) => Self::Io(source),
        }
    }
}

impl ExecError {
    /// Returns the failure that the attempt ends with.
    pub fn failure(self) -> Failure {
        let message = fault::chain(&self);
        let is_unclear = self.is_unclear();
        let (code, worth) = match self {
            Self::InvalidInput(_) => ("invalid_input", WorthRetrying::No),
            Self::CommandNotAllowed { .. } => ("command_not_allowed", WorthRetrying::Elsewhere),
            Self::EnvNotAllowed(_) => ("env_not_allowed", WorthRetrying::No),
            Self::DirectoryNotAllowed { .. } => ("directory_not_allowed", WorthRetrying::No),
            Self::Spawn { source, .. } => ("spawn_failed", worth_starting(&source)),
            Self::StdoutTooLarge { .. } => ("stdout_too_large", WorthRetrying::No),
            Self::StdoutFormat(_) => ("stdout_format", WorthRetrying::No),
            Self::StdoutNotJson(_) => ("stdout_not_json", WorthRetrying::No),
            Self::Exit { code, stderr, stdout, retryable, .. } => {
                let details = serde_json::json!({ "stdout": stdout, "stderr": stderr });
                let failure = fault::failure(&code, message, retryable.into());
                let failure = failure.with_details(&details);
                return if is_unclear { failure.unclear() } else { failure };
            }
            Self::Stopped => ("stopped", WorthRetrying::Yes),
            Self::Io(_) => ("lost_contact", WorthRetrying::Yes),
        };
        let failure = fault::failure(code, message, worth);
        if is_unclear { failure.unclear() } else { failure }
    }

    /// Tells whether the program may have done something: it ran, and did not say itself that it
    /// failed.
    const fn is_unclear(&self) -> bool {
        match self {
            Self::InvalidInput(_)
            | Self::CommandNotAllowed { .. }
            | Self::EnvNotAllowed(_)
            | Self::DirectoryNotAllowed { .. }
            | Self::Spawn { .. } => false,
            Self::Exit { exited, .. } => !*exited,
            Self::StdoutTooLarge { .. }
            | Self::StdoutFormat(_)
            | Self::StdoutNotJson(_)
            | Self::Stopped
            | Self::Io(_) => true,
        }
    }
}

/// Tells whether the system may start the program the next time, because it was short of something,
/// or at another agent, because this one does not have it.
fn worth_starting(error: &std::io::Error) -> WorthRetrying {
    use std::io::ErrorKind::{NotFound, OutOfMemory, PermissionDenied, WouldBlock};
    if matches!(error.kind(), NotFound | PermissionDenied) {
        return WorthRetrying::Elsewhere;
    }
    matches!(error.kind(), WouldBlock | OutOfMemory).into()
}
