//! Whether the partition is still this coordinator's, and whether its journal takes anything in.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use skep_broker::Broker;
use skep_protocol::Seq;

use super::super::jobs::unwound;
use super::super::{Context, End};
use super::Serving;

/// A journal that takes nothing in for so many looks in a row is left alone: agents then leave
/// their reports where they are durable, and have their slots back for other partitions.
const STUCK_AFTER: u32 = 20;

/// Where the journal ends, asked at a moment; or why that cannot be told.
pub(super) type Looked = (Duration, Result<Seq, String>);

/// What was found out about the journal lately.
pub(super) struct Watch {
    look: Option<BoxFuture<'static, Looked>>,
    /// Where it ended at the last look, by what this writer knows.
    end: Seq,
    /// Looks in a row without a sign of life.
    still: u32,
    reason: String,
}

impl Watch {
    pub(super) fn new() -> Self {
        let reason = "its end cannot be told".to_owned();
        Self { look: None, end: Seq::ZERO, still: 0, reason }
    }

    /// Waits for the end of the look that is under way; for ever if there is none.
    ///
    /// # Cancel safety
    /// Safe: the look goes on where it was.
    pub(super) async fn looked(&mut self) -> Looked {
        let Some(look) = &mut self.look else { return std::future::pending().await };
        let looked = look.await;
        self.look = None;
        looked
    }
}

impl<B: Broker> Serving<B> {
    /// Looks at the journal once more, and at what came of it before.
    pub(super) fn keep_watch(&mut self) -> Result<(), End> {
        if self.watch.look.is_none() && self.context.ownership.is_old() {
            self.watch.look = Some(look(self.context.clone()).boxed());
        }
        let end = self.commit.chain().seq;
        let moved = std::mem::replace(&mut self.watch.end, end) != end;
        let trouble = match self.commit.trouble() {
            // Without a link nothing can be told, and nobody can do better.
            _ if !self.context.broker.is_connected() => None,
            Some(reason) if !moved => Some(reason),
            Some(_) | None if self.context.ownership.is_sure() => None,
            Some(_) | None => Some(self.watch.reason.clone()),
        };
        self.watch.still = if trouble.is_some() { self.watch.still + 1 } else { 0 };
        match trouble {
            Some(reason) if self.watch.still > STUCK_AFTER => Err(End::Stuck(reason)),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn looked(&mut self, (asked, end): Looked) -> Result<(), End> {
        let known = self.commit.chain().seq;
        match end {
            Ok(end) if end == known => self.context.ownership.confirmed(asked),
            Ok(end) if end > known && !self.commit.in_flight() => return Err(End::Replaced),
            // The answer is older than the last append, or tells of the one in flight.
            Ok(_) => {}
            Err(reason) => self.watch.reason = reason,
        }
        Ok(())
    }
}

async fn look<B: Broker>(context: Context<B>) -> Looked {
    let asked = context.clock.moment();
    let end = match unwound(context.broker.last(context.id)).await {
        Some(Ok(message)) => Ok(message.map_or(Seq::ZERO, |message| message.seq)),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("looking at its end panicked".to_owned()),
    };
    (asked, end)
}
