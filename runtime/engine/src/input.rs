//! What can happen to a partition, and what it answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use skep_protocol::{
    AgentId, AttemptId, BlobRef, ChildOutcome, CommandReply, CoordinatorId, Failure, Hash, Parent,
    Record, Report, RetryOf, RunId, Signal, StartRun, StepPath, Verdict,
};
use skep_workflow::Workflow;

/// Something that happened outside the engine.
#[derive(Debug, Clone)]
pub enum Input {
    /// This coordinator writes the journal from here on; the first input after a recovery.
    TookOver {
        /// Who.
        coordinator: CoordinatorId,
    },
    /// Start a run.
    Start {
        /// What was asked for; its inputs are JSON that everybody reads alike.
        start: Box<StartRun>,
        /// What its `workflow` means.
        workflow: Resolved,
    },
    /// Start a run with inputs that its definition accepted: they are what came of that, with the
    /// defaults.
    Accepted {
        /// What was asked for.
        start: Box<StartRun>,
        /// What its `workflow` means: what accepted the inputs.
        workflow: Resolved,
    },
    /// Start a run that does over one that is over.
    Retry {
        /// The new run.
        start: Box<StartRun>,
        /// What its `workflow` means.
        workflow: Resolved,
        /// The run before, and what is kept of it: see [`Past`](crate::Past).
        retry: Box<RetryOf>,
    },
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
    /// Let a paused run go on.
    Resume {
        /// The run.
        run: RunId,
        /// Who asks.
        by: String,
    },
    /// Take a compensation that failed for good as done.
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
        /// The steps; that they were given up on is known to whoever asks.
        steps: Vec<StepPath>,
        /// Who asks.
        by: String,
    },
    /// A signal to a run.
    Signal(Signal),
    /// A sub-workflow ended, or was never started because its start was rejected.
    ChildEnded {
        /// The step it was started for, and its try.
        parent: Parent,
        /// The run that ended.
        child: RunId,
        /// How.
        outcome: ChildOutcome,
    },
    /// An agent reports. The reply is a verdict.
    Report {
        /// Who.
        agent: AgentId,
        /// What.
        report: Report,
    },
    /// An agent was seen to hold an attempt; its `timeout` runs from here.
    Held {
        /// Who.
        agent: AgentId,
        /// What.
        attempt: AttemptId,
    },
    /// The agent that held the attempt is gone; a new attempt follows under the infrastructure
    /// budget.
    Lost {
        /// The attempt.
        attempt: AttemptId,
        /// Who held it.
        agent: Option<AgentId>,
        /// What was seen, for people.
        cause: String,
    },
    /// The fleet gives an attempt up: it is stuck at its agent, or is not to wait for a breaker.
    Failed {
        /// The attempt.
        attempt: AttemptId,
        /// Who holds it.
        agent: Option<AgentId>,
        /// Why.
        failure: Failure,
    },
    /// The answer to [`Effect::FetchBlob`](crate::Effect::FetchBlob) or [`Reply::NeedsBlob`].
    BlobFetched {
        /// What was asked for.
        blob: BlobRef,
        /// Its bytes; `None` if the blob store does not have it.
        bytes: Option<Bytes>,
    },
    /// The partition of the parent has recorded how this run ended.
    ParentNotified {
        /// The child.
        run: RunId,
    },
    /// The time of [`Partition::next_wake`](crate::Partition::next_wake) has come.
    Wake,
}

/// What the `workflow` of a [`StartRun`] means.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The digest of the definition.
    pub digest: Hash,
    /// The definition; needed unless the partition [knows](crate::Partition::knows) the digest.
    pub workflow: Option<Workflow>,
    /// Its sub-workflows: name as written (`NAME` or `NAME@VERSION`) → digest.
    pub pinned: BTreeMap<String, Hash>,
}

/// What follows from an input.
///
/// It is speculative until the records are durable: if their append fails, the shell drops the
/// partition and loads it again.
#[derive(Debug, Clone, Default)]
pub struct Handled {
    /// The facts to append, in order. They are applied already.
    pub records: Vec<Record>,
    /// Large payloads that the records refer to, to be stored before the append.
    pub blobs: Vec<Bytes>,
    /// The answer, to be sent once the records are durable.
    pub reply: Option<Reply>,
}

/// The answer to an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To a command.
    Command(CommandReply),
    /// To a report.
    Verdict(Verdict),
    /// Nothing was decided, because the value has to be looked into first: fetch it, hand it in as
    /// [`Input::BlobFetched`], then hand in the same input again.
    NeedsBlob(BlobRef),
}
