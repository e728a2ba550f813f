//! Requests from outside that a coordinator may reject.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::Answer;
use crate::event::Parent;
use crate::failure::Failure;
use crate::ids::{Hash, RunId, SignalId, StepPath};
use crate::limits::{
    MAX_LABEL_LEN, MAX_LABELS, MAX_NAME_LEN, MAX_PAYLOAD, MAX_RUN_DEPTH, MAX_STEP_PATH,
    RESERVED_RUNS_PER_LEVEL,
};
use crate::order::Order;
use crate::partition::PartitionCount;
use crate::payload::Payload;
use crate::query::{Query, QueryReply, RunStatus};

/// A request to change something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Check a definition and keep it, so that runs can be started from it.
    Register(RegisterWorkflow),
    /// Start a run.
    Start(Box<StartRun>),
    /// Start a run that does over one that is over, unless another one does. Goes to the owner of
    /// the new run.
    Retry(Box<RetryRun>),
    /// End a run early.
    Cancel {
        /// The run.
        run: RunId,
        /// Why, for people.
        reason: String,
    },
    /// Start no more steps of a run.
    Pause {
        /// The run.
        run: RunId,
        /// Who asks.
        by: String,
    },
    /// Let a paused run go on, and have compensations that failed for good tried again.
    Resume {
        /// The run.
        run: RunId,
        /// Who asks.
        by: String,
    },
    /// Take a compensation that failed for good as done, so that a stuck run goes on.
    Skip {
        /// The run.
        run: RunId,
        /// The compensation, or the step that it makes good.
        step: StepPath,
        /// Who asks.
        by: String,
    },
    /// Take dead letters of a run that is over off the list.
    Drop {
        /// The run.
        run: RunId,
        /// The steps that failed for good.
        steps: Vec<StepPath>,
        /// Who asks.
        by: String,
    },
    /// Send a signal to a run.
    Signal(Signal),
    /// Tell a run that a sub-workflow of its ended. Sent by coordinators, again until confirmed.
    ChildEnded {
        /// The step of the parent, and its try.
        parent: Parent,
        /// The run that ended.
        child: RunId,
        /// How.
        outcome: ChildOutcome,
    },
    /// Do as a person says with a breaker or an agent. Any owner of a partition does.
    Order(Order),
    /// Tell what only the owner of a partition knows. Sent by coordinators that were asked and do
    /// not own the partition of the run; changes nothing.
    Ask(Query),
}

/// See [`Command::Register`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterWorkflow {
    /// The text of the definition.
    pub source: String,
    /// The name of its file, for diagnostics.
    pub file: String,
    /// Whether its name shall mean this definition from here on (`skep apply`), or whether it is
    /// only to be started by its digest (`skep run FILE`).
    pub publish: bool,
}

/// See [`Command::Start`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRun {
    /// The id of the run, minted by the client: a start sent twice makes one run.
    pub run: RunId,
    /// `NAME`, `NAME@VERSION` or the digest of a registered definition.
    pub workflow: String,
    /// The inputs: a JSON object.
    pub inputs: Payload,
    /// The step that the run is started for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// How deep the run is nested.
    #[serde(default)]
    pub depth: u32,
    /// Free words to find the run by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl StartRun {
    /// Returns which limit the start exceeds, if it does.
    pub fn excess(&self) -> Option<String> {
        if self.depth >= MAX_RUN_DEPTH {
            return Some(format!("sub-workflows are nested more than {MAX_RUN_DEPTH} deep"));
        }
        let fits = |(name, value): (&String, &String)| {
            name.len() <= MAX_NAME_LEN && value.len() <= MAX_LABEL_LEN
        };
        if self.labels.len() > MAX_LABELS || !self.labels.iter().all(fits) {
            return Some(format!(
                "a run has at most {MAX_LABELS} labels with names of {MAX_NAME_LEN} and values of \
                 {MAX_LABEL_LEN} bytes"
            ));
        }
        let path = self.parent.as_ref().map_or(0, |parent| parent.step.as_str().len());
        if path > MAX_STEP_PATH {
            return Some(format!("the path of a step is longer than {MAX_STEP_PATH} bytes"));
        }
        let size = self.inputs.size();
        (size > MAX_PAYLOAD as u64)
            .then(|| format!("the inputs have {size} bytes, at most {MAX_PAYLOAD} are taken"))
    }

    /// Returns at how many active runs a partition has no room for this one, if `most` is where it
    /// has none for those that nobody waits for.
    pub fn room(&self, most: usize) -> usize {
        most.saturating_add(self.levels() as usize * RESERVED_RUNS_PER_LEVEL)
    }

    /// Returns how deep the run is nested; 0 if nobody waits for it, whatever it says.
    pub fn levels(&self) -> u32 {
        if self.parent.is_some() { self.depth.clamp(1, MAX_RUN_DEPTH) } else { 0 }
    }
}

/// See [`Command::Retry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRun {
    /// The id of the new run, see [`RetryRun::new`]: a retry sent twice makes one run.
    pub run: RunId,
    /// The run to be done over.
    pub of: RunId,
    /// A step that is to run again, with what follows from it; without it, whatever did not
    /// complete runs again, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<StepPath>,
    /// What follows `from` and completed is not to run again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only: bool,
    /// Other inputs than it had: a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Payload>,
    /// Who asks.
    pub by: String,
}

impl RetryRun {
    /// Asks for `of` to be done over, from a step and perhaps without what follows it. The id of
    /// the new run follows from what is asked for. It lies in the partition of the old one, so that
    /// fencing tokens go on rising.
    pub fn new(
        (of, partitions): (RunId, PartitionCount),
        (from, only): (Option<StepPath>, bool),
        inputs: Option<Payload>,
        by: String,
    ) -> Self {
        let text = inputs.as_ref().map(|inputs| match inputs {
            Payload::Json(raw) => Hash::of(raw.get().as_bytes()).to_string(),
            Payload::Blob(blob) => blob.hash.to_string(),
        });
        let step = from.as_ref().map_or("", |from| from.as_str());
        let parts = [step, if only { "only" } else { "" }, text.as_deref().unwrap_or(""), ""];
        let asked = parts.join("\n");
        let mut ids = (0_u64..).map(|number| RunId::retry(of, &asked, number));
        let run = ids.find(|run| partitions.of(*run) == partitions.of(of)).unwrap_or(of);
        Self { run, of, from, only, inputs, by }
    }
}

/// See [`Command::Signal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The run.
    pub run: RunId,
    /// The name that a `wait_for` names.
    pub name: String,
    /// A signal with an id that was seen is taken as sent once.
    pub id: SignalId,
    /// What it carries.
    pub payload: Payload,
}

/// How a sub-workflow ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildOutcome {
    /// With these outputs.
    Completed(Payload),
    /// With this failure; also when it was never started, because its start was rejected.
    Failed(Failure),
    /// It was cancelled.
    Cancelled {
        /// It did something that it did not make good.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        left: bool,
    },
    /// It failed with this failure, and made good what it did.
    Compensated(Failure),
}

/// The answer to a command, sent when what follows from it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandReply {
    /// The definition is kept.
    Registered {
        /// Its name.
        name: String,
        /// Its version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// Its digest.
        digest: Hash,
        /// What the check had to warn of, as `{code, severity, message, file, line, column, help}`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<Payload>,
    },
    /// The run exists.
    Started {
        /// Its id.
        run: RunId,
        /// It existed before this command.
        existing: bool,
    },
    /// It is done, or it had been done before.
    Done {},
    /// To [`Command::Ask`].
    Answer(Box<QueryReply>),
    /// Nothing changed.
    Rejected(Rejection),
}

impl Answer for CommandReply {
    fn unreadable(cause: String) -> Self {
        Self::Rejected(Rejection::Unreadable { cause })
    }

    fn busy() -> Option<Self> {
        Some(Self::Rejected(Rejection::BUSY))
    }
}

impl Rejection {
    /// There is no room at the moment.
    pub const BUSY: Self = Self::Busy { retry_after_ms: 1_000 };
}

/// Why a command was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The definition has errors.
    #[error("the definition has {} error(s)", diagnostics.len())]
    InvalidDefinition {
        /// Each as `{code, severity, message, file, line, column, help}`.
        diagnostics: Vec<Payload>,
        /// The same for people, in the manner of a compiler.
        rendered: String,
    },
    /// No definition of that name, version or digest was registered.
    #[error("no workflow `{workflow}` is registered")]
    UnknownWorkflow {
        /// What was asked for.
        workflow: String,
    },
    /// The inputs do not fit what the definition declares.
    #[error("{}", problems.join("; "))]
    InvalidInputs {
        /// One line for each, naming the input and its schema.
        problems: Vec<String>,
    },
    /// There is no such run.
    #[error("there is no run {run}")]
    RunNotFound {
        /// The run asked for.
        run: RunId,
    },
    /// The run is over.
    #[error("run {run} is over: {status}")]
    RunAlreadyFinished {
        /// The run.
        run: RunId,
        /// How it ended.
        status: RunStatus,
    },
    /// What is over cannot be done over in the way that was asked for.
    #[error("run {run} cannot be retried: {cause}")]
    CannotRetry {
        /// The run that was to be done over.
        run: RunId,
        /// Why.
        cause: String,
        /// What can be done.
        help: String,
    },
    /// No step of that path was given up on in a run that is over.
    #[error("step `{step}` of run {run} is no dead letter")]
    NoDeadLetter {
        /// The run.
        run: RunId,
        /// The step asked for.
        step: StepPath,
    },
    /// No compensation of that step failed for good.
    #[error("step `{step}` of run {run} is not stuck")]
    NotStuck {
        /// The run.
        run: RunId,
        /// The step asked for.
        step: StepPath,
    },
    /// A run of that id exists, with another workflow or other inputs.
    #[error("run {run} exists and was started from something else")]
    RunIdTaken {
        /// The run.
        run: RunId,
    },
    /// The message is no command, or one that this coordinator does not know.
    #[error("the command cannot be read: {cause}")]
    Unreadable {
        /// What is wrong with it.
        cause: String,
    },
    /// The coordinator has as many runs as it bears, or more commands than it can look at.
    #[error("the coordinator is busy: try again in {retry_after_ms} ms")]
    Busy {
        /// The least delay.
        retry_after_ms: u64,
    },
    /// Something is too large, too many or too deep.
    #[error("{message}")]
    LimitExceeded {
        /// What, and the limit.
        message: String,
    },
    /// What was to be closed or let out is not there.
    #[error("there is no {what}")]
    NotThere {
        /// What, in words.
        what: String,
    },
    /// An order cannot be obeyed.
    #[error("{cause}")]
    CannotObey {
        /// Why.
        cause: String,
        /// What can be done.
        help: String,
    },
    /// The coordinator does not own the partition of the run (any more): ask again.
    #[error("this coordinator does not own the run's partition")]
    NotOwner {},
    /// The partition stopped, because its journal is damaged.
    #[error("the partition of the run has stopped: {cause}")]
    PartitionStopped {
        /// What is wrong with it.
        cause: String,
    },
}
