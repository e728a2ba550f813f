//! The handlers that run: how long each may go on, and how far it is with letting go. One timer
//! serves them all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use skep_protocol::FailureKind;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::context::{Common, Context, Received, Signs};
use crate::failure::Failure;
use crate::handler::SharedHandler;
use crate::news::{Told, What};
use crate::payloads::{Output, Text};
use crate::table::{Key, Table};

/// How long a dropped handler may take to let go. Only one that blocks its thread takes longer.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);
/// Timers of handlers that are over are cleared away once there are so many, and no fewer than
/// there are handlers.
const STALE_TIMERS: usize = 64;

/// The handlers that run.
#[derive(Debug)]
pub(crate) struct Handlers {
    running: Table<Running>,
    /// When to look at which handler; those that changed since are stale.
    timers: BinaryHeap<Reverse<(Instant, Key)>>,
    grace: Duration,
}

#[derive(Debug)]
struct Running {
    context: Context,
    began: Instant,
    stage: Stage,
    /// When the stage is over; none if that is beyond all time.
    until: Option<Instant>,
    task: AbortOnDropHandle<()>,
    /// Waits for a token that the handler was handed.
    watch: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Working,
    /// It was told to stop.
    Stopping(Why),
    /// It was dropped.
    LettingGo(Why),
    /// It blocks its thread, and all that matters is when it returns.
    Blocking,
}

/// Why a handler has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Told,
    TimedOut,
}

/// What a handler starts with.
pub(crate) struct Start {
    pub(crate) received: Received,
    pub(crate) signs: Signs,
    pub(crate) input: Text,
    /// When the attempt began.
    pub(crate) began: Instant,
}

/// What became of an attempt.
pub(crate) struct Finished {
    pub(crate) context: Context,
    pub(crate) began: Instant,
    /// None if it was told to stop and left without an output.
    pub(crate) result: Option<Result<Output, Failure>>,
    pub(crate) slot: Slot,
}

/// What becomes of the slot of an attempt that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// It is free.
    Freed,
    /// The handler blocks its thread and so does not stop.
    Kept,
}

/// What follows from something that a handler told.
pub(crate) enum Over {
    /// Its attempt is over.
    Attempt(Finished),
    /// It blocked its thread and lets go of its slot.
    Blocking(Context),
}

impl Handlers {
    pub(crate) fn new(grace: Duration) -> Self {
        Self { running: Table::default(), timers: BinaryHeap::new(), grace }
    }

    /// Starts a handler.
    pub(crate) fn start(&mut self, handler: &SharedHandler, common: &Arc<Common>, start: Start) {
        let Start { received, signs, input, began } = start;
        let now = Instant::now();
        let until = now.checked_add(Duration::from_millis(received.task.timeout_ms));
        let key = self.running.insert(|key| {
            signs.started(key);
            let context = Context::new(received, now, key, signs, Arc::clone(common));
            let task = AbortOnDropHandle::new(handler.spawn(context.clone(), input));
            Running { context, began, stage: Stage::Working, until, task, watch: None }
        });
        self.wake_at(until, key);
    }

    /// Gives a handler that was told to stop its time to do so.
    pub(crate) fn stop(&mut self, key: Key, now: Instant) {
        let Some(running) = self.running.get_mut(key) else { return };
        match running.stage {
            Stage::Working => self.enter(key, Stage::Stopping(Why::Told), now + self.grace),
            Stage::Stopping(_) | Stage::LettingGo(_) | Stage::Blocking => {}
        }
    }

    /// Takes what a handler told.
    pub(crate) fn told(&mut self, told: Told, now: Instant) -> Option<Over> {
        let Told { handler: key, what } = told;
        match what {
            What::Ended(result) => self.running.remove(key).map(|running| running.ended(result)),
            What::HasToken => {
                self.running.get_mut(key)?.watch();
                None
            }
            What::GaveUp => {
                self.stop(key, now);
                None
            }
        }
    }

    /// Acts on what is due. Returns the attempts that are over although their handlers are not.
    pub(crate) fn wake(&mut self, now: Instant) -> Vec<Finished> {
        let mut finished = Vec::new();
        while let Some(Reverse((at, key))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            let Some(running) = self.running.get_mut(key) else { continue };
            if running.until != Some(at) {
                continue;
            }
            match running.stage {
                Stage::Working => {
                    running.context.signs().cancel();
                    self.enter(key, Stage::Stopping(Why::TimedOut), now + self.grace);
                }
                Stage::Stopping(why) => {
                    running.task.abort();
                    self.enter(key, Stage::LettingGo(why), now + LET_GO_WITHIN);
                }
                Stage::LettingGo(why) => {
                    (running.stage, running.until) = (Stage::Blocking, None);
                    let (context, began) = (running.context.clone(), running.began);
                    let result = why.result(&context, None);
                    finished.push(Finished { context, began, result, slot: Slot::Kept });
                }
                Stage::Blocking => {}
            }
        }
        finished
    }

    /// Returns when something is due.
    pub(crate) fn next_wake(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, key))) = self.timers.peek() {
            if self.running.get(*key).is_some_and(|running| running.until == Some(*at)) {
                return Some(*at);
            }
            self.timers.pop();
        }
        None
    }

    fn enter(&mut self, key: Key, stage: Stage, until: Instant) {
        if let Some(running) = self.running.get_mut(key) {
            (running.stage, running.until) = (stage, Some(until));
            self.wake_at(Some(until), key);
        }
    }

    fn wake_at(&mut self, at: Option<Instant>, key: Key) {
        if self.timers.len() >= STALE_TIMERS + 2 * self.running.len() {
            let running = &self.running;
            self.timers.retain(|Reverse((at, key))| {
                running.get(*key).is_some_and(|running| running.until == Some(*at))
            });
        }
        self.timers.extend(at.map(|at| Reverse((at, key))));
    }
}

impl Running {
    fn ended(self, result: Result<Output, Failure>) -> Over {
        let Self { context, began, stage, until: _, task, watch: _ } = self;
        // It is over: there is nothing to abort.
        drop(task.detach());
        let result = match stage {
            Stage::Working => Some(result),
            Stage::Stopping(why) | Stage::LettingGo(why) => why.result(&context, result.ok()),
            Stage::Blocking => return Over::Blocking(context),
        };
        Over::Attempt(Finished { context, began, result, slot: Slot::Freed })
    }

    /// Has the token of the handler watched.
    fn watch(&mut self) {
        let context = self.context.clone();
        let watch = async move {
            context.cancelled().await;
            context.tell(What::GaveUp);
        };
        self.watch = Some(AbortOnDropHandle::new(tokio::spawn(watch)));
    }
}

impl Why {
    /// Returns what becomes of an attempt that had to stop, by what its handler still brought.
    fn result(self, context: &Context, output: Option<Output>) -> Option<Result<Output, Failure>> {
        match self {
            Self::Told => output.map(Ok),
            Self::TimedOut => {
                let limit = Duration::from_millis(context.task().timeout_ms);
                let message = format!("the attempt took longer than its timeout of {limit:?}");
                Some(Err(Failure::of_kind(FailureKind::Timeout, "timeout", message)))
            }
        }
    }
}
