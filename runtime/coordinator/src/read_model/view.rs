//! One run, as what happened to it tells: a pure fold.

mod apply;
mod brief;
mod letter;
mod seed;
mod steps;
mod tell;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use skep_protocol::{
    AgentId, CancelReason, Failure, Hash, Parent, Payload, RunId, RunStarted, RunStatus, Seq,
    SkipReason, StepPath, StepStatus, Timestamp,
};

use brief::Briefs;

/// A run, changed by one event at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunView {
    pub(super) run: RunId,
    pub(super) workflow: String,
    pub(super) digest: Hash,
    /// That it waits follows from its steps.
    status: RunStatus,
    pub(super) started: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) parent: Option<Parent>,
    pub(super) labels: BTreeMap<String, String>,
    /// The run that this one does over.
    pub(super) retry_of: Option<RunId>,
    inputs: Payload,
    outputs: Option<Payload>,
    error: Option<Failure>,
    cancelled: Option<String>,
    /// Steps of the definition's top level that were counted before they came into being.
    declared: u32,
    counts: Counts,
    /// How many events there were.
    pub(super) entries: u64,
    /// Messages up to this one tell nothing of the run that is not known from a snapshot.
    pub(super) known_to: Seq,
    tracks: BTreeMap<StepPath, Box<Track>>,
    #[serde(skip)]
    briefs: Briefs,
    /// Steps that were a dead letter before they changed, or may be one since then.
    #[serde(skip)]
    pub(super) doubtful: BTreeSet<StepPath>,
}

/// What is stored of a run beside its history.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: RunStatus,
    pub(super) ended: Option<Timestamp>,
    pub(super) steps: i64,
    pub(super) steps_ended: i64,
    pub(super) entries: u64,
}

/// A step and its attempts: these stay when the step is as if it had never been.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Track {
    step: Option<Step>,
    /// In order.
    attempts: Vec<Attempt>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    /// Tells the order in which steps came into being.
    ordinal: i64,
    status: StepStatus,
    /// It is performed itself, and does not consist of inner steps.
    leaf: bool,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    output: Option<Payload>,
    error: Option<Box<Failure>>,
    /// Why it was skipped, or stopped.
    skipped: Option<SkipReason>,
    cancelled: Option<CancelReason>,
    child: Option<RunId>,
    items: Option<u32>,
    /// It did not run: it is as it was in the run before.
    kept: bool,
    /// Who took a compensation that failed as done.
    skipped_by: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    number: u32,
    status: Cow<'static, str>,
    scheduled: Timestamp,
    /// When it may begin at the earliest.
    due: Option<Timestamp>,
    agent: Option<AgentId>,
    fallback: bool,
    ended: Option<Timestamp>,
    duration_ms: Option<u64>,
    error: Option<Box<Failure>>,
}

/// How many steps there are, and in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    known: i64,
    ended: i64,
    active: i64,
    waiting: i64,
}

impl Counts {
    fn of(status: StepStatus, leaf: bool) -> Self {
        let active = leaf && matches!(status, StepStatus::Scheduled | StepStatus::Running);
        Self {
            known: 1,
            ended: i64::from(status.is_final()),
            active: i64::from(active),
            waiting: i64::from(leaf && status == StepStatus::Waiting),
        }
    }

    const fn add(&mut self, more: Self) {
        self.known += more.known;
        self.ended += more.ended;
        self.active += more.active;
        self.waiting += more.waiting;
    }

    const fn take(&mut self, less: Self) {
        self.known -= less.known;
        self.ended -= less.ended;
        self.active -= less.active;
        self.waiting -= less.waiting;
    }
}

impl RunView {
    /// Returns a run of which only its start is known, which is the first of its events.
    pub(super) fn new(run: RunId, at: Timestamp, started: RunStarted) -> Self {
        let declared = started.steps.unwrap_or_default();
        Self {
            run,
            workflow: started.workflow,
            digest: started.digest,
            status: RunStatus::Running,
            started: at,
            ended: None,
            parent: started.parent,
            labels: started.labels,
            retry_of: started.retry.map(|retry| retry.run),
            inputs: started.inputs,
            outputs: None,
            error: None,
            cancelled: None,
            declared,
            counts: Counts { known: declared.into(), ..Counts::default() },
            entries: 1,
            known_to: Seq::ZERO,
            tracks: BTreeMap::new(),
            briefs: Briefs::default(),
            doubtful: BTreeSet::new(),
        }
    }

    /// Takes what the list says for true, if a part of the history could not be stored.
    pub(super) const fn correct(&mut self, told: &Told) {
        if told.entries != self.entries {
            (self.status, self.ended, self.entries) = (told.status, told.ended, told.entries);
            (self.counts.known, self.counts.ended) = (told.steps, told.steps_ended);
        }
    }

    /// Returns its state: only timers and signals are awaited if nothing is in the hands of the
    /// swarm.
    pub(super) fn status(&self) -> RunStatus {
        let Counts { active, waiting, .. } = self.counts;
        let waits = self.status == RunStatus::Running && active == 0 && waiting > 0;
        if waits { RunStatus::Waiting } else { self.status }
    }
}

/// Returns whether a step makes good another one.
fn is_compensation(step: &StepPath) -> bool {
    step.compensated().is_some()
}
