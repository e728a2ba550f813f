//! What handlers tell the loop: however many do at the same moment, it is woken once.

use std::any::Any;
use std::future::poll_fn;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::context::Context;
use crate::failure::Failure;
use crate::payloads::Output;
use crate::table::Key;
use skep_protocol::FailureKind;

/// What one handler tells.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) handler: Key,
    pub(crate) what: What,
}

/// What a handler has to tell.
#[derive(Debug)]
pub(crate) enum What {
    /// It is over, and nothing is left of it.
    Ended(Result<Output, Failure>),
    /// It was handed a token, which it may cancel itself.
    HasToken,
    /// It cancelled its token.
    GaveUp,
}

/// What was told and not heard yet. It is bounded by the slots: a handler tells each thing once.
#[derive(Debug, Default)]
pub(crate) struct News(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    told: Vec<Told>,
    listener: Option<Waker>,
}

impl News {
    /// Tells the loop something.
    pub(crate) fn tell(&self, handler: Key, what: What) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.told.push(Told { handler, what });
        let listener = waiting.listener.take();
        drop(waiting);
        if let Some(listener) = listener {
            listener.wake();
        }
    }

    /// Waits until something was told, and returns all that was.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn hear(&self) -> Vec<Told> {
        poll_fn(|cx| {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.told.is_empty() {
                waiting.listener = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let room = Vec::with_capacity(waiting.told.len());
            Poll::Ready(mem::replace(&mut waiting.told, room))
        })
        .await
    }
}

/// Tells how a handler ended, however it did.
pub(crate) struct Teller(Option<Context>);

impl Teller {
    pub(crate) fn of(context: Context) -> Self {
        Self(Some(context))
    }

    /// Tells what the handler returned, or that it panicked.
    pub(crate) fn ended(mut self, ended: Result<Result<Output, Failure>, Box<dyn Any + Send>>) {
        self.tell(ended.unwrap_or_else(|panic| Err(panicked(&*panic))));
    }

    fn tell(&mut self, result: Result<Output, Failure>) {
        if let Some(context) = self.0.take() {
            context.tell(What::Ended(result));
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(Err(Failure::new("error", "the handler was dropped")));
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "(no message)",
    };
    let message = format!("the handler panicked: {message}");
    Failure::of_kind(FailureKind::Panic, "panic", message)
}
