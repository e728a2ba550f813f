//! What the world is owed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use skep_protocol::{
    AgentId, AttemptId, BlobRef, ChildOutcome, Hash, Parent, PartitionId, Payload, RunId, StartRun,
    StepPath, Task, Timestamp,
};
use skep_workflow::{Breaker, WhenOpen};

use crate::rare::{Blank, Rare};

/// Something that the shell has to do, again after every recovery, until it is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Get the task of an attempt to an agent.
    OfferTask(Box<OfferTask>),
    /// Start a sub-workflow. A rejected start is handed back as
    /// [`Input::ChildEnded`](crate::Input::ChildEnded) with a failure.
    StartChild {
        /// The start; its `workflow` is a digest.
        start: Box<StartRun>,
        /// Not before this moment.
        not_before: Timestamp,
    },
    /// Cancel a sub-workflow. Its `StartChild` is owed as long: a child that is not there yet has
    /// to be started before it can be cancelled, or its late start would leave an orphan.
    CancelChild {
        /// The child.
        child: RunId,
        /// Why, for people.
        reason: String,
    },
    /// Tell the run that started this one how it ended; the confirmation is
    /// [`Input::ParentNotified`](crate::Input::ParentNotified).
    NotifyParent {
        /// The step it was started for.
        parent: Parent,
        /// The run that ended.
        child: RunId,
        /// How.
        outcome: Box<ChildOutcome>,
    },
    /// Fetch a large value that a decision has to look into; the answer is
    /// [`Input::BlobFetched`](crate::Input::BlobFetched).
    FetchBlob {
        /// Which.
        blob: BlobRef,
    },
}

/// See [`Effect::OfferTask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferTask {
    /// The attempt.
    pub id: AttemptId,
    /// Where reports go.
    pub partition: PartitionId,
    /// See [`Task::fencing_token`].
    pub fencing_token: u64,
    /// The rendered `with` of the step.
    pub input: Payload,
    /// Not before this moment.
    pub not_before: Timestamp,
    /// It repeats one that failed: the retry budget of its capability has a say.
    pub is_retry: bool,
    /// What few attempts come with.
    pub terms: Rare<Terms>,
    /// What it has in common with all attempts of the step, in every run.
    pub spec: Arc<TaskSpec>,
}

impl OfferTask {
    /// Returns the task, as an agent gets it that is sent the attempt for the first time.
    pub fn task(&self) -> Task {
        Task {
            v: Task::VERSION,
            run: self.id.run,
            step: self.id.step.clone(),
            attempt: self.id.attempt,
            fencing_token: self.fencing_token,
            ask: false,
            origin: self.terms.origin,
            capability: self.spec.capability.to_string(),
            workflow: self.spec.workflow.clone(),
            partition: self.partition,
            input: self.input.clone(),
            checkpoint: self.terms.checkpoint.clone(),
            timeout_ms: self.spec.timeout_ms,
            deadline: self.terms.deadline,
            deadline_in_ms: None,
            priority: self.spec.priority,
            labels: self.spec.labels.clone(),
        }
    }
}

/// What is to be said of an attempt that is not as most of them are when they are owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The run in which the step was first attempted, if this one does that one over.
    pub origin: Option<RunId>,
    /// What an earlier attempt left.
    pub checkpoint: Option<Payload>,
    /// When the whole step has to be over.
    pub deadline: Option<Timestamp>,
    /// Who is known to hold it already.
    pub taken_by: Option<AgentId>,
    /// When the attempt fails unless it is recorded that an agent took it.
    pub take_by: Option<Timestamp>,
    /// The later rounds it belongs to: it goes when all has stopped that belongs to earlier ones.
    pub rounds: Vec<Round>,
}

impl Blank for Terms {
    const BLANK: &'static Self = &Self {
        origin: None,
        checkpoint: None,
        deadline: None,
        taken_by: None,
        take_by: None,
        rounds: Vec::new(),
    };
}

/// What all attempts of a step have in common, or those of its fallback, or of what makes it good:
/// however many are owed at a time, there is one of it for each definition and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskSpec {
    /// The name of the workflow.
    pub workflow: String,
    /// What an agent is asked to do.
    pub capability: CompactString,
    /// How long the handler may run, in milliseconds.
    pub timeout_ms: u64,
    /// 0 to 9; 9 goes first.
    pub priority: u8,
    /// The labels that an agent must have.
    pub labels: BTreeMap<String, String>,
    /// Labels that make an agent more welcome.
    pub prefer: BTreeMap<String, String>,
    /// The circuit breaker that the step has for itself, and its name.
    pub breaker: Option<(CompactString, Breaker)>,
    /// What happens while the circuit breaker is open.
    pub when_open: WhenOpen,
    /// An attempt fails if it makes no progress for so long.
    pub progress_within: Option<Duration>,
    /// Failure codes that are the answer to the step, and no trouble of whoever gave it.
    pub unless: Vec<String>,
}

/// What happens inside of something since it started over the last time. Whatever is in no other
/// round is in round 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The group or the `for_each` that started over; none for the run.
    pub inside: Option<StepPath>,
    /// The number of the round: 1, 2, …
    pub number: u32,
}

impl Round {
    /// What makes good what a run did.
    pub const UNWINDING: Self = Self { inside: None, number: 1 };
}

/// Names an effect, so that it can be settled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKey {
    /// [`Effect::OfferTask`] of this attempt.
    Attempt(AttemptId),
    /// [`Effect::StartChild`] of this run.
    StartChild(RunId),
    /// [`Effect::CancelChild`] of this run.
    CancelChild(RunId),
    /// [`Effect::NotifyParent`] of this child.
    Parent(RunId),
    /// [`Effect::FetchBlob`] of this blob.
    Blob(Hash),
}

impl Effect {
    /// Returns the name of the effect.
    pub fn key(&self) -> EffectKey {
        match self {
            Self::OfferTask(offer) => EffectKey::Attempt(offer.id.clone()),
            Self::StartChild { start, .. } => EffectKey::StartChild(start.run),
            Self::CancelChild { child, .. } => EffectKey::CancelChild(*child),
            Self::NotifyParent { child, .. } => EffectKey::Parent(*child),
            Self::FetchBlob { blob } => EffectKey::Blob(blob.hash),
        }
    }
}

/// How what is owed changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This is owed from here on, or again, or with other particulars.
    Owed(Effect),
    /// This is owed no longer: done, or of no interest any more. Whoever works on it may stop.
    Settled(EffectKey),
    /// The run of this attempt was paused: offer it to nobody, but whoever has it goes on. It is
    /// `Owed` again when the run is resumed.
    Withheld(AttemptId),
}
