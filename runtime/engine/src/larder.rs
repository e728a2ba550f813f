//! Large values that decisions look into: asked for, kept while somebody needs them.
//!
//! Soft state: who waits for what is found out again when the steps are looked at again.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use skep_protocol::{BlobRef, Failure, FailureKind, Hash, RunId, StepPath, flaw};

use crate::effect::{Change, Effect, EffectKey};
use crate::input::Input;
use crate::run::NodeId;

/// Who waits for a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Waiter {
    run: RunId,
    who: Who,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// A step, or a run as a whole, that the engine looks at again.
    Step(NodeId),
    /// An input that somebody outside hands in again: about an attempt, or about the run. Inputs
    /// about other attempts wait for values of their own.
    Input(Option<(StepPath, u32)>),
}

impl Waiter {
    pub(crate) const fn step(run: RunId, node: NodeId) -> Self {
        Self { run, who: Who::Step(node) }
    }

    /// Returns who waits on behalf of an input, if that may have to.
    pub(crate) fn of(input: &Input) -> Option<Self> {
        let (run, about) = match input {
            Input::Start { start, .. }
            | Input::Accepted { start, .. }
            | Input::Retry { start, .. } => (start.run, None),
            Input::Report { report, .. } => {
                (report.run, Some((report.step.clone(), report.attempt)))
            }
            Input::ChildEnded { parent, .. } => {
                (parent.run, Some((parent.step.clone(), parent.attempt)))
            }
            Input::TookOver { .. }
            | Input::Cancel { .. }
            | Input::Pause { .. }
            | Input::Resume { .. }
            | Input::Skip { .. }
            | Input::Drop { .. }
            | Input::Signal(_)
            | Input::Held { .. }
            | Input::Lost { .. }
            | Input::Failed { .. }
            | Input::BlobFetched { .. }
            | Input::ParentNotified { .. }
            | Input::Wake => return None,
        };
        Some(Self { run, who: Who::Input(about) })
    }

    /// Returns the step to be looked at again.
    pub(crate) fn node(&self) -> Option<(RunId, NodeId)> {
        match self.who {
            Who::Step(node) => Some((self.run, node)),
            Who::Input(_) => None,
        }
    }
}

/// The values, and who waits for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Larder {
    shelves: BTreeMap<Hash, Shelf>,
    waits: BTreeMap<Waiter, Vec<Hash>>,
    /// What the texts take, in bytes.
    weight: usize,
}

#[derive(Debug, Clone)]
struct Shelf {
    blob: BlobRef,
    waiters: BTreeSet<Waiter>,
    /// None while it is being fetched; then the text, or why there is none that can be read.
    content: Option<Result<String, Failure>>,
}

impl Shelf {
    /// Returns whether the engine itself asks for the value; those outside fetch for themselves.
    fn is_owed(&self) -> bool {
        self.content.is_none() && self.waiters.iter().any(|waiter| waiter.node().is_some())
    }

    fn weight(&self) -> usize {
        self.content.as_ref().map_or(0, |content| content.as_ref().map_or(0, String::len))
    }
}

impl Larder {
    /// Returns how much memory the values take, in bytes.
    pub(crate) const fn weight(&self) -> usize {
        self.weight
    }

    /// Returns the text of a value, or why there is none that can be read; nothing if it was not
    /// fetched.
    pub(crate) fn text(&self, hash: Hash) -> Option<Result<&str, &Failure>> {
        Some(self.shelves.get(&hash)?.content.as_ref()?.as_deref())
    }

    /// Takes note of all that `waiter` waits for, and forgets what it waited for before.
    pub(crate) fn waits_for(
        &mut self,
        waiter: Waiter,
        blobs: &[BlobRef],
        changes: &mut Vec<Change>,
    ) {
        if blobs.is_empty() && !self.waits.contains_key(&waiter) {
            return;
        }
        for blob in blobs {
            let shelf = self.shelves.entry(blob.hash);
            let shelf = shelf.or_insert_with(|| Shelf {
                blob: *blob,
                waiters: BTreeSet::new(),
                content: None,
            });
            let owed = shelf.is_owed();
            shelf.waiters.insert(waiter.clone());
            if !owed && shelf.is_owed() {
                changes.push(Change::Owed(Effect::FetchBlob { blob: *blob }));
            }
        }
        // While something is missing, what is there stays: the next look needs all of it.
        let waits: BTreeSet<Hash> = blobs.iter().map(|blob| blob.hash).collect();
        let before = self.waits.remove(&waiter).unwrap_or_default();
        if blobs.is_empty() {
            for hash in before {
                self.leave(&waiter, hash, changes);
            }
        } else {
            let all = before.into_iter().chain(waits).collect::<BTreeSet<_>>();
            self.waits.insert(waiter, all.into_iter().collect());
        }
    }

    fn leave(&mut self, waiter: &Waiter, hash: Hash, changes: &mut Vec<Change>) {
        let Some(shelf) = self.shelves.get_mut(&hash) else { return };
        let owed = shelf.is_owed();
        shelf.waiters.remove(waiter);
        if owed && !shelf.is_owed() {
            changes.push(Change::Settled(EffectKey::Blob(hash)));
        }
        if shelf.waiters.is_empty() {
            self.weight -= shelf.weight();
            self.shelves.remove(&hash);
        }
    }

    /// Puts a value where it is waited for; returns who waits.
    pub(crate) fn fetched(
        &mut self,
        blob: &BlobRef,
        bytes: Option<&Bytes>,
        changes: &mut Vec<Change>,
    ) -> Vec<Waiter> {
        let Some(shelf) = self.shelves.get_mut(&blob.hash) else { return Vec::new() };
        let owed = shelf.is_owed();
        // Bytes that are not what was asked for are as good as none.
        let right = bytes.filter(|bytes| BlobRef::of(bytes) == shelf.blob);
        self.weight -= shelf.weight();
        shelf.content = Some(right.ok_or_else(|| gone(blob)).and_then(|bytes| read(blob, bytes)));
        self.weight += shelf.weight();
        if owed {
            changes.push(Change::Settled(EffectKey::Blob(blob.hash)));
        }
        shelf.waiters.iter().cloned().collect()
    }

    /// Forgets everybody who belongs to a run.
    pub(crate) fn run_ended(&mut self, run: RunId, changes: &mut Vec<Change>) {
        let waiters = self.waits.range(Waiter::step(run, NodeId(0))..);
        let waiters = waiters.map(|(waiter, _)| waiter).take_while(|waiter| waiter.run == run);
        for waiter in waiters.cloned().collect::<Vec<_>>() {
            self.waits_for(waiter, &[], changes);
        }
    }

    /// Returns what the engine asks for.
    pub(crate) fn owed(&self) -> impl Iterator<Item = Effect> {
        let owed = self.shelves.values().filter(|shelf| shelf.is_owed());
        owed.map(|shelf| Effect::FetchBlob { blob: shelf.blob })
    }
}

fn gone(blob: &BlobRef) -> Failure {
    let message = format!("the value {} is not in the blob store", blob.hash.short());
    Failure::new(FailureKind::Expression, "value_gone", message).fatal()
}

/// Returns the text of a large value, which anybody may have stored: as with what is inline, nobody
/// is to read it in another way than others do.
fn read(blob: &BlobRef, bytes: &Bytes) -> Result<String, Failure> {
    let text = str::from_utf8(bytes).map_err(|error| format!("cannot be read: {error}"));
    let sound = text.and_then(|text| flaw(text).map_or(Ok(text), Err));
    sound.map(str::to_owned).map_err(|flaw| {
        let message = format!("the JSON of the value {} {flaw}", blob.hash.short());
        Failure::new(FailureKind::Expression, "not_json", message).fatal()
    })
}
