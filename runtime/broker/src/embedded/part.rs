//! One part of the machine behind a lock, and the wakers of those who wait for it.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use futures::stream::Stream;
use tokio::task::coop;

use crate::memory::{Ready, Waiter};

/// One part of the machine, shared.
pub(super) struct Part<S>(Mutex<Guarded<S>>);

struct Guarded<S> {
    machine: S,
    wakers: BTreeMap<Waiter, Waker>,
    ready: Ready,
}

impl<S> fmt::Debug for Part<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

impl<S> Part<S> {
    pub(super) fn new(machine: S) -> Self {
        let (wakers, ready) = (BTreeMap::new(), Ready::new());
        Self(Mutex::new(Guarded { machine, wakers, ready }))
    }

    pub(super) fn shared(machine: S) -> Arc<Self> {
        Arc::new(Self::new(machine))
    }

    /// Operates the machine and wakes those for whom that changes something.
    pub(super) fn with<T>(&self, operate: impl FnOnce(&mut S, &mut Ready) -> T) -> T {
        let mut guard = self.lock();
        let Guarded { machine, ready, .. } = &mut *guard;
        let value = operate(machine, ready);
        wake(guard);
        value
    }

    /// Operates the machine for `waiter`; with nothing to tell, its task is woken when there is.
    pub(super) fn poll<T>(
        &self,
        waiter: Waiter,
        cx: &Context<'_>,
        operate: impl FnOnce(&mut S, &mut Ready) -> Option<T>,
    ) -> Poll<T> {
        let mut guard = self.lock();
        let Guarded { machine, wakers, ready } = &mut *guard;
        let outcome = operate(machine, ready);
        if outcome.is_none() {
            wakers
                .entry(waiter)
                .and_modify(|w| w.clone_from(cx.waker()))
                .or_insert_with(|| cx.waker().clone());
        }
        wake(guard);
        outcome.map_or(Poll::Pending, Poll::Ready)
    }

    /// Removes a waiter: `operate` tells the machine.
    pub(super) fn remove<T>(
        &self,
        waiter: Waiter,
        operate: impl FnOnce(&mut S, &mut Ready) -> T,
    ) -> T {
        let mut guard = self.lock();
        let Guarded { machine, wakers, ready } = &mut *guard;
        let waker = wakers.remove(&waiter);
        let value = operate(machine, ready);
        wake(guard);
        drop(waker);
        value
    }

    fn lock(&self) -> MutexGuard<'_, Guarded<S>> {
        // An operation that panicked has left the machine as consistent as a crash leaves a broker.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes those who are ready, after the lock was let go.
fn wake<S>(mut guard: MutexGuard<'_, Guarded<S>>) {
    let Guarded { wakers, ready, .. } = &mut *guard;
    if ready.is_empty() {
        return;
    }
    let mut first = None;
    let mut others = Vec::new();
    for waker in ready.drain().filter_map(|waiter| wakers.remove(&waiter)) {
        if first.is_none() {
            first = Some(waker);
        } else {
            others.push(waker);
        }
    }
    drop(guard);
    first.into_iter().chain(others).for_each(Waker::wake);
}

/// A stream of what a waiter of a part takes from it, until it is dropped.
pub(super) struct Taking<S, T, F, C>
where
    C: FnOnce(&mut S, Waiter, &mut Ready),
{
    part: Arc<Part<S>>,
    waiter: Waiter,
    take: F,
    close: Option<C>,
    taken: std::marker::PhantomData<fn() -> T>,
}

impl<S, T, F, C> Taking<S, T, F, C>
where
    F: FnMut(&mut S, Waiter) -> Option<T>,
    C: FnOnce(&mut S, Waiter, &mut Ready),
{
    pub(super) fn new(part: &Arc<Part<S>>, waiter: Waiter, take: F, close: C) -> Self {
        let (part, close) = (Arc::clone(part), Some(close));
        Self { part, waiter, take, close, taken: std::marker::PhantomData }
    }
}

impl<S, T, F, C> Unpin for Taking<S, T, F, C> where C: FnOnce(&mut S, Waiter, &mut Ready) {}

impl<S, T, F, C> Stream for Taking<S, T, F, C>
where
    F: FnMut(&mut S, Waiter) -> Option<T>,
    C: FnOnce(&mut S, Waiter, &mut Ready),
{
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let budget = ready!(coop::poll_proceed(cx));
        let Self { part, waiter, take, .. } = this;
        let item = ready!(part.poll(*waiter, cx, |machine, _| take(machine, *waiter)));
        budget.made_progress();
        Poll::Ready(Some(item))
    }
}

impl<S, T, F, C> Drop for Taking<S, T, F, C>
where
    C: FnOnce(&mut S, Waiter, &mut Ready),
{
    fn drop(&mut self) {
        if let Some(close) = self.close.take() {
            let waiter = self.waiter;
            self.part.remove(waiter, |machine, ready| close(machine, waiter, ready));
        }
    }
}
