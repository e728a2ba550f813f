//! The link between one process and the broker: cut off, stopped, gone.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::network::lock;

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    /// It was stopped and does nothing until it goes on.
    Stopped,
    /// It is dead and does nothing any more.
    Dead,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Client,
    Coordinator,
    Agent,
}

#[derive(Debug, Clone, Copy)]
struct State {
    life: Life,
    /// Since when the broker cannot be reached, and how long it takes to notice.
    cut: Option<(Instant, Duration)>,
}

/// One process and its link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) role: Role,
    state: Mutex<State>,
    /// Not a `watch`, which wakes in an order of its own.
    changed: Notify,
}

impl Link {
    pub(crate) fn new(name: String, role: Role) -> Self {
        let state = Mutex::new(State { life: Life::Runs, cut: None });
        Self { name, role, state, changed: Notify::new() }
    }

    pub(crate) fn cut(&self, notice_after: Duration) {
        self.change(|state| state.cut = Some((Instant::now(), notice_after)));
    }

    pub(crate) fn mend(&self) {
        self.change(|state| state.cut = None);
    }

    pub(crate) fn stop(&self) {
        self.change(|state| state.live(Life::Stopped));
    }

    pub(crate) fn go_on(&self) {
        self.change(|state| state.live(Life::Runs));
    }

    pub(crate) fn die(&self) {
        self.change(|state| state.live(Life::Dead));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_waiters();
    }

    pub(crate) fn is_cut(&self) -> bool {
        lock(&self.state).cut.is_some()
    }

    fn runs(&self) -> bool {
        lock(&self.state).life == Life::Runs
    }

    /// Returns whether the process believes that it reaches the broker.
    pub(crate) fn seems_connected(&self) -> bool {
        let cut = lock(&self.state).cut;
        cut.is_none_or(|(since, notice_after)| since.elapsed() < notice_after)
    }

    /// Waits until the process runs; for ever if it is dead.
    pub(crate) async fn running(&self) {
        while !self.runs() {
            self.changed.notified().await;
        }
    }

    /// Waits until the link is not cut.
    pub(crate) async fn mended(&self) {
        while self.is_cut() {
            self.changed.notified().await;
        }
    }
}

impl State {
    /// Whoever is dead stays so.
    fn live(&mut self, life: Life) {
        if self.life != Life::Dead {
            self.life = life;
        }
    }
}

/// A process as one future: it is not polled while it is stopped.
pub(crate) struct Process {
    link: Arc<Link>,
    running: Option<BoxFuture<'static, ()>>,
    work: BoxFuture<'static, ()>,
}

impl Process {
    pub(crate) fn new(link: &Arc<Link>, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { link: Arc::clone(link), running: None, work: work.boxed() }
    }
}

impl Future for Process {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.link.runs() {
            let link = Arc::clone(&this.link);
            let running =
                this.running.get_or_insert_with(|| async move { link.running().await }.boxed());
            std::task::ready!(running.poll_unpin(cx));
        }
        this.running = None;
        this.work.poll_unpin(cx)
    }
}
