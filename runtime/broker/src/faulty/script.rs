//! What goes wrong, and when.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{Fault, Operation};

/// Says which operations of a [`Faulty`](super::Faulty) broker fail, and how.
#[derive(Debug)]
pub struct Script {
    state: Mutex<State>,
    /// How often `release` was called.
    released: watch::Sender<u64>,
    /// How many operations are held, and how many were begun at all.
    counted: watch::Sender<Counted>,
}

#[derive(Default)]
struct State {
    faults: BTreeMap<Operation, VecDeque<Option<Fault>>>,
    ghosts: Vec<BoxFuture<'static, ()>>,
    cut_off: bool,
}

#[derive(Debug, Clone, Default)]
struct Counted {
    held: usize,
    begun: BTreeMap<Operation, u64>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("State");
        out.field("faults", &self.faults).field("ghosts", &self.ghosts.len());
        out.field("cut_off", &self.cut_off).finish()
    }
}

impl Script {
    pub(super) fn new() -> Self {
        let (released, counted) = (watch::Sender::new(0), watch::Sender::new(Counted::default()));
        Self { state: Mutex::default(), released, counted }
    }

    /// Lets the next operation of this kind that nothing was scripted for yet fail.
    pub fn next(&self, operation: Operation, fault: Fault) {
        self.lock().faults.entry(operation).or_default().push_back(Some(fault));
    }

    /// Lets so many operations of this kind pass before what is scripted next.
    pub fn pass(&self, operation: Operation, count: usize) {
        let mut state = self.lock();
        state.faults.entry(operation).or_default().extend(std::iter::repeat_n(None, count));
    }

    /// Cuts the broker off: every operation is lost, until [`reconnect`](Self::reconnect). What was
    /// listened to before goes on, like messages on their way.
    pub fn cut_off(&self) {
        self.lock().cut_off = true;
    }

    /// Ends [`cut_off`](Self::cut_off).
    pub fn reconnect(&self) {
        self.lock().cut_off = false;
    }

    /// Lets everything held go on, and does what was to be done later, in its order.
    pub async fn release(&self) {
        let ghosts = std::mem::take(&mut self.lock().ghosts);
        for ghost in ghosts {
            ghost.await;
        }
        self.released.send_modify(|count| *count += 1);
    }

    /// Waits until `count` operations are held.
    pub async fn held(&self, count: usize) {
        let mut counted = self.counted.subscribe();
        // The sender lives as long as this borrow: waiting cannot fail.
        counted.wait_for(|counted| counted.held >= count).await.ok();
    }

    /// Waits until `count` operations of a kind were begun, from the start of the script on.
    pub async fn begun(&self, operation: Operation, count: u64) {
        let mut counted = self.counted.subscribe();
        let enough =
            |counted: &Counted| counted.begun.get(&operation).is_some_and(|begun| *begun >= count);
        counted.wait_for(enough).await.ok();
    }

    /// Returns how many operations of a kind were begun.
    pub fn count(&self, operation: Operation) -> u64 {
        self.counted.borrow().begun.get(&operation).copied().unwrap_or_default()
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.lock().cut_off
    }

    /// Takes what is to happen to an operation that begins.
    pub(super) fn begin(&self, operation: Operation) -> Option<Fault> {
        self.counted.send_modify(|counted| *counted.begun.entry(operation).or_default() += 1);
        let mut state = self.lock();
        if state.cut_off {
            return Some(Fault::Lose);
        }
        state.faults.get_mut(&operation)?.pop_front().flatten()
    }

    pub(super) fn haunt(&self, ghost: BoxFuture<'static, ()>) {
        self.lock().ghosts.push(ghost);
    }

    /// Waits for the next [`release`](Self::release).
    pub(super) async fn hold(&self) {
        let mut released = self.released.subscribe();
        let before = *released.borrow_and_update();
        let counted = HeldOne(&self.counted);
        counted.0.send_modify(|counted| counted.held += 1);
        released.wait_for(|count| *count > before).await.ok();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct HeldOne<'a>(&'a watch::Sender<Counted>);

impl Drop for HeldOne<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|counted| counted.held = counted.held.saturating_sub(1));
    }
}
