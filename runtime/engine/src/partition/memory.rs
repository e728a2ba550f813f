//! What a partition remembers beside its live runs: definitions, and runs that are over.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skep_protocol::limits::{MAX_FINISHED_IDS, MAX_IDLE_WORKFLOWS};
use skep_protocol::{ChildOutcome, Hash, Parent, Payload, RunId, RunStatus, WorkflowAdded};
use skep_workflow::Workflow;

use crate::effect::Effect;
use crate::error::FoldError;
use crate::input::Resolved;
use crate::plan::Plan;
use crate::run::started::Common;

/// The definitions that the journal holds and runs may use.
#[derive(Debug, Clone, Default)]
pub(super) struct Workflows {
    known: BTreeMap<Hash, Known>,
    /// Those that no live run uses, the one out of use for longest first.
    idle: VecDeque<Hash>,
    /// A definition that was read already, to save reading it again.
    offered: Option<Workflow>,
}

#[derive(Debug, Clone)]
struct Known {
    plan: Arc<Plan>,
    live: usize,
    /// What the run that began last has in common with others.
    common: Option<Arc<Common>>,
}

impl Workflows {
    pub(super) fn plan(&self, digest: Hash) -> Option<&Arc<Plan>> {
        self.known.get(&digest).map(|known| &known.plan)
    }

    /// Takes a definition that was read already; the journal decides whether it is used.
    pub(super) fn offer(&mut self, resolved: &Resolved) {
        self.offered = resolved.workflow.clone();
    }

    pub(super) fn withdraw(&mut self) {
        self.offered = None;
    }

    pub(super) fn add(&mut self, added: &WorkflowAdded) -> Result<(), FoldError> {
        if self.read(added)? {
            self.now_idle(added.digest);
        }
        Ok(())
    }

    /// Reads a definition, to be used by a run that follows or to be [`settled`](Self::settle);
    /// returns whether it was not there before.
    pub(super) fn read(&mut self, added: &WorkflowAdded) -> Result<bool, FoldError> {
        let digest = added.digest;
        let offered = self.offered.take().filter(|workflow| digest_of(workflow) == digest);
        let workflow = match offered {
            Some(workflow) => workflow,
            None => skep_workflow::read(added.source.as_str().as_bytes(), "the journal")
                .map_err(|rejected| FoldError::Workflow { digest, source: Box::new(rejected) })?,
        };
        let found = digest_of(&workflow);
        if found != digest {
            return Err(FoldError::WorkflowDigest { digest, found });
        }
        let Entry::Vacant(vacant) = self.known.entry(digest) else { return Ok(false) };
        let plan = Arc::new(Plan::new(workflow));
        vacant.insert(Known { plan, live: 0, common: None });
        Ok(true)
    }

    /// Takes a definition in without a record.
    pub(super) fn know(&mut self, workflow: Workflow) {
        let digest = digest_of(&workflow);
        let plan = Arc::new(Plan::new(workflow));
        self.known.insert(digest, Known { plan, live: 0, common: None });
        self.now_idle(digest);
    }

    /// All runs that use a definition that was read have begun.
    pub(super) fn settle(&mut self, digest: Hash) {
        if self.known.get(&digest).is_some_and(|known| known.live == 0) {
            self.now_idle(digest);
        }
    }

    /// A run begins to use a definition; returns that, and what the run may share with others.
    pub(super) fn begin(&mut self, digest: Hash) -> Option<(Arc<Plan>, &mut Option<Arc<Common>>)> {
        let known = self.known.get_mut(&digest)?;
        known.live += 1;
        if known.live == 1 {
            self.idle.retain(|idle| *idle != digest);
        }
        Some((Arc::clone(&known.plan), &mut known.common))
    }

    /// A run that used a definition is over.
    pub(super) fn end(&mut self, digest: Hash) {
        let Some(known) = self.known.get_mut(&digest) else { return };
        known.live -= 1;
        if known.live == 0 {
            self.now_idle(digest);
        }
    }

    fn now_idle(&mut self, digest: Hash) {
        self.idle.push_back(digest);
        if self.idle.len() > MAX_IDLE_WORKFLOWS
            && let Some(oldest) = self.idle.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Returns the definitions, those in use first, then the others in the order of `idle`.
    pub(super) fn all(&self) -> impl Iterator<Item = (Hash, Arc<Plan>)> {
        let used = self.known.iter().filter(|(_, known)| known.live > 0);
        let idle = self.idle.iter().filter_map(|digest| self.known.get_key_value(digest));
        used.chain(idle).map(|(digest, known)| (*digest, Arc::clone(&known.plan)))
    }
}

fn digest_of(workflow: &Workflow) -> Hash {
    Hash::from_bytes(*workflow.digest().as_bytes())
}

/// A parent to be told how its child ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) parent: Parent,
    pub(super) outcome: ChildOutcome,
}

impl Notice {
    pub(super) fn effect(&self, child: RunId) -> Effect {
        let (parent, outcome) = (self.parent.clone(), self.outcome.clone());
        Effect::NotifyParent { parent, child, outcome: Box::new(outcome) }
    }
}

/// What is remembered of a run that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) status: RunStatus,
    pub(super) fingerprint: u64,
}

/// The runs that ended last, so that a late start or report is recognised.
#[derive(Debug, Clone, Default)]
pub(super) struct Finished {
    order: VecDeque<RunId>,
    by_id: HashMap<RunId, Ended>,
}

impl Finished {
    pub(super) fn push(&mut self, run: RunId, ended: Ended) {
        self.order.push_back(run);
        self.by_id.insert(run, ended);
        if self.order.len() > MAX_FINISHED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    pub(super) fn status(&self, run: RunId) -> Option<RunStatus> {
        self.by_id.get(&run).map(|ended| ended.status)
    }

    pub(super) fn fingerprint(&self, run: RunId) -> Option<u64> {
        self.by_id.get(&run).map(|ended| ended.fingerprint)
    }

    /// Returns the runs, the one that ended first first.
    pub(super) fn all(&self) -> impl Iterator<Item = (RunId, Ended)> {
        self.order.iter().filter_map(|run| Some((*run, *self.by_id.get(run)?)))
    }
}

/// Which run does over which, the last ones.
#[derive(Debug, Clone, Default)]
pub(super) struct DoneOver {
    order: VecDeque<RunId>,
    by: BTreeMap<RunId, RunId>,
}

impl DoneOver {
    pub(super) fn note(&mut self, of: RunId, by: RunId) {
        if self.by.insert(of, by).is_none() {
            self.order.push_back(of);
        }
        if self.order.len() > MAX_FINISHED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by.remove(&oldest);
        }
    }

    pub(super) fn by(&self, of: RunId) -> Option<RunId> {
        self.by.get(&of).copied()
    }

    /// Returns the runs and what does them over, the first first.
    pub(super) fn all(&self) -> impl Iterator<Item = (RunId, RunId)> {
        self.order.iter().filter_map(|of| Some((*of, *self.by.get(of)?)))
    }
}

/// Returns a number that tells starts from something else apart.
pub(crate) fn fingerprint(digest: Hash, inputs: &Payload) -> u64 {
    let mut text = digest.as_bytes().to_vec();
    match inputs {
        Payload::Json(raw) => text.extend_from_slice(raw.get().as_bytes()),
        Payload::Blob(blob) => text.extend_from_slice(blob.hash.as_bytes()),
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&Hash::of(&text).as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}
