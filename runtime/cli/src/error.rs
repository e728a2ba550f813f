//! What ends a command early: what happened, to what, what to do about it.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};
use skep_broker::{RequestError, Unavailable};
use skep_protocol::{Payload, Rejection};

/// How the process ends; scripts rely on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Ok,
    /// The run failed or was cancelled; a check failed; data could not be written.
    Failed,
    /// The command line or an input is wrong.
    Usage,
    /// The definition has errors.
    InvalidDefinition,
    /// There is no such file, run or workflow.
    NotFound,
    /// Nobody answers.
    Unreachable,
    /// It contradicts what is there: the run is over, the id is taken.
    Conflict,
    /// `--timeout` passed.
    Timeout,
    /// The user interrupted it.
    Interrupted,
    /// SIGTERM ended it.
    Terminated,
}

impl Exit {
    /// Returns the number that the process ends with.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InvalidDefinition => 3,
            Self::NotFound => 4,
            Self::Unreachable => 5,
            Self::Conflict => 6,
            Self::Timeout => 124,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.number().into()
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Error {
    exit: Exit,
    message: String,
    help: Vec<String>,
    drawing: Option<String>,
    diagnostics: Vec<Value>,
}

impl Error {
    /// Creates an error; the message says what was attempted and why it did not work.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit, message, help: Vec::new(), drawing: None, diagnostics: Vec::new() }
    }

    /// Creates an error of the command line or of an input.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds a line that says what to do.
    pub(crate) fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }

    /// Adds the problems of a definition: a drawing for people, data for machines.
    pub(crate) fn diagnostics(mut self, drawing: String, data: Vec<Value>) -> Self {
        self.drawing = Some(drawing);
        self.diagnostics = data;
        self
    }

    /// Returns how the process ends.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns what is to be drawn before the message.
    pub(crate) fn drawing(&self) -> Option<&str> {
        self.drawing.as_deref()
    }

    /// Returns the lines that say what to do.
    pub(crate) fn advice(&self) -> &[String] {
        &self.help
    }

    /// Returns the error as data.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = json!({ "exit": self.exit.number(), "message": self.message });
        if !self.help.is_empty() {
            error["help"] = json!(self.help);
        }
        if !self.diagnostics.is_empty() {
            error["diagnostics"] = json!(self.diagnostics);
        }
        json!({ "error": error })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        let message = rejection.to_string();
        match rejection {
            Rejection::InvalidDefinition { diagnostics, rendered } => {
                let data = diagnostics.iter().map(plain).collect();
                Self::new(Exit::InvalidDefinition, message).diagnostics(rendered, data)
            }
            Rejection::UnknownWorkflow { workflow } => Self::new(Exit::NotFound, message)
                .help(match workflow.split_once('@') {
                    None => format!("register it: skep apply {workflow}.skep.yaml"),
                    Some((name, version)) => format!(
                        "register it: skep apply FILE, with `name: {name}` and \
                         `version: \"{version}\"` in FILE"
                    ),
                })
                .help("see what is registered: skep list --workflows"),
            Rejection::InvalidInputs { problems } => inputs(&problems),
            Rejection::RunNotFound { .. } => {
                Self::new(Exit::NotFound, message).help("see what there is: skep list")
            }
            Rejection::RunAlreadyFinished { .. } => Self::new(Exit::Conflict, message),
            Rejection::NoDeadLetter { run, .. } => Self::new(Exit::NotFound, message)
                .help(format!("see what was given up on: skep deadletters show {run}")),
            Rejection::CannotRetry { help, .. } => Self::new(Exit::Conflict, message).help(help),
            Rejection::NotStuck { run, .. } => Self::new(Exit::Conflict, message)
                .help(format!("see which compensations failed for good: skep get {run}")),
            Rejection::RunIdTaken { .. } => Self::new(Exit::Conflict, message)
                .help("choose another --id or --key, or leave both away"),
            Rejection::Busy { .. } => Self::new(
                Exit::Unreachable,
                "the coordinator has no room, though it was asked again and again",
            )
            .help(
                "it bears so many live runs of a partition (skep serve --max-runs), so much of \
                 them (--run-memory), and so many commands at a time: some have to end first \
                 (skep list)",
            ),
            Rejection::NotThere { .. } => Self::new(Exit::NotFound, message)
                .help("see what there is: skep breakers, skep agents"),
            Rejection::CannotObey { help, .. } => Self::new(Exit::Conflict, message).help(help),
            Rejection::LimitExceeded { .. } => Self::new(Exit::Usage, message),
            Rejection::Unreadable { .. } => Self::new(Exit::Unreachable, message)
                .help("is the coordinator of another version than this skep? see skep doctor"),
            Rejection::NotOwner {} => Self::new(Exit::Unreachable, message)
                .help("the cluster is handing the run over: try again"),
            Rejection::PartitionStopped { .. } => Self::new(Exit::Unreachable, message)
                .help("an operator has to look at the journal of that partition: skep doctor"),
        }
    }
}

/// Creates the error of inputs that were refused.
pub(crate) fn inputs(problems: &[String]) -> Error {
    match problems {
        [one] => Error::usage(one.clone()),
        many => Error::usage(format!("the inputs do not fit:\n  - {}", many.join("\n  - "))),
    }
    .help("give inputs with -i NAME=VALUE, or all of them with --input FILE.json")
}

/// Returns an error and its sources in one line, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

fn plain(payload: &Payload) -> Value {
    payload.text().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
}

impl From<Unavailable> for Error {
    fn from(error: Unavailable) -> Self {
        Self::new(Exit::Unreachable, error.to_string())
            .help("see what is wrong with the cluster: skep doctor")
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::NoResponders { .. } => {
                Self::new(Exit::Unreachable, format!("no coordinator answers: {message}"))
                    .help("start one: skep serve (or, to try things out, skep dev)")
            }
            RequestError::TimedOut { .. } => Self::new(Exit::Unreachable, message)
                .help("whether it was done is not known; asking again is safe"),
            RequestError::TooLarge { .. } => Self::usage(message),
            RequestError::Unavailable(error) => error.into(),
            _ => Self::new(Exit::Unreachable, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn errors_are_data_too() {
        let error = Error::new(Exit::NotFound, "no file `x`").help("look for it");
        expect![[r#"{"error":{"exit":4,"message":"no file `x`","help":["look for it"]}}"#]]
            .assert_eq(&error.to_json().to_string());
    }

    #[test]
    fn every_rejection_has_its_exit_code() {
        let exit = |rejection: Rejection| Error::from(rejection).exit().number();
        let run = skep_protocol::RunId::from_key("w", "k");
        assert_eq!(exit(Rejection::UnknownWorkflow { workflow: "w".to_owned() }), 4);
        assert_eq!(exit(Rejection::InvalidInputs { problems: vec!["x".to_owned()] }), 2);
        assert_eq!(exit(Rejection::RunNotFound { run }), 4);
        assert_eq!(exit(Rejection::RunIdTaken { run }), 6);
        assert_eq!(exit(Rejection::Busy { retry_after_ms: 5 }), 5);
        let rendered = String::new();
        assert_eq!(exit(Rejection::InvalidDefinition { diagnostics: vec![], rendered }), 3);
    }

    #[test]
    fn a_workflow_that_is_not_registered_is_told_how_it_can_be() {
        let advice = |workflow: &str| {
            let workflow = workflow.to_owned();
            Error::from(Rejection::UnknownWorkflow { workflow }).advice()[0].clone()
        };
        expect!["register it: skep apply one.skep.yaml"].assert_eq(&advice("one"));
        expect![[r#"register it: skep apply FILE, with `name: one` and `version: "2.0"` in FILE"#]]
            .assert_eq(&advice("one@2.0"));
    }
}
