//! The task of the `exec` agent, and what its program's end means.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use serde::Deserialize;

use super::capture::Streams;
use super::{ExecError, ExecOutput, stdout};
use crate::json::Json;

/// How much of standard output a failure carries.
const MAX_FAILED_STDOUT: usize = 2 * 1024;

/// What a step of the capability `exec` gives in `with`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecInput {
    /// The program and its arguments: never a shell's text.
    pub argv: Vec<String>,
    /// Written to standard input, as JSON.
    #[serde(default)]
    pub stdin: Option<Json>,
    /// Written to standard input, as it is.
    #[serde(default)]
    pub stdin_text: Option<String>,
    /// Variables to set; the operator says which ones may be.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The directory to run in, below the agent's root.
    #[serde(default)]
    pub cwd: Option<String>,
    /// What standard output is.
    #[serde(default)]
    pub stdout: StdoutFormat,
    /// Which exit codes are worth another attempt.
    #[serde(default)]
    pub retry_on_exit: RetryOnExit,
}

/// What a program's standard output is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StdoutFormat {
    /// JSON if all of it is one JSON value, text if not, nothing being the empty text. A mere
    /// number is text, too, unless it is written as JSON writers write it: `1.10` may be a version,
    /// and twenty digits are no number that everybody can read.
    #[default]
    Auto,
    /// JSON, or the attempt fails.
    Json,
    /// Text, whatever it looks like.
    Text,
    /// For programs that are written to answer with JSON: like `Auto`, but the attempt fails if
    /// JSON is mixed with anything else, such as a line that was meant for standard error. What
    /// mixes the two: some line begins with `{` or begins an array, and not each line is JSON by
    /// itself. A task cannot ask for it.
    #[serde(skip)]
    Answer,
}

/// Which exit codes are worth another attempt: `true`, `false` or a list of codes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RetryOnExit {
    /// All or none.
    Any(bool),
    /// These.
    Codes(Vec<i32>),
}

impl Default for RetryOnExit {
    fn default() -> Self {
        Self::Any(true)
    }
}

impl RetryOnExit {
    fn includes(&self, code: Option<i32>) -> bool {
        match self {
            Self::Any(any) => *any,
            Self::Codes(codes) => code.is_some_and(|code| codes.contains(&code)),
        }
    }
}

/// Says what the end of a program means for its attempt.
pub(super) fn judge(
    input: &ExecInput,
    status: ExitStatus,
    streams: &Streams,
) -> Result<ExecOutput, ExecError> {
    let stderr = streams.stderr();
    if !status.success() {
        let (code, what) = match (status.code(), status.signal()) {
            (Some(code), _) => (format!("exit_{code}"), format!("exit code {code}")),
            (None, Some(signal)) => {
                (format!("signal_{signal}"), format!("ended by signal {signal}"))
            }
            (None, None) => ("exit_unknown".to_owned(), "ended in an unknown way".to_owned()),
        };
        let shown = &streams.stdout()[..streams.stdout().len().min(MAX_FAILED_STDOUT)];
        let stdout = String::from_utf8_lossy(shown).into_owned();
        let retryable = input.retry_on_exit.includes(status.code());
        let exited = status.code().is_some();
        return Err(ExecError::Exit { code, what, stderr, stdout, exited, retryable });
    }
    Ok(ExecOutput { exit_code: 0, stdout: stdout::parse(input.stdout, streams.stdout())?, stderr })
}
