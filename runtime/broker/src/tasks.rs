//! The queue lane: tasks that any agent of a capability may pull.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use skep_protocol::Task;

use crate::error::{RequestError, Unavailable};

/// How full the queue of a capability is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Tasks that nobody has pulled.
    pub waiting: u64,
    /// Tasks pulled and neither acknowledged nor given back.
    pub held: u64,
}

/// A task that was pulled. Unless it is acknowledged, given back or kept alive, it comes again.
pub struct Delivered {
    /// The task.
    pub task: Task,
    /// How often it was delivered, this time included.
    pub deliveries: u64,
    /// Why the task could not be read, if so: `task` then names its attempt, and says no more.
    pub unread: Option<String>,
    /// What tells the broker what becomes of it.
    pub hold: Hold,
}

/// What tells the broker what becomes of a pulled task.
pub struct Hold(Box<dyn FnMut(Settle) -> BoxFuture<'static, Result<(), Unavailable>> + Send>);

/// What becomes of a pulled task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// It is done with and leaves the queue.
    Ack,
    /// It goes back and may be pulled again after this delay.
    Return(Duration),
    /// It is still being worked on: it does not come again for another while.
    Extend,
}

impl Delivered {
    /// Tells the broker what becomes of the task, as [`Hold::settle`] does.
    ///
    /// # Errors
    /// [`Unavailable`]: the task may come again.
    ///
    /// # Cancel safety
    /// What was said may be done all the same.
    pub async fn settle(&mut self, settle: Settle) -> Result<(), Unavailable> {
        self.hold.settle(settle).await
    }
}

impl Hold {
    /// Wraps whatever settles a task.
    pub fn new(
        settle: impl FnMut(Settle) -> BoxFuture<'static, Result<(), Unavailable>> + Send + 'static,
    ) -> Self {
        Self(Box::new(settle))
    }

    /// Tells the broker what becomes of the task. A broker of several servers may lose an
    /// acknowledgement while one of them fails, and say that all is well: the task comes again.
    ///
    /// # Errors
    /// [`Unavailable`]: the task may come again.
    ///
    /// # Cancel safety
    /// What was said may be done all the same.
    pub async fn settle(&mut self, settle: Settle) -> Result<(), Unavailable> {
        (self.0)(settle).await
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Delivered");
        out.field("task", &self.task.id()).field("deliveries", &self.deliveries);
        out.finish_non_exhaustive()
    }
}

/// One queue for each capability. Its content is a hint and may vanish at any time, say when the
/// broker restarts (**C50**: the queue works again afterwards).
///
/// - **C12** Tasks are pulled in the order in which they were offered, each once, as they were.
/// - **C13** Any text of 1 to 64 bytes names a capability with a queue of its own.
/// - **C14** The same attempt with the same `sending` is kept once, even after it was pulled and
///   acknowledged; the broker may forget this after two minutes.
/// - **C15** A pull returns as soon as there is one task, with at most `max`; nothing in time is an
///   empty list. A pull that is dropped takes nothing once the broker has heard of that, which it
///   has when it answers what the same client asked afterwards; what it takes before comes again.
/// - **C16** Of many who pull at once, each task reaches one.
/// - **C17** A task that was pulled and not settled within the broker's `ack_wait` comes again.
/// - **C18** An acknowledged task does not come again; a late acknowledgement counts.
/// - **C19** An extended task does not come again for another `ack_wait`.
/// - **C20** A returned task comes again after its delay, to anybody.
/// - **C21** `depth` counts each task once; one that was given back, or not settled in time,
///   counts as waiting or as held.
/// - **C22** After `clear`, nothing that was offered before is pulled, held or not.
pub trait Tasks: Clone + Send + Sync + 'static {
    /// Puts a task into the queue of its capability. `sending` rises each time the same attempt is
    /// sent again on purpose; the same attempt with the same `sending` is kept once.
    fn offer(
        &self,
        task: Task,
        sending: u32,
    ) -> impl Future<Output = Result<(), RequestError>> + Send;

    /// Puts tasks into the queues of their capabilities, in this order, as [`Tasks::offer`] does
    /// each; those after one that finds no place are offered all the same.
    ///
    /// # Errors
    /// The first one that there was. A broker may take in less than it says, as long as whoever
    /// asks for the depth sees that.
    fn offer_all(
        &self,
        tasks: Vec<(Task, u32)>,
    ) -> impl Future<Output = Result<(), RequestError>> + Send {
        async move {
            let offers = tasks.into_iter().map(|(task, sending)| self.offer(task, sending));
            join_all(offers).await.into_iter().collect()
        }
    }

    /// Takes up to `max` tasks, waiting up to `wait` for the first one. Nothing in time is no
    /// error.
    fn pull(
        &self,
        capability: &str,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Delivered>, Unavailable>> + Send;

    /// Returns how full the queue is; zero for one that was never used.
    fn depth(
        &self,
        capability: &str,
    ) -> impl Future<Output = Result<QueueDepth, Unavailable>> + Send;

    /// Drops every task of the queue; those held are not taken from their holders, but do not come
    /// again. To offer one of them again, raise `sending`.
    fn clear(&self, capability: &str) -> impl Future<Output = Result<(), Unavailable>> + Send;
}
