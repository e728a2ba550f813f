//! Why a journal or a snapshot cannot be folded.

use skep_protocol::{Hash, RunId, StepPath};
use skep_workflow::Rejected;

/// A record that does not follow from those before it. The partition has to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The record is about a run that does not exist.
    #[error("a record is about run {run}, which is not there")]
    UnknownRun {
        /// The run.
        run: RunId,
    },
    /// The record starts a run that exists.
    #[error("run {run} is started twice")]
    RunExists {
        /// The run.
        run: RunId,
    },
    /// The record is about a step that does not exist.
    #[error("a record of run {run} is about step {step}, which is not there")]
    UnknownStep {
        /// The run.
        run: RunId,
        /// The step.
        step: StepPath,
    },
    /// The record changes a step in a way that is not possible from its state.
    #[error("step {step} of run {run} cannot go from {from} to {to}")]
    IllegalTransition {
        /// The run.
        run: RunId,
        /// The step.
        step: StepPath,
        /// The state it is in.
        from: &'static str,
        /// The state that the record asks for.
        to: &'static str,
    },
    /// The record is about another attempt than the current one.
    #[error("a record is about attempt {found} of step {step} of run {run}, not about {current}")]
    WrongAttempt {
        /// The run.
        run: RunId,
        /// The step.
        step: StepPath,
        /// The current attempt.
        current: u32,
        /// The attempt that the record names.
        found: u32,
    },
    /// The record is not possible in the state of its run.
    #[error("run {run} cannot take {what}")]
    OutOfPlace {
        /// The run.
        run: RunId,
        /// What the record says.
        what: &'static str,
    },
    /// The epoch does not follow the one before.
    #[error("epoch {found} does not follow epoch {current}")]
    Epoch {
        /// The epoch so far.
        current: u64,
        /// The epoch of the record.
        found: u64,
    },
    /// A run was started from a definition that the journal does not hold.
    #[error("definition {} is not in the journal", digest.short())]
    UnknownWorkflow {
        /// Its digest.
        digest: Hash,
    },
    /// A definition in the journal cannot be read (any more).
    #[error("definition {} of the journal cannot be read", digest.short())]
    Workflow {
        /// Its digest.
        digest: Hash,
        /// Why.
        #[source]
        source: Box<Rejected>,
    },
    /// A definition in the journal is not the one it claims to be.
    #[error("definition {} of the journal has digest {}", digest.short(), found.short())]
    WorkflowDigest {
        /// The digest it claims.
        digest: Hash,
        /// The digest it has.
        found: Hash,
    },
}

/// A snapshot that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are no snapshot.
    #[error("the snapshot cannot be read")]
    Undecodable(#[source] serde_json::Error),
    /// It is newer than this program.
    #[error("the snapshot has format {found}, this skep reads up to {known}")]
    Version {
        /// Its version.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// It belongs to another partition.
    #[error("the snapshot belongs to another partition")]
    Foreign,
    /// A definition in it cannot be read, or a run refers to one that is missing.
    #[error("the snapshot holds a definition that cannot be used")]
    Workflow(#[source] FoldError),
    /// It contradicts itself.
    #[error("the snapshot contradicts itself: {0}")]
    Inconsistent(&'static str),
}
